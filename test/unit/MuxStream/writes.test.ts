import { describe, expect, it } from "@effect/vitest"
import type * as MemoryTransport from "effect-wsmux/MemoryTransport"
import type * as SessionConfig from "effect-wsmux/SessionConfig"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as FiberId from "effect/FiberId"
import * as Scheduler from "effect/Scheduler"
import * as Stream from "effect/Stream"
import type { Frame, Malformed } from "../../../src/internal/wire/frame.js"
import { bytes, concat, pattern, text } from "../../support/bytes.js"
import { expectWaiting, plainly, quiet, start } from "../../support/observe.js"
import { ack, dat, fin, makePeer, syn } from "../../support/scriptedPeer.js"
import { makeStreams, readAll, settle } from "../../support/sessions.js"

/**
 * A server session over a link that holds one frame, and streams of the peer with a credit of 1,000,000 bytes.
 */
const makeWriters = (count: number, options?: SessionConfig.PartialSettings, link?: MemoryTransport.Options) =>
  Effect.gen(function*() {
    const peer = yield* makePeer("server", { ...quiet, initialSendCredit: 1_000_000, ...options }, {
      capacity: 1,
      ...link
    })
    yield* Effect.addFinalizer(() => peer.pair.cut)
    const streams = yield* Effect.forEach(
      Array.from({ length: count }, (_, i) => 2 * i + 1),
      (id) => Effect.zipRight(peer.send(syn(id)), peer.session.accept)
    )
    yield* peer.frames
    return { ...peer, streams }
  })

const payloads = (frames: ReadonlyArray<Frame | Malformed>) =>
  frames.flatMap((frame) => frame._tag === "Dat" ? [frame.payload] : [])

const filled = (length: number, value: number) => new Uint8Array(length).fill(value)

describe("MuxStream.write", () => {
  it.scoped("MuxStream.write keeps the bytes of each call together when several fibers write", () =>
    Effect.gen(function*() {
      const { far, near } = yield* makeStreams({ server: { streamBufferSize: 64 } })
      const chunks = Array.from({ length: 8 }, (_, i) => filled(300, i))
      yield* Effect.fork(
        Effect.zipRight(Effect.forEach(chunks, near.write, { concurrency: "unbounded" }), near.end)
      )
      expect(yield* readAll(far)).toEqual(concat(chunks))
    }))

  it.scoped("MuxStream.write dies and sends nothing when a chunk is not a Uint8Array", () =>
    Effect.gen(function*() {
      const { far, near } = yield* makeStreams(plainly()) // with the dialect, the sink would reset the stream
      const wrong: ReadonlyArray<unknown> = [
        "text",
        [1, 2],
        new ArrayBuffer(2),
        new Uint16Array(1),
        new DataView(new ArrayBuffer(2)),
        null
      ]
      for (const chunk of wrong) {
        for (const write of [near.write(chunk as never), near.writeAll([bytes("a"), chunk as never])]) {
          expect(Cause.squash(yield* Effect.flip(Effect.sandbox(write)))).toBeInstanceOf(TypeError)
        }
        const sunk = Stream.run(Stream.make(chunk as never), near.writable)
        expect(Cause.squash(yield* Effect.flip(Effect.sandbox(sunk)))).toBeInstanceOf(TypeError)
      }
      yield* near.write(bytes("whole"))
      yield* near.end
      expect(text(yield* readAll(far))).toBe("whole")
    }))

  it.scoped("MuxStream.write waits behind an earlier write even when its bytes would fit", () =>
    Effect.gen(function*() {
      const { far, near } = yield* makeStreams()
      yield* start(near.write(filled(1500, 1)))
      yield* start(near.write(filled(1, 2)))
      yield* start(near.end)
      expect(yield* readAll(far)).toEqual(concat([filled(1500, 1), filled(1, 2)]))
    }))

  it.scoped("MuxStream.write drops its unsent bytes when interrupted, and later writes follow", () =>
    Effect.gen(function*() {
      const { far, near } = yield* makeStreams()
      const write = yield* start(near.write(pattern(3000)))
      yield* Fiber.interrupt(write)
      yield* start(Effect.zipRight(near.write(bytes("tail")), near.end))
      expect(yield* readAll(far)).toEqual(concat([pattern(3000).subarray(0, 1024), bytes("tail")]))
    }))

  // The scheduler may yield before any step of a fiber, and an interruption may arrive there.
  it.scoped("MuxStream.write leaves no waiting bytes when it is interrupted at any step", () =>
    Effect.gen(function*() {
      const { send, session, streams: [stream] } = yield* makeWriters(1, { initialSendCredit: 0 })
      for (let at = 0, interrupted = true; interrupted; at++) {
        let steps = 0
        const scheduler = Scheduler.make(
          (task, priority, fiber) => Scheduler.defaultScheduler.scheduleTask(task, priority, fiber),
          (fiber) => {
            if (steps++ !== at) return false
            fiber.unsafeInterruptAsFork(FiberId.none)
            return 0
          }
        )
        const write = Effect.runFork(stream!.write(bytes("never")), { scheduler })
        yield* settle
        interrupted = steps > at
        yield* Fiber.interrupt(write)
        expect([at, (yield* session.snapshot).streams[0]?.waitingBytes]).toEqual([at, 0])
      }
      yield* send(fin(1))
    }))

  it.scoped("MuxStream.write drops only its own bytes when it is interrupted behind other writes", () =>
    Effect.gen(function*() {
      const { far, near } = yield* makeStreams()
      const first = yield* start(near.write(filled(1500, 1)))
      const second = yield* start(near.write(filled(1500, 2)))
      const third = yield* start(near.write(filled(1500, 3)))
      yield* Fiber.interrupt(second)
      yield* start(near.end)
      expect(yield* readAll(far)).toEqual(concat([filled(1500, 1), filled(1500, 3)]))
      yield* Fiber.join(first)
      yield* Fiber.join(third)
    }))

  it.scoped("MuxStream.write releases the waiting FIN to a plain peer when it is interrupted", () =>
    Effect.gen(function*() {
      const { far, near } = yield* makeStreams({ client: { dialect: "off" } })
      const write = yield* start(near.write(pattern(3000)))
      const end = yield* start(near.end)
      yield* Fiber.interrupt(write)
      yield* Fiber.join(end)
      expect(yield* readAll(far)).toEqual(pattern(3000).subarray(0, 1024))
    }))

  it.scoped("MuxStream.write sends no frame when it is empty, as an empty DAT corrupts a Go peer", () =>
    Effect.gen(function*() {
      const { frames, streams: [stream] } = yield* makeWriters(1)
      yield* stream!.write(new Uint8Array(0))
      yield* stream!.writeAll([])
      yield* stream!.writeAll([new Uint8Array(0), new Uint8Array(0)])
      yield* stream!.writeAll([new Uint8Array(0), bytes("x"), new Uint8Array(0)])
      expect(yield* frames).toEqual([dat(1, bytes("x"))])
    }))

  it.scoped("MuxStream.write sends frames of at most maxFrameSize", () =>
    Effect.gen(function*() {
      const { frames, streams: [stream] } = yield* makeWriters(1, { maxFrameSize: 10 })
      yield* stream!.write(pattern(25))
      yield* stream!.write(pattern(10))
      const out = payloads(yield* frames)
      expect(out.map((payload) => payload.byteLength)).toEqual([10, 10, 5, 10])
      expect(concat(out)).toEqual(concat([pattern(25), pattern(10)]))
    }))

  it.scoped("MuxStream.write sends frames of 64 KiB by default when the transport cannot ping", () =>
    Effect.gen(function*() {
      const { frames, streams: [stream] } = yield* makeWriters(1, {}, { ping: false })
      yield* stream!.write(pattern(150_000))
      const out = payloads(yield* frames)
      expect(out.map((payload) => payload.byteLength)).toEqual([65_536, 65_536, 18_928])
      expect(concat(out)).toEqual(pattern(150_000))
    }))

  it.scoped("MuxStream.write starts with frames of 16 KiB, and grows them when the link is fast", () =>
    Effect.gen(function*() {
      const { frames, streams: [stream] } = yield* makeWriters(1, {}, { capacity: 1_000_000 })
      yield* stream!.write(pattern(1_000_000))
      const sizes = payloads(yield* frames).map((payload) => payload.byteLength)
      expect([sizes[0], sizes.at(-2)]).toEqual([16_384, 65_536])
    }))

  it.scoped("MuxStream.write completes when the transport has its last byte", () =>
    Effect.gen(function*() {
      const { frames, pair, streams: [stream] } = yield* makeWriters(1, { maxFrameSize: 10 })
      yield* pair.stall("server")
      const write = yield* start(stream!.write(pattern(20)))
      yield* expectWaiting(write)
      yield* pair.resume("server")
      yield* Fiber.join(write)
      expect(payloads(yield* frames)).toHaveLength(2)
    }))
})

describe("MuxStream.writeAll", () => {
  it.scoped("MuxStream.writeAll joins small chunks in one frame", () =>
    Effect.gen(function*() {
      const { frames, streams: [stream] } = yield* makeWriters(1)
      yield* stream!.writeAll(Array.from("abcdef", bytes))
      yield* stream!.writeAll(new Set([bytes("gh"), bytes("i")]))
      expect(yield* frames).toEqual([dat(1, bytes("abcdef")), dat(1, bytes("ghi"))])
    }))

  it.scoped("MuxStream.writeAll keeps its chunks together, and cuts them where frames are full", () =>
    Effect.gen(function*() {
      const { frames, streams: [stream] } = yield* makeWriters(1, { maxFrameSize: 4 })
      const [first, second] = [
        yield* Effect.fork(stream!.writeAll([bytes("abc"), bytes("defgh"), bytes("i")])),
        yield* Effect.fork(stream!.writeAll([bytes("1"), bytes("23")]))
      ]
      yield* Fiber.join(first)
      yield* Fiber.join(second)
      expect(text(concat(payloads(yield* frames)))).toBe("abcdefghi123")
    }))
})

describe("SendScheduler", () => {
  it.scoped("SendScheduler sends control frames before data when the socket is full", () =>
    Effect.gen(function*() {
      const { frames, pair, send, session, streams: [stream] } = yield* makeWriters(1, { maxFrameSize: 10 })
      yield* pair.stall("server")
      yield* start(stream!.write(pattern(30)))
      yield* send(syn(3), dat(1, pattern(600)))
      yield* stream!.read
      yield* session.accept
      yield* start(session.open())
      yield* pair.resume("server")
      const out = yield* frames
      expect(out.map((frame) => frame._tag === "Dat" ? "data" : frame)).toEqual([
        "data",
        ack(3, 1024),
        syn(0),
        ack(1, 600),
        "data",
        "data"
      ])
    }))

  it.scoped("SendScheduler sends one frame of each large write in turn", () =>
    Effect.gen(function*() {
      const { frames, pair, streams } = yield* makeWriters(3, { maxFrameSize: 10 })
      yield* pair.stall("server")
      const writes = yield* Effect.forEach(streams, (stream) => start(stream.write(filled(40, stream.id))))
      yield* pair.resume("server")
      for (const write of writes) yield* Fiber.join(write)
      expect((yield* frames).map((frame) => frame._tag === "Dat" && frame.id)).toEqual(
        [1].concat([1, 3, 5], [1, 3, 5], [1, 3, 5], [3, 5])
      )
    }))

  it.scoped("SendScheduler sends a small write soon when a large write has started", () =>
    Effect.gen(function*() {
      const { frames, pair, streams: [large, small] } = yield* makeWriters(2, { maxFrameSize: 10 })
      yield* pair.stall("server")
      yield* start(large!.write(pattern(1000)))
      yield* start(Effect.zipRight(small!.write(bytes("key")), small!.end))
      yield* pair.resume("server")
      const out = yield* frames
      expect(out).toHaveLength(102)
      expect([out[2], out[4]]).toEqual([dat(3, bytes("key")), fin(3)])
    }))

  it.scoped("SendScheduler sends frames of another stream when one has no credit", () =>
    Effect.gen(function*() {
      const { frames, send, streams: [poor, other] } = yield* makeWriters(2, { initialSendCredit: 5 })
      const write = yield* start(poor!.write(bytes("12345678")))
      yield* other!.write(bytes("fine"))
      expect(yield* frames).toEqual([dat(1, bytes("12345")), dat(3, bytes("fine"))])
      yield* expectWaiting(write)
      yield* send(ack(1, 2))
      yield* send(ack(1, 9))
      expect(yield* frames).toEqual([dat(1, bytes("67")), dat(1, bytes("8"))])
      yield* Fiber.join(write)
    }))

  it.scoped("SendScheduler keeps waiting bytes in the session while the socket is full", () =>
    Effect.gen(function*() {
      const { frames, pair, session, streams: [stream] } = yield* makeWriters(1, { maxFrameSize: 10 })
      yield* pair.stall("server")
      yield* start(stream!.write(pattern(1000)))
      expect((yield* session.snapshot).streams[0]?.waitingBytes).toBe(990)
      yield* pair.resume("server")
      yield* settle
      expect((yield* session.snapshot).streams[0]?.waitingBytes).toBe(0)
      expect(concat(payloads(yield* frames))).toEqual(pattern(1000))
    }))
})
