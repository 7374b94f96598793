import { describe, expect, it } from "@effect/vitest"
import * as ResumableTransport from "effect-wsmux/ResumableTransport"
import * as Session from "effect-wsmux/Session"
import { type Listener, Transport } from "effect-wsmux/Transport"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Queue from "effect/Queue"
import * as SubscriptionRef from "effect/SubscriptionRef"
import * as TestClock from "effect/TestClock"
import * as Frame from "../../../src/internal/wire/frame.js"
import { encodeReceived, isUncounted, kindOf } from "../../../src/internal/wire/resumeRecord.js"
import { bytes, text } from "../../support/bytes.js"
import { expectWaiting, failureOf, quiet, start } from "../../support/observe.js"
import { makeResumableStream, makeServer } from "../../support/resumable.js"
import { auto, readAll, readSome, settle } from "../../support/sessions.js"
import { withParts } from "../../support/withParts.js"

const calm = { client: quiet, server: quiet }

/** What one send of a WebSocket does instead. */
type Armed = (at: { readonly listener: Listener; readonly send: () => void }) => void

/** Both ends of a stream of a session whose next message is sent as a test says. */
const makeArmed = Effect.gen(function*() {
  const server = yield* makeServer({ server: quiet })
  const armed: { send: Armed | undefined } = { send: undefined }
  /** The messages that count for RECEIVED. */
  const counts = { sent: 0 }
  const dial = Effect.map(server.dial, (transport) => {
    let listener: Listener
    return withParts(transport, {
      listen: (added) => transport.listen(listener = added),
      send: (parts) => {
        const { send } = armed
        armed.send = undefined
        if (!isUncounted(kindOf(parts[0]!) ?? 0)) counts.sent++
        if (send === undefined) transport.send(parts)
        else send({ listener, send: () => transport.send(parts) })
      }
    })
  })
  const transport = yield* ResumableTransport.connect(dial)
  const client = yield* Effect.provideService(Session.makeClient({ ...auto, ...quiet }), Transport, transport)
  const peer = yield* Queue.take(server.accepted)
  const [near, far] = yield* Effect.all([client.open(), peer.accept], { concurrency: 2 })
  return { ...server, armed, counts, transport, near, far }
})

describe("ResumableTransport", () => {
  it.scoped("a stream goes on when its WebSocket is lost", () =>
    Effect.gen(function*() {
      const { client, cut, far, near, peer } = yield* makeResumableStream(calm)
      yield* near.write(bytes("before"))
      expect(text(yield* readSome(far))).toBe("before")
      yield* cut
      yield* near.write(bytes("after"))
      expect(text(yield* readSome(far))).toBe("after")
      yield* far.write(bytes("answer"))
      yield* far.end
      expect(text(yield* readAll(near))).toBe("answer")
      for (const session of [client, peer]) {
        expect((yield* session.snapshot).resumption).toMatchObject({ state: "connected", resumed: 1 })
      }
    }))

  it.scoped("bytes that were under way when the WebSocket was lost arrive once", () =>
    Effect.gen(function*() {
      const { cut, far, links, near } = yield* makeResumableStream(calm)
      yield* links[0]!.stall("client")
      yield* near.write(bytes("lost with the socket"))
      yield* near.end
      yield* cut
      expect(text(yield* readAll(far))).toBe("lost with the socket")
    }))

  it.scoped("a message arrives once when its own send loses the WebSocket", () =>
    Effect.gen(function*() {
      const { armed, far, near, transport } = yield* makeArmed
      armed.send = ({ listener }) => listener.onClose({ code: 1006, reason: "" })
      yield* near.write(bytes("fatal"))
      yield* near.end
      expect(text(yield* readAll(far))).toBe("fatal")
      expect(yield* SubscriptionRef.get(transport.state)).toEqual({ _tag: "Connected", resumed: 1 })
    }))

  it.scoped("a message is kept no longer when its own send brings the acknowledgement", () =>
    Effect.gen(function*() {
      const { armed, counts, cut, far, near, transport } = yield* makeArmed
      armed.send = ({ listener, send }) => {
        send()
        listener.onMessage(encodeReceived(counts.sent))
      }
      yield* near.write(bytes("handled, "))
      expect(text(yield* readSome(far))).toBe("handled, ")
      expect(transport.resumption?.()?.keptBytes).toBe(0)
      yield* near.write(bytes("and once"))
      yield* cut
      yield* near.end
      expect(text(yield* readAll(far))).toBe("and once")
    }))

  it.scoped("messages are repeated in order when the send of one leads to another", () =>
    Effect.gen(function*() {
      const { armed, cut, far, links, near, transport } = yield* makeArmed
      yield* links[0]!.stall("client")
      armed.send = ({ send }) => {
        transport.send([Frame.encode({ _tag: "Dat", id: near.id, payload: bytes("second") })])
        send()
      }
      yield* near.write(bytes("first, "))
      yield* cut
      yield* near.end
      expect(text(yield* readAll(far))).toBe("first, second")
    }))

  it.scoped("writes wait while there is no WebSocket, and deadlines run", () =>
    Effect.gen(function*() {
      const { client, cut, far, near, network, transport } = yield* makeResumableStream(calm)
      network.isDown = true
      yield* cut
      const { resumption } = yield* client.snapshot
      const { keptBytes } = resumption!
      expect(keptBytes).toBeGreaterThan(0)
      expect(yield* SubscriptionRef.get(transport.state)).toMatchObject({ _tag: "Suspended", resumed: 0, keptBytes })
      const write = yield* start(near.write(bytes("late")))
      const read = yield* start(near.read)
      yield* expectWaiting(read)
      yield* near.setReadDeadline(3000)
      yield* TestClock.adjust("3 seconds")
      expect((yield* failureOf(read))._tag).toBe("ReadTimeout")
      network.isDown = false
      yield* TestClock.adjust("10 seconds")
      yield* Fiber.join(write)
      expect(text(yield* readSome(far))).toBe("late")
      expect(yield* SubscriptionRef.get(transport.state)).toEqual({ _tag: "Connected", resumed: 1 })
    }))

  it.scoped("ResumableTransport acknowledges a first message that came before its session", () =>
    Effect.gen(function*() {
      const server = yield* makeServer({ server: quiet })
      const transport = yield* ResumableTransport.connect(server.dial)
      const peer = yield* Queue.take(server.accepted)
      yield* settle
      yield* Effect.provideService(Session.makeClient({ ...auto, ...quiet }), Transport, transport)
      yield* settle
      expect((yield* peer.snapshot).resumption?.keptBytes).toBeGreaterThan(0)
      yield* TestClock.adjust("1 second")
      yield* settle
      expect((yield* peer.snapshot).resumption?.keptBytes).toBe(0)
    }))

  it.scoped("the session ends with the first loss and the reason when its grace has passed", () =>
    Effect.gen(function*() {
      const { client, cut, network, peer, resuming } = yield* makeResumableStream(calm)
      network.isDown = true
      yield* cut
      expect(yield* resuming.suspended).toBe(1)
      yield* TestClock.adjust("2 minutes")
      yield* settle
      for (const session of [client, peer]) {
        const end = yield* session.awaitClosed
        expect(end).toMatchObject({ _tag: "TransportFailure", cause: { reason: "GraceExpired", loss: { code: 1006 } } })
      }
      expect(yield* resuming.suspended).toBe(0)
    }))
})
