import { describe, expect, it } from "@effect/vitest"
import * as NodeTransport from "effect-wsmux/NodeTransport"
import * as NodeTransportServer from "effect-wsmux/NodeTransportServer"
import * as Session from "effect-wsmux/Session"
import * as SessionServer from "effect-wsmux/SessionServer"
import { Transport } from "effect-wsmux/Transport"
import { TransportServer } from "effect-wsmux/TransportServer"
import { ConnectFailure } from "effect-wsmux/WsmuxError"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import { urlOf } from "../../support/transports.js"
import { patience, within } from "../../support/within.js"
import { soon, startAll } from "./links.js"
import { startPeer } from "./process.js"

const intervalMillis = 500
const settings = { keepAliveInterval: intervalMillis, flushTimeout: 200, closeTimeout: 200 } as const

/** Dials a process that accepts one stream and ignores it. The keep-alive of the process takes 20 s. */
const dialPeer = Effect.gen(function*() {
  const peer = yield* startPeer({ service: "hold", keepAliveInterval: 20_000 })
  const transport = yield* NodeTransport.connect(peer.url)
  const session = yield* Effect.provideService(Session.makeClient(settings), Transport, transport)
  return { peer, session, stream: yield* session.open() }
})

/** The same, but the process dials. */
const listenForPeer = Effect.gen(function*() {
  const peer = yield* startPeer({ service: "hold", keepAliveInterval: 20_000 })
  const transports = yield* NodeTransportServer.make()
  const server = yield* Effect.provideService(SessionServer.make(settings), TransportServer, transports)
  const connected = yield* Deferred.make<Session.Session>()
  yield* Effect.forkScoped(
    server.run((session) => Effect.zipRight(Deferred.succeed(connected, session), session.awaitClosed))
  )
  yield* peer.dial(urlOf(transports))
  yield* peer.next("dialled")
  const session = yield* Deferred.await(connected).pipe(within(patience, "the session of the peer"))
  return { peer, session, stream: yield* session.open() }
})

describe("a peer in another process", () => {
  for (const [who, connect] of [["that was dialled", dialPeer], ["that dialled", listenForPeer]] as const) {
    it.scopedLive(`session fails its waiting operations at once when a peer ${who} is killed`, () =>
      Effect.gen(function*() {
        const { peer, session, stream } = yield* connect
        const outcome = yield* startAll(session, stream)
        yield* peer.signal("SIGKILL")
        const { cause, closedAfter } = yield* outcome
        expect(cause).toMatchObject({ _tag: "TransportFailure", code: 1006 })
        expect(closedAfter).toBeLessThan(soon)
      }))

    it.scopedLive(`session fails its waiting operations by the keep-alive when a peer ${who} is frozen`, () =>
      Effect.gen(function*() {
        const { peer, session, stream } = yield* connect
        const outcome = yield* startAll(session, stream)
        yield* peer.signal("SIGSTOP")
        const { cause, closedAfter } = yield* outcome
        expect(cause).toMatchObject({ _tag: "KeepAliveExpired", intervalMillis })
        expect(closedAfter).toBeLessThan(soon)
        yield* peer.signal("SIGCONT")
        expect((yield* peer.next("ended")).tag).toMatch(/^(SessionClosed|TransportFailure)$/)
      }))
  }

  it.scopedLive("NodeTransport.connect fails after openTimeout when the server process is frozen", () =>
    Effect.gen(function*() {
      const peer = yield* startPeer({ service: "hold", keepAliveInterval: 20_000 })
      yield* peer.signal("SIGSTOP")
      const since = performance.now()
      const dial = NodeTransport.connect(peer.url, { openTimeout: "300 millis" })
      expect(yield* Effect.flip(dial)).toEqual(new ConnectFailure({ url: peer.url, reason: "Timeout" }))
      expect(performance.now() - since).toBeLessThan(soon)
    }))

  it.scopedLive("NodeTransport.connect fails at once when the server process was killed", () =>
    Effect.gen(function*() {
      const peer = yield* startPeer({ service: "hold", keepAliveInterval: 20_000 })
      yield* peer.signal("SIGKILL")
      yield* peer.exit // the kernel closes the sockets of the process one after the other
      expect(yield* Effect.flip(NodeTransport.connect(peer.url))).toMatchObject({
        _tag: "ConnectFailure",
        reason: "Unreachable",
        cause: { code: "ECONNREFUSED" }
      })
    }))
})
