import { describe, expect, it } from "@effect/vitest"
import * as ReconnectingSession from "effect-wsmux/ReconnectingSession"
import * as ResumableTransport from "effect-wsmux/ResumableTransport"
import * as Effect from "effect/Effect"
import * as Queue from "effect/Queue"
import * as TestClock from "effect/TestClock"
import { bytes, text } from "../../support/bytes.js"
import { failureOf, quiet, start } from "../../support/observe.js"
import { everySecond } from "../../support/redialledServer.js"
import { makeServer, type Options } from "../../support/resumable.js"
import { auto, readSome, settle } from "../../support/sessions.js"

/** A reconnecting session whose sessions survive the loss of their WebSocket. */
const makeReconnecting = (options: Options = {}) =>
  Effect.gen(function*() {
    const server = yield* makeServer({ tells: false, server: quiet, ...options })
    let connected = 0
    const session = yield* ReconnectingSession.make({
      transport: ResumableTransport.connect(server.dial),
      onConnect: () => Effect.sync(() => connected++),
      schedule: everySecond,
      settings: { ...auto, ...quiet }
    })
    const first = yield* session.current
    const peer = yield* Queue.take(server.accepted)
    yield* settle
    return { ...server, session, first, peer, connected: () => connected }
  })

describe("ReconnectingSession over a resumable transport", () => {
  it.scoped("ReconnectingSession keeps its session when the WebSocket is lost and the session goes on", () =>
    Effect.gen(function*() {
      const { connected, cut, first, peer, session } = yield* makeReconnecting()
      const [near, far] = yield* Effect.all([session.open(), peer.accept], { concurrency: 2 })
      yield* cut
      yield* near.write(bytes("same stream"))
      expect(text(yield* readSome(far))).toBe("same stream")
      expect(yield* session.current).toBe(first)
      expect(connected()).toBe(1)
    }))

  it.scoped("ReconnectingSession opens on the suspended session, whose stream begins when it goes on", () =>
    Effect.gen(function*() {
      const { cut, first, network, peer, session } = yield* makeReconnecting()
      network.isDown = true
      yield* cut
      expect((yield* session.state.get)._tag).toBe("Connected")
      const opening = yield* start(session.open())
      network.isDown = false
      yield* TestClock.adjust("5 seconds")
      const far = yield* peer.accept
      expect((yield* opening).id).toBe(far.id)
      expect(yield* session.current).toBe(first)
    }))

  it.scoped("ReconnectingSession dials a fresh session after the first loss when the server forgot it", () =>
    Effect.gen(function*() {
      // the server gives each suspended session up, as one that has restarted
      const server = yield* makeReconnecting({ resume: { maxSuspended: 0 } })
      const { accepted, connected, cut, first, peer, session } = server
      const near = yield* Effect.zipLeft(session.open(), peer.accept, { concurrent: true })
      yield* cut
      const lost = { _tag: "TransportFailure", cause: { reason: "Unknown", loss: { code: 1006 } } }
      expect(yield* first.awaitClosed).toMatchObject(lost)
      expect(yield* failureOf(yield* start(near.read))).toMatchObject({ cause: lost })
      expect(yield* session.state.get).toMatchObject({ _tag: "Connecting", attempt: 1, cause: lost })
      yield* TestClock.adjust("1 second")
      const second = yield* session.current
      expect([second === first, connected()]).toEqual([false, 2])
      const next = yield* Queue.takeAll(accepted)
      const [fresh] = Array.from(next).slice(-1)
      const [opened, got] = yield* Effect.all([session.open(), fresh!.accept], { concurrency: 2 })
      yield* opened.write(bytes("fresh"))
      expect(text(yield* readSome(got))).toBe("fresh")
    }))

  it.scoped("ReconnectingSession dials a fresh session when the grace has passed without a network", () =>
    Effect.gen(function*() {
      const { cut, first, network, session } = yield* makeReconnecting()
      network.isDown = true
      yield* cut
      yield* TestClock.adjust("2 minutes")
      yield* settle
      const lost = { _tag: "TransportFailure", cause: { reason: "GraceExpired", loss: { code: 1006 } } }
      expect(yield* first.awaitClosed).toMatchObject(lost)
      expect((yield* session.state.get)._tag).toBe("Connecting")
      network.isDown = false
      yield* TestClock.adjust("1 second")
      expect(yield* session.current).not.toBe(first)
    }))

  it.scoped("ReconnectingSession.close dials no more when its session is suspended", () =>
    Effect.gen(function*() {
      const { cut, network, session } = yield* makeReconnecting()
      network.isDown = true
      yield* cut
      const closing = yield* start(session.close)
      yield* TestClock.adjust("3 seconds")
      yield* closing
      const { requests } = network
      yield* TestClock.adjust("1 minute")
      expect(network.requests).toBe(requests)
    }))
})
