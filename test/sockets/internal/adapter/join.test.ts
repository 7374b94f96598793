import { describe, expect, it } from "@effect/vitest"
import * as ByteStream from "effect-wsmux/ByteStream"
import type { MuxStream } from "effect-wsmux/MuxStream"
import * as NodeDuplex from "effect-wsmux/NodeDuplex"
import * as Session from "effect-wsmux/Session"
import { Transport } from "effect-wsmux/Transport"
import { DuplexFailure } from "effect-wsmux/WsmuxError"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import { once } from "node:events"
import * as Net from "node:net"
import { bytes, pattern, text } from "../../../support/bytes.js"
import { expectWaiting, failureOf, quiet } from "../../../support/observe.js"
import { readAll } from "../../../support/sessions.js"
import { eventually, listening, portOf, signal, standstill, wired } from "../../../support/transports.js"
import { patience, within } from "../../../support/within.js"

const window = 64 * 1024

/**
 * A stream over ws whose far end is joined with a TCP connection: `stream` is the near end of the stream, and `socket`
 * is the other end of the connection.
 */
const makeJoined = Effect.gen(function*() {
  const config = { ...quiet, streamBufferSize: window, maxStreamBufferSize: undefined }
  const ends = yield* wired["ws"]!()
  const client = yield* Effect.provideService(Session.makeClient(config), Transport, ends.client)
  const server = yield* Effect.provideService(Session.makeServer(config), Transport, ends.server)
  const [stream, accepted] = yield* Effect.all([client.open(), server.accept], { concurrency: 2 })
  const target = yield* listening(Net.createServer({ allowHalfOpen: true, pauseOnConnect: true }))
  const connected = signal<[Net.Socket]>(target, "connection")
  const other = yield* NodeDuplex.toByteStream(() =>
    Net.connect({ host: "127.0.0.1", port: portOf(target), allowHalfOpen: true })
  )
  const [socket] = yield* connected
  yield* Effect.addFinalizer(() => Effect.sync(() => socket.destroy()))
  socket.on("error", () => {})
  const joined = yield* Effect.fork(ByteStream.join(accepted, other))
  return { client, joined, server, socket, stream }
})

/** The next chunk of a stream as text, or "end". */
const next = (stream: MuxStream) =>
  Effect.map(stream.read, Option.match({ onNone: () => "end", onSome: text })).pipe(within(patience, "bytes or an end"))

/** Reads a socket to its end. */
const wholeOf = (socket: Net.Socket) =>
  Effect.promise(async () => {
    const chunks: Array<Buffer> = []
    socket.on("data", (chunk) => chunks.push(chunk)).resume()
    await once(socket, "end")
    return Buffer.concat(chunks)
  }).pipe(within(patience, "the end of the socket"))

describe("join", () => {
  it.scopedLive("join passes bytes back after the stream has ended, until the connection ends", () =>
    Effect.gen(function*() {
      const { joined, socket, stream } = yield* makeJoined
      yield* stream.write(bytes("question"))
      yield* stream.end
      expect((yield* wholeOf(socket)).toString()).toBe("question")
      yield* expectWaiting(joined)
      socket.write("answer")
      expect(yield* next(stream)).toBe("answer")
      socket.end()
      expect(yield* next(stream)).toBe("end")
      yield* Fiber.join(joined)
    }))

  it.scopedLive("join passes bytes on after the connection has ended, until the stream ends", () =>
    Effect.gen(function*() {
      const { joined, socket, stream } = yield* makeJoined
      socket.end("greeting")
      expect(yield* next(stream)).toBe("greeting")
      expect(yield* next(stream)).toBe("end")
      yield* expectWaiting(joined)
      const received = yield* Effect.fork(wholeOf(socket))
      yield* stream.write(bytes("thanks"))
      yield* stream.end
      expect((yield* Fiber.join(received)).toString()).toBe("thanks")
      yield* Fiber.join(joined)
    }))

  it.scopedLive("join carries bytes in both directions at once, each to its own end", () =>
    Effect.gen(function*() {
      const { joined, socket, stream } = yield* makeJoined
      const [there, back] = [pattern(700_000), pattern(500_000)]
      const [received, answered] = yield* Effect.all([
        wholeOf(socket),
        readAll(stream),
        Effect.zipRight(stream.write(there), stream.end),
        Effect.sync(() => socket.end(back))
      ], { concurrency: "unbounded" })
      expect(Buffer.compare(received, there)).toBe(0)
      expect(Buffer.compare(answered, back)).toBe(0)
      yield* Fiber.join(joined)
    }))

  it.scopedLive("join fails with the reset when the connection is reset", () =>
    Effect.gen(function*() {
      const { joined, socket, stream } = yield* makeJoined
      socket.write("the last words")
      expect(yield* next(stream)).toBe("the last words")
      socket.resetAndDestroy()
      const failure = yield* failureOf(joined).pipe(within(patience, "the failure of the join"))
      expect(failure).toBeInstanceOf(DuplexFailure)
      expect(failure).toMatchObject({ cause: { code: "ECONNRESET" } })
    }))

  it.scopedLive("join fails with BrokenPipe when the session of the stream ends", () =>
    Effect.gen(function*() {
      const { client, joined } = yield* makeJoined
      yield* client.close
      expect(yield* failureOf(joined).pipe(within(patience, "the failure of the join"))).toMatchObject({
        _tag: "BrokenPipe"
      })
    }))

  it.scopedLive("join reads no more than the buffers hold when the connection takes nothing", () =>
    Effect.gen(function*() {
      const { joined, server, socket, stream } = yield* makeJoined
      const content = pattern(32 * 1024 * 1024)
      const writing = yield* Effect.fork(Effect.zipRight(stream.write(content), stream.end))
      const taken = () => Effect.runSync(server.snapshot).counters.bytesIn
      yield* standstill(taken)
      yield* expectWaiting(writing, joined)
      expect(taken()).toBeLessThan(content.byteLength)
      expect(Buffer.compare(yield* wholeOf(socket), content)).toBe(0)
      yield* Fiber.join(writing)
      socket.end()
      yield* Fiber.join(joined)
    }))

  it.scopedLive("join reads no more than the window and the buffers hold when the stream is unread", () =>
    Effect.gen(function*() {
      const { joined, server, socket, stream } = yield* makeJoined
      const content = pattern(32 * 1024 * 1024)
      socket.end(content)
      const sent = () => Effect.runSync(server.snapshot).counters.bytesOut
      yield* eventually(() => sent() === window)
      yield* standstill(sent)
      expect(sent()).toBe(window)
      yield* expectWaiting(joined)
      yield* stream.end
      expect(Buffer.compare(yield* readAll(stream), content)).toBe(0)
      yield* Fiber.join(joined)
    }))
})
