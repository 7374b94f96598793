import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as FiberId from "effect/FiberId"
import type * as Scope from "effect/Scope"
import * as Net from "node:net"
import * as Frame from "../../../src/internal/wire/frame.js"

/** A client that says what it likes, byte by byte, over TCP. */
export interface Attacker {
  /** Sends bytes, and completes when the kernel has taken them, or the connection is over. */
  readonly send: (bytes: Uint8Array) => Effect.Effect<void>
  /** Hands bytes over without waiting for anybody. */
  readonly push: (bytes: Uint8Array) => Effect.Effect<void>
  /** Waits until everything sent before has been answered by a pong; it must be reading. */
  readonly answered: Effect.Effect<void>
  /** Waits for the end of the connection. */
  readonly closed: Effect.Effect<void>
  readonly isClosed: () => boolean
  /** Whether it reads what comes. */
  readonly setReading: (reading: boolean) => Effect.Effect<void>
}

export interface Options {
  readonly path?: string
  /** Headers beside those of the upgrade. */
  readonly headers?: ReadonlyArray<string>
  /** Whether it reads what comes. Default true. */
  readonly reading?: boolean
}

/** The request of an upgrade. */
export const upgrade = ({ headers = [], path = "/echo" }: Options): string =>
  [
    `GET ${path} HTTP/1.1`,
    "host: 127.0.0.1",
    "connection: upgrade",
    "upgrade: websocket",
    "sec-websocket-version: 13",
    "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==",
    ...headers,
    "",
    ""
  ].join("\r\n")

/** Connects and sends nothing. */
export const dial = (port: number): Effect.Effect<Net.Socket, never, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.async<Net.Socket>((resume) => {
      const socket = Net.connect(port, "127.0.0.1").on("error", () => {})
      socket.once("connect", () => resume(Effect.succeed(socket)))
      socket.once("close", () => resume(Effect.succeed(socket)))
    }),
    (socket) => Effect.sync(() => socket.destroy())
  )

/** Connects, and has its connection upgraded. */
export const connect = (port: number, options: Options = {}): Effect.Effect<Attacker, never, Scope.Scope> =>
  Effect.gen(function*() {
    const socket = yield* dial(port)
    const upgraded = Deferred.unsafeMake<void>(FiberId.none)
    const over = Deferred.unsafeMake<void>(FiberId.none)
    let isUpgraded = false
    let isClosed = false
    let tail = Buffer.alloc(0)
    let pongs: Array<() => void> = []
    socket.on("data", (data) => {
      if (!isUpgraded) {
        isUpgraded = true
        if (options.reading === false) socket.pause()
        Deferred.unsafeDone(upgraded, Effect.void)
      }
      const seen = Buffer.concat([tail, data])
      if (seen.includes(pong)) {
        for (const answered of pongs.splice(0)) answered()
      }
      tail = seen.subarray(1 - pong.length)
    })
    socket.once("close", () => {
      isClosed = true
      for (const answered of pongs.splice(0)) answered()
      Deferred.unsafeDone(upgraded, Effect.void)
      Deferred.unsafeDone(over, Effect.void)
    })
    socket.write(upgrade(options))
    yield* Deferred.await(upgraded)

    const send = (bytes: Uint8Array) =>
      Effect.async<void>((resume) => {
        if (isClosed) resume(Effect.void)
        else socket.write(bytes, () => resume(Effect.void))
      })
    return {
      send,
      push: (bytes) => Effect.sync(() => void (isClosed || socket.write(bytes))),
      answered: Effect.async<void>((resume) => {
        if (isClosed) return resume(Effect.void)
        pongs = [...pongs, () => resume(Effect.void)]
        socket.write(frame(0x9, marker))
      }),
      closed: Deferred.await(over),
      isClosed: () => isClosed,
      setReading: (reading) => Effect.sync(() => void (reading ? socket.resume() : socket.pause()))
    }
  })

/** What is sent by ping to learn when it comes back. */
const marker = Buffer.from("has all of it been handled?")
const pong = Buffer.concat([Buffer.from([0x8a, marker.length]), marker])

/** One WebSocket frame of a client, with a mask that changes nothing. */
export const frame = (opcode: number, payload: Uint8Array, { fin = true } = {}): Buffer => {
  const { byteLength } = payload
  const extended = byteLength < 126 ? 0 : byteLength < 65_536 ? 2 : 8
  const bytes = Buffer.alloc(2 + extended + 4 + byteLength)
  bytes[0] = (fin ? 0x80 : 0) | opcode
  bytes[1] = 0x80 | (extended === 0 ? byteLength : extended === 2 ? 126 : 127)
  if (extended === 2) bytes.writeUInt16BE(byteLength, 2)
  if (extended === 8) bytes.writeBigUInt64BE(BigInt(byteLength), 2)
  bytes.set(payload, 6 + extended)
  return bytes
}

/** Frames of the multiplexer, each as one message, in one buffer. */
export const messages = (...frames: ReadonlyArray<Frame.Frame | Uint8Array>): Buffer =>
  Buffer.concat(frames.map((one) => frame(0x2, one instanceof Uint8Array ? one : Frame.encode(one))))

/** The same for the ids of so many streams that a client opens. */
export const forIds = (
  count: number,
  make: (id: number) => ReadonlyArray<Frame.Frame | Uint8Array>,
  from = 0
): Buffer => Buffer.concat(Array.from({ length: count }, (_, i) => messages(...make(2 * (from + i) + 1))))
