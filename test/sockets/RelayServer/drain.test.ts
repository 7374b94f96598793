import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import type * as Http from "node:http"
import * as Net from "node:net"
import { ask, serveAgent, startRelay, tokenOf } from "../../support/relay.js"
import { known, logged, saying, startNodes } from "../../support/relayNodes.js"
import { eventually } from "../../support/transports.js"
import { patience, within } from "../../support/within.js"

/** Keeps requests, and answers none. */
const holding = (held: Array<Http.ServerResponse>): Http.RequestListener => (_request, response) =>
  void held.push(response)

describe("RelayServer.drain", () => {
  it.scopedLive("RelayServer.drain ends at its grace when a finalizer drains a node with a request", () =>
    Effect.gen(function*() {
      const { directory, first, second } = yield* startNodes(2, { options: { answerTimeout: "10 minutes" } })
      const held: Array<Http.ServerResponse> = []
      yield* serveAgent(second.ws, "site", holding(held), { program: "p" })
      yield* known(directory, "site")
      yield* Effect.forkScoped(Effect.ignore(ask(`${first.http}/site`)))
      yield* eventually(() => held.length === 1)
      const drained = Effect.uninterruptible(first.drain({ grace: "200 millis" }))
      const lines = yield* logged(drained.pipe(within(patience, "the end of the drain")))
      expect(lines).toEqual(["cannot end all requests: the grace has passed with requests for site: 1"])
    }))

  it.scopedLive("RelayServer.drain tells the busy sessions when its grace has passed", () =>
    Effect.gen(function*() {
      const { directory, first, second } = yield* startNodes(2, { options: { answerTimeout: "10 minutes" } })
      const held: Array<Http.ServerResponse> = []
      yield* serveAgent(first.ws, "site", holding(held), { program: "p" })
      yield* serveAgent(first.ws, "idle", saying("idle"), { program: "p" })
      yield* known(directory, "site")
      yield* Effect.forkScoped(Effect.ignore(ask(`${second.http}/site`)))
      yield* eventually(() => held.length === 1)
      const lines = yield* logged(first.drain({ grace: "2 seconds" })) // enough for the agent that is idle
      expect(lines).toEqual([
        "cannot end all requests: the grace has passed with agent site: 1 streams, node node1: 1 streams"
      ])
    }))

  it.scopedLive("RelayServer.drain logs nothing when all requests end within the grace", () =>
    Effect.gen(function*() {
      const relay = yield* startRelay()
      yield* serveAgent(relay.ws, "site", saying("here"), { program: "p" })
      expect((yield* ask(`${relay.http}/site`)).body).toBe("here")
      expect(yield* logged(relay.drain({ grace: "10 seconds" }))).toEqual([])
    }))
})

describe("an agent that drains", () => {
  /** An agent that drains while a request of its runs. Its node has released the agent. */
  const draining = Effect.gen(function*() {
    const { directory, first } = yield* startNodes(1, { options: { answerTimeout: "10 minutes" } })
    const held: Array<Http.ServerResponse> = []
    const { session } = yield* serveAgent(first.ws, "site", holding(held), { program: "p" })
    yield* known(directory, "site")
    yield* Effect.forkScoped(Effect.ignore(ask(`${first.http}/site`)))
    yield* eventually(() => held.length === 1)
    yield* Effect.forkScoped(session.drain({ grace: "10 minutes" }))
    yield* known(directory, "site", 0)
    return { session, first }
  })

  it.scopedLive("an agent that drains gives up its place in the directory when a request still runs", () =>
    Effect.gen(function*() {
      const { first, session } = yield* draining
      expect(yield* session.isClosed).toBe(false)
      expect(yield* first.snapshot).toMatchObject({ agents: 1, running: 1 })
    }))

  it.scopedLive("an agent that drains is drained by the relay, too, when a newer token takes its name", () =>
    Effect.gen(function*() {
      const { first, session } = yield* draining
      yield* serveAgent(first.ws, "site", saying("new"), { program: "q", token: tokenOf("site", { at: 50 }) })
      const told = Effect.map(session.snapshot, ({ peerDrain }) => peerDrain)
      const drain = yield* Effect.repeat(Effect.delay(told, 10), { until: (drain) => drain !== undefined }).pipe(
        within(patience, "the drain of the relay")
      )
      expect(drain).toMatchObject({ redial: false, reason: "another agent has the name" })
    }))
})

describe("the scope of a relay", () => {
  it.scopedLive("the scope of a relay closes when the client of a refused upgrade keeps its half open", () =>
    Effect.gen(function*() {
      const scope = yield* Scope.make()
      const relay = yield* Scope.extend(startRelay(), scope)
      const socket = Net.connect({ port: relay.port, host: "127.0.0.1", allowHalfOpen: true })
      yield* Effect.addFinalizer(() => Effect.sync(() => socket.destroy()))
      socket.on("error", () => {})
      socket.write("GET /none HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: raw\r\n\r\n")
      const answer = yield* Effect.async<string>((resume) =>
        void socket.once("data", (chunk) => resume(Effect.succeed(String(chunk))))
      ).pipe(within(patience, "the refusal"))
      expect(answer).toMatch(/^HTTP\/1\.1 404 /)
      yield* Scope.close(scope, Exit.void).pipe(within(patience, "the end of the relay"))
    }))
})
