import { describe, expect, it } from "@effect/vitest"
import * as ByteStream from "effect-wsmux/ByteStream"
import * as NodeDuplex from "effect-wsmux/NodeDuplex"
import * as WebStreams from "effect-wsmux/WebStreams"
import { DuplexFailure, Stalled } from "effect-wsmux/WsmuxError"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Queue from "effect/Queue"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/TestClock"
import { once } from "node:events"
import * as Net from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { Duplex } from "node:stream"
import { bytes, concat, pattern, text } from "../support/bytes.js"
import { duplexPair } from "../support/duplexPair.js"
import { expectWaiting, failureOf, plainly, start } from "../support/observe.js"
import { makeStreams, readAll, settle } from "../support/sessions.js"
import { eventually, listening, portOf, signal } from "../support/transports.js"
import { patience, within } from "../support/within.js"

const promise = <A>(evaluate: () => Promise<A>) => Effect.promise(evaluate)

/** Web streams in memory, and the streams at their other end. */
const makeWebPair = () => {
  const [there, back] = [new TransformStream<Uint8Array, Uint8Array>(), new TransformStream<Uint8Array, Uint8Array>()]
  return {
    near: { readable: back.readable, writable: there.writable },
    far: { readable: there.readable, writable: back.writable }
  }
}

/** A TCP connection and web streams, with one end as a `ByteStream`. */
const kinds = {
  "a Node duplex": Effect.gen(function*() {
    const [near, far] = duplexPair()
    const other = yield* NodeDuplex.toByteStream(() => far)
    return { near: yield* NodeDuplex.toByteStream(() => near), far: other }
  }),
  "a pair of web streams": Effect.gen(function*() {
    const { far, near } = makeWebPair()
    const other = yield* WebStreams.toByteStream(far)
    return { near: yield* WebStreams.toByteStream(near), far: other }
  })
}

for (const [kind, makeEnds] of Object.entries(kinds)) {
  describe(`${kind} as a byte stream`, () => {
    it.scopedLive(`${kind} carries bytes in both directions, each to its own end`, () =>
      Effect.gen(function*() {
        const { far, near } = yield* makeEnds
        const sent = pattern(200_000)
        const [, , echoed] = yield* Effect.all([
          Stream.run(Stream.make(sent.subarray(0, 70_000), sent.subarray(70_000)), near.writable),
          Stream.run(far.readable, far.writable),
          readAll(near)
        ], { concurrency: 3 })
        expect(Buffer.compare(echoed, sent)).toBe(0)
      }))

    it.scopedLive(`${kind} sends no end when the input of its sink fails`, () =>
      Effect.gen(function*() {
        const { far, near } = yield* makeEnds
        const input = Stream.concat(Stream.make(bytes("half")), Stream.fail("no more"))
        const writing = yield* Effect.fork(Stream.run(input, near.writable))
        expect(Option.map(yield* far.read, text)).toEqual(Option.some("half"))
        expect(yield* failureOf(writing)).toBe("no more")
        yield* Effect.fork(near.write(bytes("and more")))
        expect(Option.map(yield* far.read, text)).toEqual(Option.some("and more"))
      }))

    it.scopedLive(`${kind} loses no bytes when a read is interrupted`, () =>
      Effect.gen(function*() {
        const { far, near } = yield* makeEnds
        const read = yield* start(near.read)
        yield* Fiber.interrupt(read)
        yield* Effect.fork(far.write(bytes("still there")))
        expect(Option.map(yield* near.read, text)).toEqual(Option.some("still there"))
      }))

    it.scopedLive(`${kind} passes bytes and ends when it is joined with a stream`, () =>
      Effect.gen(function*() {
        const { far, near } = yield* makeEnds
        const streams = yield* makeStreams(plainly())
        const joined = yield* Effect.fork(ByteStream.join(streams.far, near))
        const [, there, , back] = yield* Effect.all([
          Stream.run(Stream.make(pattern(50_000)), streams.near.writable),
          readAll(far),
          Stream.run(Stream.make(pattern(30_000)), far.writable),
          readAll(streams.near)
        ], { concurrency: 4 })
        expect([there, back]).toEqual([pattern(50_000), pattern(30_000)])
        yield* Fiber.join(joined)
      }))
  })
}

describe("NodeDuplex.toByteStream", () => {
  it.scopedLive("NodeDuplex.toByteStream fails at a reset, and resets the connection when its scope closes", () =>
    Effect.gen(function*() {
      const accepted = yield* Deferred.make<Net.Socket>()
      const server = yield* listening(Net.createServer({ allowHalfOpen: true }, (socket) => {
        Effect.runSync(Deferred.succeed(accepted, socket))
      }))
      const scope = yield* Scope.make()
      const dial = () => Net.connect({ port: portOf(server), host: "127.0.0.1", allowHalfOpen: true })
      const left = yield* Scope.extend(NodeDuplex.toByteStream(dial), scope)
      const far = yield* NodeDuplex.toByteStream(() => Effect.runSync(Deferred.await(accepted)))
      yield* left.write(bytes("half of it"))
      expect(Option.map(yield* far.read, text)).toEqual(Option.some("half of it"))
      yield* Scope.close(scope, Exit.void)
      const failure = yield* Effect.flip(far.read)
      expect(failure).toBeInstanceOf(DuplexFailure)
      expect(failure.cause).toMatchObject({ code: "ECONNRESET" })
      expect(yield* Effect.flip(left.write(bytes("more")))).toBeInstanceOf(DuplexFailure)
    }))

  it.scopedLive("NodeDuplex.toByteStream fails with the reason when the socket cannot connect", () =>
    Effect.gen(function*() {
      const server = Net.createServer().listen(0, "127.0.0.1")
      yield* promise(() => once(server, "listening"))
      const port = portOf(server)
      yield* promise(() => new Promise((resolve) => server.close(resolve)))
      const failure = yield* Effect.flip(NodeDuplex.toByteStream(() => Net.connect(port, "127.0.0.1")))
      expect(failure.message).toBe(`connect ECONNREFUSED 127.0.0.1:${port}`)
    }))

  it.scopedLive("NodeDuplex.toByteStream reads the rest when a write fails, and fails instead of an end", () =>
    Effect.gen(function*() {
      const refused = new Error("the other end takes nothing more")
      const duplex = new Duplex({ read: () => {}, write: (_chunk, _encoding, callback) => callback(refused) })
      const other = yield* NodeDuplex.toByteStream(() => duplex)
      const failure = new DuplexFailure({ detail: refused.message, cause: refused })
      yield* Effect.ignore(other.write(pattern(100)))
      expect(yield* Effect.flip(other.write(pattern(100)))).toEqual(failure)
      duplex.push("413, ")
      expect(Option.map(yield* other.read, text)).toEqual(Option.some("413, "))
      const read = yield* start(other.read)
      duplex.push("too large")
      expect(Option.map(yield* Fiber.join(read), text)).toEqual(Option.some("too large"))
      duplex.push(null)
      expect(yield* Effect.flip(other.read)).toEqual(failure)
      expect(yield* Effect.flip(other.end)).toEqual(failure)
    }))

  it.scopedLive("NodeDuplex.toByteStream reads the answer that a server sent before its reset", () =>
    Effect.gen(function*() {
      const accepted = yield* Deferred.make<Net.Socket>()
      const server = yield* listening(Net.createServer((socket) => {
        Effect.runSync(Deferred.succeed(accepted, socket))
      }))
      const dial = () => Net.connect({ port: portOf(server), host: "127.0.0.1", allowHalfOpen: true })
      const other = yield* NodeDuplex.toByteStream(dial)
      const far = yield* Deferred.await(accepted).pipe(within(patience, "the accepted connection"))
      // in one turn, so that the client writes before it can read
      const writing = Effect.suspend(() => {
        far.write("413 too large")
        resetNow(far)
        return Effect.zipRight(other.write(pattern(100)), other.write(pattern(100)))
      })
      yield* Effect.ignore(writing)
      expect(Option.map(yield* other.read, text)).toEqual(Option.some("413 too large"))
      expect(yield* Effect.flip(other.read)).toBeInstanceOf(DuplexFailure)
    }))

  it.scopedLive("NodeDuplex.toByteStream reads the received bytes when the duplex fails", () =>
    Effect.gen(function*() {
      const duplex = new Duplex({ read: () => {}, write: (_chunk, _encoding, callback) => callback() })
      const other = yield* NodeDuplex.toByteStream(() => duplex)
      duplex.push("arrived")
      duplex.destroy(new Error("lost"))
      expect(Option.map(yield* other.read, text)).toEqual(Option.some("arrived"))
      expect(yield* Effect.flip(other.read)).toMatchObject({ detail: "lost" })
    }))

  it.scopedLive("NodeDuplex.toByteStream destroys a Unix socket when its scope closes", () =>
    Effect.gen(function*() {
      const path = join(tmpdir(), `wsmux-${process.pid}-${Date.now()}.sock`)
      const server = Net.createServer((socket) => socket.on("error", () => {}).resume())
      yield* Effect.acquireRelease(
        Effect.async<void>((resume) => void server.listen(path, () => resume(Effect.void))),
        () => Effect.sync(() => server.close())
      )
      const socket = Net.connect(path)
      const exit = yield* Effect.exit(Effect.scoped(NodeDuplex.toByteStream(() => socket)))
      expect([Exit.isSuccess(exit), socket.destroyed]).toEqual([true, true])
    }))

  it.scopedLive("NodeDuplex.toByteStream removes its listeners when its scope closes", () =>
    Effect.gen(function*() {
      const [near] = duplexPair()
      const names = ["connect", "readable", "end", "drain", "finish", "error", "close"]
      const count = () => names.map((name) => near.listenerCount(name))
      const before = count()
      const closed = signal(near, "close")
      yield* Effect.scoped(NodeDuplex.toByteStream(() => near))
      yield* closed
      expect(count()).toEqual(before)
    }))
})

/** Sends an RST at once; `resetAndDestroy` does so in a later turn. */
const resetNow = (socket: Net.Socket): void => {
  const { _handle } = socket as unknown as { readonly _handle: { readonly reset: (closed: () => void) => void } }
  _handle.reset(() => {})
}

describe("WebStreams.toByteStream", () => {
  it.scopedLive("WebStreams.toByteStream fails with the errors of its streams", () =>
    Effect.gen(function*() {
      const cause = new Error("the disk is full")
      const other = yield* WebStreams.toByteStream({
        readable: new ReadableStream({ start: (controller) => controller.error(cause) }),
        writable: new WritableStream({ write: () => Promise.reject(cause) })
      })
      expect(yield* Effect.flip(other.read)).toEqual(new DuplexFailure({ detail: cause.message, cause }))
      expect(yield* Effect.flip(other.write(bytes("much")))).toEqual(
        new DuplexFailure({ detail: cause.message, cause })
      )
    }))

  it.scopedLive("WebStreams.toByteStream fails when a chunk is not bytes", () =>
    Effect.gen(function*() {
      const other = yield* WebStreams.toByteStream({
        readable: new Blob(["text"]).stream().pipeThrough(new TextDecoderStream() as never),
        writable: new WritableStream()
      })
      expect(yield* Effect.flip(other.read)).toMatchObject({ _tag: "DuplexFailure", cause: expect.any(TypeError) })
    }))

  it.scopedLive("WebStreams.toByteStream cancels, aborts and unlocks its streams when its scope closes", () =>
    Effect.gen(function*() {
      const seen: Array<string> = []
      const pair = {
        readable: new ReadableStream<Uint8Array>({ cancel: () => void seen.push("cancelled") }),
        writable: new WritableStream<Uint8Array>({ abort: () => void seen.push("aborted") })
      }
      yield* Effect.scoped(WebStreams.toByteStream(pair))
      yield* eventually(() => seen.length === 2)
      expect(seen.sort()).toEqual(["aborted", "cancelled"])
      expect([pair.readable.locked, pair.writable.locked]).toEqual([false, false])
    }))
})

describe("ByteStream.join", () => {
  it.scoped("ByteStream.join fails with Stalled when the peer has ended and takes no more bytes", () =>
    Effect.gen(function*() {
      const { far, near } = yield* makeStreams(plainly())
      yield* near.end // and it never reads again, as if it had gone
      const endless = ByteStream.make<never>({
        read: Effect.succeed(Option.some(pattern(500))),
        write: () => Effect.void,
        end: Effect.void
      })
      const joined = yield* start(ByteStream.join(far, endless, { stallTimeout: "10 seconds" }))
      yield* TestClock.adjust("9 seconds")
      yield* expectWaiting(joined)
      yield* TestClock.adjust("1 seconds")
      expect(yield* failureOf(joined)).toEqual(new Stalled({ afterMillis: 10_000 }))
    }))

  it.scoped("ByteStream.join fails with Stalled when the peer has ended behind unread bytes", () =>
    Effect.gen(function*() {
      const { far, near } = yield* makeStreams(plainly())
      yield* near.write(pattern(500))
      yield* near.end
      const stuck = ByteStream.make<never>({
        read: Effect.succeed(Option.some(pattern(500))),
        write: () => Effect.never,
        end: Effect.void
      })
      const joined = yield* start(ByteStream.join(far, stuck, { stallTimeout: "10 seconds" }))
      yield* TestClock.adjust("10 seconds")
      expect(yield* failureOf(joined)).toEqual(new Stalled({ afterMillis: 10_000 }))
    }))

  it.scoped("ByteStream.join continues one large write when the peer takes some of it per time-out", () =>
    Effect.gen(function*() {
      const { far, near } = yield* makeStreams(plainly())
      yield* near.end
      let given = false
      const large = ByteStream.make<never>({
        read: Effect.sync(() => {
          if (given) return Option.none()
          given = true
          return Option.some(pattern(20 * 1024))
        }),
        write: () => Effect.void,
        end: Effect.void
      })
      const joined = yield* start(ByteStream.join(far, large, { stallTimeout: "1 minute" }))
      let received = 0
      while (received < 20 * 1024) {
        yield* TestClock.adjust("50 seconds")
        received += yield* Effect.map(near.read, Option.match({ onNone: () => NaN, onSome: (c) => c.byteLength }))
        yield* settle
      }
      yield* Fiber.join(joined)
      expect(received).toBe(20 * 1024)
    }))

  it.scoped("ByteStream.join passes on the rest of the other stream when a write to it fails", () =>
    Effect.gen(function*() {
      const { far, near } = yield* makeStreams(plainly())
      const answers = yield* Queue.unbounded<Option.Option<Uint8Array>>()
      const other = ByteStream.make({
        read: Queue.take(answers),
        write: () => Effect.fail("takes nothing more"),
        end: Effect.void
      })
      const joined = yield* start(Effect.scoped(ByteStream.join(far, other)))
      yield* near.write(bytes("upload"))
      yield* settle
      yield* expectWaiting(joined)
      yield* Queue.offer(answers, Option.some(bytes("413")))
      expect(Option.map(yield* near.read, text)).toEqual(Option.some("413"))
      yield* Queue.offer(answers, Option.none())
      expect(yield* failureOf(joined)).toBe("takes nothing more")
      expect((yield* start(near.read)).unsafePoll()).toBe(null) // a loss is no end
    }))

  it.scoped("ByteStream.join fails at once when a write fails after the end of the other stream", () =>
    Effect.gen(function*() {
      const { far, near } = yield* makeStreams(plainly())
      const other = ByteStream.make({
        read: Effect.succeedNone,
        write: () => Effect.fail("takes nothing more"),
        end: Effect.void
      })
      const joined = yield* start(ByteStream.join(far, other))
      expect(yield* near.read).toEqual(Option.none())
      yield* near.write(bytes("download"))
      yield* settle
      expect(yield* failureOf(joined)).toBe("takes nothing more")
    }))

  it.scoped("ByteStream.join fails with the error of a write when the other stream then stays idle", () =>
    Effect.gen(function*() {
      const { far, near } = yield* makeStreams(plainly())
      const other = ByteStream.make({
        read: Effect.never,
        write: () => Effect.fail("takes nothing more"),
        end: Effect.void
      })
      const joined = yield* start(ByteStream.join(far, other, { stallTimeout: "10 seconds" }))
      yield* near.write(bytes("upload"))
      yield* settle
      yield* TestClock.adjust("9 seconds")
      yield* expectWaiting(joined)
      yield* TestClock.adjust("1 seconds")
      expect(yield* failureOf(joined)).toBe("takes nothing more")
    }))

  it.scoped("ByteStream.join continues when the peer takes some bytes per time-out", () =>
    Effect.gen(function*() {
      const { far, near } = yield* makeStreams(plainly())
      yield* near.end
      let left = 6
      const slow = ByteStream.make<never>({
        read: Effect.suspend(() => Effect.succeed(left-- > 0 ? Option.some(pattern(1024)) : Option.none())),
        write: () => Effect.void,
        end: Effect.void
      })
      const joined = yield* start(ByteStream.join(far, slow))
      const received: Array<Uint8Array> = []
      for (let i = 0; i < 6; i++) {
        yield* TestClock.adjust("50 seconds")
        yield* Effect.map(near.read, (chunk) => Option.isSome(chunk) && received.push(chunk.value))
        yield* settle
      }
      yield* Fiber.join(joined)
      expect(concat(received).length).toBe(6 * 1024)
    }))
})
