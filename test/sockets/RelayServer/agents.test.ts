import { describe, expect, it } from "@effect/vitest"
import * as NodeTransport from "effect-wsmux/NodeTransport"
import * as RelayServer from "effect-wsmux/RelayServer"
import * as Effect from "effect/Effect"
import type * as Http from "node:http"
import { ask, dialAgent, refusal, secret, serveAgent, startRelay, tokenOf } from "../../support/relay.js"
import { eventually } from "../../support/transports.js"
import { patience, within } from "../../support/within.js"

const saying = (text: string): Http.RequestListener => (_request, response) => response.end(text)

const second = "another secret of the tests"

describe("the tokens of agents", () => {
  it.scopedLive("the relay admits an agent when either secret has signed its token", () =>
    Effect.gen(function*() {
      const relay = yield* startRelay({ secrets: [secret, second] })
      yield* serveAgent(relay.ws, "one", saying("1"), { token: tokenOf("one") })
      yield* serveAgent(relay.ws, "two", saying("2"), { token: tokenOf("two", { by: second }) })
      expect((yield* ask(`${relay.http}/one`)).body).toBe("1")
      expect((yield* ask(`${relay.http}/two`)).body).toBe("2")
    }))

  const now = Math.floor(Date.now() / 1000)
  const token = (claims: { readonly from?: number; readonly until?: number; readonly audience?: string }) =>
    RelayServer.agentToken({
      name: "site",
      issuedAt: now + (claims.from ?? -10),
      expiresAt: now + (claims.until ?? 1000),
      audience: claims.audience
    }, secret)
  const unsigned = `${Buffer.from(JSON.stringify({ alg: "none" })).toString("base64url")}.${
    tokenOf("site").split(".")[1]
  }.`

  const refused: ReadonlyArray<readonly [string, string, number]> = [
    ["is for another name", tokenOf("other"), 401],
    ["is signed with another secret", tokenOf("site", { by: second }), 401],
    ["has expired", token({ until: -1 }), 401],
    ["is not valid yet", token({ from: 100 }), 401],
    ["is valid for more than 31 days", token({ until: 32 * 24 * 3600 }), 401],
    ["is for another audience", token({ audience: "others" }), 401],
    ["is for a client", token({ audience: "wsmux-relay-client" }), 401],
    ["is not signed", unsigned, 401],
    ["is no token", "nonsense", 401]
  ]
  for (const [what, shown, status] of refused) {
    it.scopedLive(`the relay refuses an agent when its token ${what}`, () =>
      Effect.gen(function*() {
        const relay = yield* startRelay()
        expect(yield* refusal(dialAgent(relay.ws, "site", { token: shown }))).toMatchObject({ status })
      }))
  }

  it.scopedLive("the relay answers as websocktunnel when a request to register is malformed", () =>
    Effect.gen(function*() {
      const relay = yield* startRelay()
      const dial = (headers: Readonly<Record<string, string>>) => refusal(NodeTransport.connect(relay.ws, { headers }))
      expect(yield* dial({ "x-websocktunnel-id": "site" })).toMatchObject({ status: 400 })
      expect(yield* dial({ "x-websocktunnel-id": "a b", authorization: "Bearer x" })).toMatchObject({ status: 400 })
      expect(yield* ask(relay.http, { headers: { "x-websocktunnel-id": "site" } })).toMatchObject({ status: 404 })
    }))

  it.scopedLive("the relay takes a token of its audience when it has one", () =>
    Effect.gen(function*() {
      const relay = yield* startRelay({ audience: "here" })
      yield* serveAgent(relay.ws, "site", saying("in"), { token: token({ audience: "here" }) })
      expect((yield* ask(`${relay.http}/site`)).body).toBe("in")
    }))

  it.scopedLive("RelayServer fails when a secret is short", () =>
    Effect.gen(function*() {
      expect(yield* Effect.flip(RelayServer.make({ secrets: ["short"] }))).toMatchObject({
        _tag: "InvalidConfiguration",
        setting: "secrets"
      })
    }))
})

describe("the agents of one name", () => {
  it.scopedLive("agents share the load when they have one token and are different programs", () =>
    Effect.gen(function*() {
      const relay = yield* startRelay()
      const token = tokenOf("site")
      for (const program of ["a", "b", "c"]) yield* serveAgent(relay.ws, "site", saying(program), { token, program })
      const answers = yield* Effect.replicateEffect(Effect.map(ask(`${relay.http}/site`), ({ body }) => body), 6)
      expect([...answers].sort()).toEqual(["a", "a", "b", "b", "c", "c"])
    }))

  it.scopedLive("the agent with the fewest streams gets a request when others are busy", () =>
    Effect.gen(function*() {
      const relay = yield* startRelay()
      const token = tokenOf("site")
      const held: Array<Http.ServerResponse> = []
      const busy: Http.RequestListener = (_request, response) => void held.push(response)
      yield* serveAgent(relay.ws, "site", busy, { token, program: "a" })
      yield* Effect.forkScoped(ask(`${relay.http}/site`))
      yield* eventually(() => held.length === 1)
      yield* serveAgent(relay.ws, "site", saying("b"), { token, program: "b" })
      const answers = yield* Effect.replicateEffect(Effect.map(ask(`${relay.http}/site`), ({ body }) => body), 3)
      expect(answers).toEqual(["b", "b", "b"])
      for (const response of held) response.end()
    }))

  it.scopedLive("the agent with the newest token has the name when an older one has dialled before", () =>
    Effect.gen(function*() {
      const relay = yield* startRelay()
      const old = yield* serveAgent(relay.ws, "site", saying("old"), { program: "a" })
      yield* serveAgent(relay.ws, "site", saying("new"), { program: "b", token: tokenOf("site", { at: 50 }) })
      const end = yield* old.session.awaitClosed.pipe(within(patience, "the end of the older agent"))
      expect(end).toMatchObject({ _tag: "SessionClosed", by: "peer", code: 1001 })
      expect((yield* ask(`${relay.http}/site`)).body).toBe("new")
    }))

  it.scopedLive("the relay answers 409 when an agent dials with a token older than the one that rules", () =>
    Effect.gen(function*() {
      const relay = yield* startRelay()
      yield* serveAgent(relay.ws, "site", saying("new"), { token: tokenOf("site", { at: 50 }) })
      expect(yield* refusal(dialAgent(relay.ws, "site", { program: "thief" }))).toMatchObject({ status: 409 })
      expect((yield* ask(`${relay.http}/site`)).body).toBe("new")
    }))

  it.scopedLive("an agent takes the place of its earlier connection when it dials as Go's clients do", () =>
    Effect.gen(function*() {
      const relay = yield* startRelay()
      const first = yield* serveAgent(relay.ws, "site", saying("1"), { dialect: "off" })
      yield* serveAgent(relay.ws, "site", saying("2"), { dialect: "off" })
      const end = yield* first.session.awaitClosed.pipe(within(patience, "the end of the earlier connection"))
      expect(end).toMatchObject({ _tag: "SessionClosed", by: "peer", code: 1001 })
      expect((yield* ask(`${relay.http}/site`)).body).toBe("2")
    }))

  it.scopedLive("a request that runs comes to its end when another agent takes the name", () =>
    Effect.gen(function*() {
      const relay = yield* startRelay()
      let answer: Http.ServerResponse | undefined
      yield* serveAgent(relay.ws, "site", (_request, response) => answer = response, { program: "a" })
      const asking = yield* Effect.fork(ask(`${relay.http}/site`))
      yield* eventually(() => answer !== undefined)
      yield* serveAgent(relay.ws, "site", saying("new"), { program: "b", token: tokenOf("site", { at: 50 }) })
      expect((yield* ask(`${relay.http}/site`)).body).toBe("new")
      answer!.end("old")
      expect((yield* asking).body).toBe("old")
    }))

  it.scopedLive("a request waits for an agent that dials again, and gets 503 when it stays away", () =>
    Effect.gen(function*() {
      const relay = yield* startRelay({ holdTimeout: "2 seconds" })
      const first = yield* serveAgent(relay.ws, "site", saying("1"), { program: "a" })
      yield* first.session.close
      const asking = yield* Effect.fork(ask(`${relay.http}/site`))
      const again = yield* serveAgent(relay.ws, "site", saying("2"), { program: "a" })
      expect((yield* asking).body).toBe("2")
      yield* again.session.close
      expect(yield* ask(`${relay.http}/site`)).toMatchObject({ status: 503, headers: { "retry-after": "1" } })
    }))
})
