import { describe, expect, it } from "@effect/vitest"
import * as ByteStream from "effect-wsmux/ByteStream"
import type { Metadata, MuxStream } from "effect-wsmux/MuxStream"
import * as Session from "effect-wsmux/Session"
import * as Effect from "effect/Effect"
import {
  ask,
  clientToken,
  dialAgent,
  dialClient,
  refusal,
  serveAgent,
  showings,
  startRelay,
  tokenOf
} from "../../support/relay.js"
import { patience, within } from "../../support/within.js"

/** An agent that tells what it was told, and sends all bytes back. */
const describing = (stream: MuxStream) =>
  Effect.gen(function*() {
    yield* stream.write(Buffer.from(`${stream.label} ${JSON.stringify(stream.metadata)}\n`))
    yield* ByteStream.forEach(stream, (chunk) => stream.write(chunk))
    yield* stream.end
  })

const exchange = (session: Session.Session, options: { readonly label: string; readonly metadata?: Metadata }) =>
  Session.withStream(
    session,
    (stream) => Effect.zipRight(ByteStream.writeEnd(stream, "bytes"), ByteStream.readText(stream)),
    options
  ).pipe(
    within(patience, "the answer of the agent")
  )

describe("the clients of the relay", () => {
  for (const where of Object.keys(showings) as Array<keyof typeof showings>) {
    it.scopedLive(`a client opens streams to the agent by label when its token is in ${where}`, () =>
      Effect.gen(function*() {
        const relay = yield* startRelay()
        const agent = yield* dialAgent(relay.ws, "site", { program: "p" })
        yield* Effect.forkScoped(agent.session.run(describing))
        const client = yield* dialClient(relay.ws, "site", clientToken("site"), where)
        const metadata = { target: "db:5432", "relay-user": "root" }
        expect(yield* exchange(client, { label: "tcp", metadata })).toBe(
          `tcp {"target":"db:5432","relay-user":"ada"}\nbytes`
        )
      }))
  }

  it.scopedLive("a client learns why its stream is refused when no agent has the name", () =>
    Effect.gen(function*() {
      const relay = yield* startRelay()
      const client = yield* dialClient(relay.ws, "site", clientToken("site"))
      const reading = Session.withStream(client, ByteStream.readText, { label: "tcp" })
      expect(yield* Effect.flip(reading).pipe(within(patience, "the refusal"))).toMatchObject({
        reason: "no agent is connected with that name"
      })
    }))

  it.scopedLive("the relay refuses a client when its token is an agent's or for another name", () =>
    Effect.gen(function*() {
      const relay = yield* startRelay()
      const dial = (token: string) => refusal(dialClient(relay.ws, "site", token, "a subprotocol"))
      expect(yield* dial(tokenOf("site"))).toMatchObject({ status: 401 })
      expect(yield* dial(clientToken("other"))).toMatchObject({ status: 403 })
      expect(yield* dial("nonsense")).toMatchObject({ status: 401 })
    }))

  it.scopedLive("the relay refuses a client when its bearer token is for another name or of another secret", () =>
    Effect.gen(function*() {
      const relay = yield* startRelay()
      const dial = (token: string) => refusal(dialClient(relay.ws, "site", token))
      expect(yield* dial(clientToken("other"))).toMatchObject({ status: 403 })
      expect(yield* dial(clientToken("site", "ada", undefined, "another secret"))).toMatchObject({ status: 401 })
    }))

  it.scopedLive("an upgrade request goes to the agent when its bearer token is of another audience", () =>
    Effect.gen(function*() {
      const relay = yield* startRelay()
      yield* serveAgent(relay.ws, "site", ({ headers }, response) => response.end(headers.authorization))
      for (const authorization of [`Bearer ${tokenOf("site")}`, "Bearer a.b.c", "Basic abc"]) {
        const headers = { connection: "upgrade", upgrade: "raw", authorization }
        expect(yield* ask(`${relay.http}/site`, { headers })).toMatchObject({ status: 200, body: authorization })
      }
    }))
})
