import { describe, expect, it } from "@effect/vitest"
import * as ByteStream from "effect-wsmux/ByteStream"
import * as Session from "effect-wsmux/Session"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type * as Http from "node:http"
import {
  ask,
  clientToken,
  dialAgent,
  dialClient,
  refusal,
  serveAgent,
  startRelay,
  tokenOf
} from "../../support/relay.js"
import { known, saying, startNodes } from "../../support/relayNodes.js"
import { eventually } from "../../support/transports.js"
import { patience, within } from "../../support/within.js"

/** So slow that no test lasts until a name has its next request or byte. */
const hardlyAny = 0.001

describe("the limits of the relay", () => {
  it.scopedLive("the relay answers 429 with retry-after when a name has used up requestsPerSecond", () =>
    Effect.gen(function*() {
      const relay = yield* startRelay({ limits: { requestsPerSecond: hardlyAny } })
      yield* serveAgent(relay.ws, "site", saying("here"), { program: "p" })
      yield* serveAgent(relay.ws, "other", saying("other"), { program: "p" })
      expect((yield* ask(`${relay.http}/site`)).status).toBe(200)
      expect(yield* ask(`${relay.http}/site`)).toMatchObject({
        status: 429,
        headers: { "retry-after": "1000" },
        body: "too many requests in a second\n"
      })
      expect((yield* ask(`${relay.http}/other`)).status).toBe(200)
    }))

  it.scopedLive("the relay answers 429 with retry-after when a name has used up bytesPerSecond", () =>
    Effect.gen(function*() {
      const relay = yield* startRelay({ limits: { bytesPerSecond: 1 } })
      yield* serveAgent(relay.ws, "site", saying("x".repeat(5000)), { program: "p" })
      expect((yield* ask(`${relay.http}/site`)).body.length).toBe(5000)
      expect(yield* ask(`${relay.http}/site`)).toMatchObject({
        status: 429,
        headers: { "retry-after": expect.stringMatching(/^(499\d|5000)$/) },
        body: "too many bytes in a second\n"
      })
    }))

  it.scopedLive("the relay answers 429 while an answer without an end uses up bytesPerSecond", () =>
    Effect.gen(function*() {
      const relay = yield* startRelay({ limits: { bytesPerSecond: 1000 } })
      yield* serveAgent(relay.ws, "site", (request, response) => {
        if (request.url === "/short") return void response.end("short")
        response.write("x".repeat(5000)) // and no end
      }, { program: "p" })
      yield* Effect.forkScoped(ask(`${relay.http}/site/endless`))
      const refused = Effect.repeat(Effect.delay(ask(`${relay.http}/site/short`), 20), {
        until: ({ status }) => status === 429
      })
      expect((yield* refused.pipe(within(patience, "a refusal beside the answer"))).body).toBe(
        "too many bytes in a second\n"
      )
    }))

  it.scopedLive("the relay refuses a client's stream while another one uses up the bytes of its token", () =>
    Effect.gen(function*() {
      const relay = yield* startRelay()
      const agent = yield* dialAgent(relay.ws, "site", { program: "p" })
      yield* Effect.forkScoped(agent.session.run((stream) =>
        stream.label === "short"
          ? ByteStream.writeEnd(stream, "short")
          : Effect.zipRight(stream.write(new Uint8Array(5000)), Effect.never)
      ))
      const token = clientToken("site", "small", { bytesPerSecond: 1000 })
      const [first, second] = [yield* dialClient(relay.ws, "site", token), yield* dialClient(relay.ws, "site", token)]
      yield* Effect.forkScoped(Session.withStream(first, ByteStream.readText, { label: "endless" }))
      const read = Session.withStream(second, ByteStream.readText, { label: "short" })
      const refused = Effect.repeat(Effect.delay(Effect.either(read), 20), { until: ({ _tag }) => _tag === "Left" })
      expect(yield* refused.pipe(within(patience, "a refusal beside the stream"))).toMatchObject({
        left: { reason: "too many bytes in a second" }
      })
    }))

  it.scopedLive("the relay refuses a client's stream when the name has used up requestsPerSecond", () =>
    Effect.gen(function*() {
      const relay = yield* startRelay({ limits: { requestsPerSecond: hardlyAny } })
      const agent = yield* dialAgent(relay.ws, "site", { program: "p" })
      yield* Effect.forkScoped(agent.session.run((stream) => stream.end))
      const client = yield* dialClient(relay.ws, "site", clientToken("site"))
      const read = Session.withStream(client, ByteStream.readText, { label: "tcp" })
      expect(yield* read.pipe(within(patience, "the first stream"))).toBe("")
      expect(yield* Effect.flip(read).pipe(within(patience, "the refusal"))).toMatchObject({
        reason: "too many requests in a second"
      })
    }))

  it.scopedLive("the relay refuses streams of a token when the token has used up its own limits", () =>
    Effect.gen(function*() {
      const relay = yield* startRelay()
      const agent = yield* dialAgent(relay.ws, "site", { program: "p" })
      yield* Effect.forkScoped(
        agent.session.run((stream) =>
          stream.label === "held" ? Effect.never : ByteStream.writeEnd(stream, "x".repeat(5000))
        )
      )
      const dial = (token: string) => dialClient(relay.ws, "site", token)
      const read = (client: Session.Session) =>
        Session.withStream(client, ByteStream.readText, { label: "text" }).pipe(
          within(patience, "the answer of a stream")
        )

      const rare = clientToken("site", "rare", { requestsPerSecond: hardlyAny })
      const [first, second] = [yield* dial(rare), yield* dial(rare)]
      expect(yield* read(first)).toHaveLength(5000)
      expect(yield* Effect.flip(read(second))).toMatchObject({ reason: "too many requests in a second" })

      const small = yield* dial(clientToken("site", "small", { bytesPerSecond: 1 }))
      expect(yield* read(small)).toHaveLength(5000)
      expect(yield* Effect.flip(read(small))).toMatchObject({ reason: "too many bytes in a second" })

      const narrow = yield* dial(clientToken("site", "narrow", { maxStreams: 1 }))
      yield* Effect.scoped(Effect.gen(function*() {
        yield* narrow.open({ label: "held" })
        expect(yield* Effect.flip(read(narrow))).toMatchObject({ reason: "the token has too many streams" })
      }))
      expect(yield* read(yield* dial(clientToken("site", "free")))).toHaveLength(5000)
    }))

  it.scopedLive("the relay refuses requests at all nodes when a name has used up its limits at one of them", () =>
    Effect.gen(function*() {
      const options = { limits: { requestsPerSecond: hardlyAny } }
      const { directory, first, second } = yield* startNodes(2, { options })
      yield* serveAgent(first.ws, "site", saying("here"), { program: "p" })
      yield* serveAgent(first.ws, "other", saying("other"), { program: "p" })
      yield* known(directory, "site")
      yield* known(directory, "other")
      expect((yield* ask(`${first.http}/site`)).status).toBe(200)
      expect((yield* ask(`${second.http}/site`)).status).toBe(429)
      expect((yield* ask(`${second.http}/other`)).status).toBe(200)
    }))

  it.scopedLive("the relay answers 503 with retry-after when another node has no room for the name", () =>
    Effect.gen(function*() {
      const { directory, first, second } = yield* startNodes(2, { options: { limits: { maxStreamsPerName: 1 } } })
      let served = 0
      yield* serveAgent(first.ws, "site", () => void served++, { program: "p" }) // answers nothing
      yield* known(directory, "site")
      yield* Effect.forkScoped(ask(`${first.http}/site`))
      yield* eventually(() => served === 1)
      const refused = { status: 503, headers: { "retry-after": "1" }, body: "the agent has too many requests\n" }
      expect(yield* ask(`${first.http}/site`)).toMatchObject(refused)
      expect(yield* ask(`${second.http}/site`)).toMatchObject(refused)
    }))

  it.scopedLive("the relay refuses bytes at all nodes when a name has used up its limits at one of them", () =>
    Effect.gen(function*() {
      const { directory, first, second } = yield* startNodes(2, { options: { limits: { bytesPerSecond: 1 } } })
      yield* serveAgent(first.ws, "site", saying("x".repeat(5000)), { program: "p" })
      yield* known(directory, "site")
      expect((yield* ask(`${first.http}/site`)).status).toBe(200)
      const refused = Effect.repeat(Effect.delay(ask(`${second.http}/site`), 20), {
        until: ({ status }) => status === 429
      })
      expect((yield* refused.pipe(within(patience, "a refusal of the second node"))).body).toBe(
        "too many bytes in a second\n"
      )
    }))

  it.scopedLive("the relay refuses an agent with 503 when the node has maxAgents", () =>
    Effect.gen(function*() {
      const relay = yield* startRelay({ limits: { maxAgents: 1 } })
      yield* serveAgent(relay.ws, "site", saying("here"), { program: "p" })
      expect(yield* refusal(dialAgent(relay.ws, "other"))).toMatchObject({ status: 503 })
    }))

  it.scopedLive("the relay refuses an agent with 503 when its name has maxAgentsPerName", () =>
    Effect.gen(function*() {
      const relay = yield* startRelay({ limits: { maxAgentsPerName: 1 } })
      const token = tokenOf("site")
      yield* serveAgent(relay.ws, "site", saying("here"), { program: "a", token })
      expect(yield* refusal(dialAgent(relay.ws, "site", { program: "b", token }))).toMatchObject({ status: 503 })
      yield* serveAgent(relay.ws, "other", saying("other"), { program: "b" })
    }))

  it.scopedLive("the relay refuses an agent with 503 when its name has maxAgentsPerName at other nodes", () =>
    Effect.gen(function*() {
      const { directory, first, second } = yield* startNodes(2, { options: { limits: { maxAgentsPerName: 1 } } })
      const token = tokenOf("site")
      yield* serveAgent(first.ws, "site", saying("here"), { program: "a", token })
      yield* known(directory, "site")
      expect(yield* refusal(dialAgent(second.ws, "site", { program: "b", token }))).toMatchObject({ status: 503 })
      yield* serveAgent(second.ws, "site", saying("again"), { program: "a", token }) // takes its own place
      yield* serveAgent(second.ws, "other", saying("other"), { program: "b" })
    }))

  it.scopedLive("the nodes of a name admit maxStreamsPerName together, wherever the requests come in", () =>
    Effect.gen(function*() {
      const { directory, nodes } = yield* startNodes(3, { options: { limits: { maxStreamsPerName: 3 } } })
      const held: Array<Http.ServerResponse> = []
      const token = tokenOf("site")
      for (const [node, program] of [[0, "a"], [0, "b"], [1, "c"]] as const) {
        const hold: Http.RequestListener = (_request, response) => void held.push(response)
        yield* serveAgent(nodes[node]!.ws, "site", hold, { program, token })
      }
      yield* eventually(() =>
        Option.getOrThrow(Effect.runSync(directory.find("site"))).nodes.map(({ agents }) => agents).join() === "2,1"
      )
      for (let i = 0; i < 3; i++) {
        yield* Effect.forkScoped(ask(`${nodes[0]!.http}/site`))
        yield* eventually(() => held.length === i + 1)
      }
      for (const { http } of nodes) {
        expect(yield* ask(`${http}/site`)).toMatchObject({ status: 503, body: "the agent has too many requests\n" })
      }
      expect(held.length).toBe(3)
      held[0]!.end("free")
      const again = yield* Effect.forkScoped(Effect.repeat(Effect.delay(ask(`${nodes[2]!.http}/site`), 20), {
        until: ({ status }) => status === 200
      }))
      yield* eventually(() => held.length === 4)
      for (const response of held) response.end("free")
      expect((yield* again).body).toBe("free")
    }))

  it.scopedLive("the relay refuses a client's stream when the node has maxStreams", () =>
    Effect.gen(function*() {
      const relay = yield* startRelay({ limits: { maxStreams: 1 } })
      const agent = yield* dialAgent(relay.ws, "site", { program: "p" })
      yield* Effect.forkScoped(agent.session.run(() => Effect.never))
      const client = yield* dialClient(relay.ws, "site", clientToken("site"))
      yield* client.open({ label: "first" })
      const second = Effect.scoped(client.open({ label: "second" }))
      expect(yield* Effect.flip(second).pipe(within(patience, "the refusal"))).toMatchObject({ _tag: "StreamRefused" })
    }))
})
