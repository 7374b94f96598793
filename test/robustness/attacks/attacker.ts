import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as FiberId from "effect/FiberId"
import type * as Scope from "effect/Scope"
import * as Net from "node:net"
import * as Frame from "../../../src/internal/wire/frame.js"
import { within } from "../../support/within.js"

/** A client that writes any bytes to a TCP connection. */
export interface Attacker {
  /** Writes bytes, and completes when the kernel has taken them or the connection has ended. */
  readonly send: (bytes: Uint8Array) => Effect.Effect<void>
  /** Writes bytes and does not wait. */
  readonly push: (bytes: Uint8Array) => Effect.Effect<void>
  /**
   * Sends a ping and waits for the pong, before which the server has handled all that was sent. The attacker must read.
   */
  readonly answered: Effect.Effect<void>
  /** Waits for the end of the connection. */
  readonly closed: Effect.Effect<void>
  readonly isClosed: () => boolean
  /** Starts or stops reading. */
  readonly setReading: (reading: boolean) => Effect.Effect<void>
}

export interface Options {
  readonly path?: string
  /** Headers beside those of the upgrade. */
  readonly headers?: ReadonlyArray<string>
  /** Whether the attacker reads. Default true. */
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

/** Connects, and upgrades the connection to a WebSocket. */
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
    yield* Deferred.await(upgraded).pipe(within(patience, "the answer to the upgrade"))

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
      }).pipe(within(patience, "the pong of the server")),
      closed: Deferred.await(over).pipe(within(patience, "the end of the connection")),
      isClosed: () => isClosed,
      setReading: (reading) => Effect.sync(() => void (reading ? socket.resume() : socket.pause()))
    }
  })

/** A server that is flooded answers late: some batches take it seconds. */
const patience = process.env.WSMUX_ATTACKS === "full" ? "5 minutes" : "1 minutes"

/** The payload of the ping, by which the attacker tells its pong. */
const marker = Buffer.from("has all of it been handled?")
const pong = Buffer.concat([Buffer.from([0x8a, marker.length]), marker])

/** One WebSocket frame of a client, masked with zeros. */
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

/** Frames of the multiplexer in one buffer, each as one WebSocket message. */
export const messages = (...frames: ReadonlyArray<Frame.Frame | Uint8Array>): Buffer =>
  Buffer.concat(frames.map((one) => frame(0x2, one instanceof Uint8Array ? one : Frame.encode(one))))

/** The same for as many stream ids of a client. */
export const forIds = (
  count: number,
  make: (id: number) => ReadonlyArray<Frame.Frame | Uint8Array>,
  from = 0
): Buffer => Buffer.concat(Array.from({ length: count }, (_, i) => messages(...make(2 * (from + i) + 1))))
