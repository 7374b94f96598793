import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import * as Net from "node:net"
import { makeAuthority } from "../../support/certificates.js"
import { ask, serveAgent, startRelay } from "../../support/relay.js"
import { patience, within } from "../../support/within.js"

const authority = makeAuthority("the authority of the tests")
const tls = authority.issue("localhost")
const trusting = { ca: authority.cert, servername: "localhost" }

describe("the relay with TLS", () => {
  it.scopedLive("the relay passes a request by https to an agent by wss when it has a certificate", () =>
    Effect.gen(function*() {
      const { port, urlOf } = yield* startRelay({ tls })
      const agent = yield* serveAgent(
        `wss://127.0.0.1:${port}/`,
        "site",
        (request, response) => response.end(`${request.headers["x-forwarded-proto"] as string} ${request.url}`),
        { program: "p", tls: trusting }
      )
      expect([agent.url, urlOf("site")]).toEqual(Array(2).fill(`https://127.0.0.1:${port}/site`))
      const answer = yield* ask(`https://127.0.0.1:${port}/site/path`, trusting)
      expect(answer).toMatchObject({ status: 200, body: "https /path" })
    }))

  it.scopedLive("the scope of a relay closes when a client is within its TLS handshake", () =>
    Effect.gen(function*() {
      const scope = yield* Scope.make()
      const { port } = yield* Scope.extend(startRelay({ tls }), scope)
      const socket = Net.connect(port, "127.0.0.1")
      yield* Effect.addFinalizer(() => Effect.sync(() => socket.destroy()))
      socket.on("error", () => {})
      yield* Effect.async<void>((resume) => void socket.once("connect", () => resume(Effect.void)))
      yield* ask(`https://127.0.0.1:${port}/__heartbeat__`, trusting) // the server has accepted the client before
      yield* Scope.close(scope, Exit.void).pipe(within(patience, "the end of the relay"))
    }))
})
