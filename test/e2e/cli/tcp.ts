import * as Effect from "effect/Effect"
import * as Queue from "effect/Queue"
import type * as Scope from "effect/Scope"
import * as Net from "node:net"
import { concat } from "../../support/bytes.js"
import { makeWaits } from "./waits.js"

/** An end of a TCP connection that can half-close and tells an end from a reset. The socket reads only on request. */
export interface Tcp {
  /** Writes a chunk. Completes when the kernel has taken the whole chunk. */
  readonly write: (chunk: Uint8Array | string) => Effect.Effect<void, Error>
  /** Ends this direction. */
  readonly end: Effect.Effect<void>
  readonly reset: Effect.Effect<void>
  /** Waits for at least `length` bytes. Succeeds with all bytes so far. */
  readonly received: (length: number) => Effect.Effect<Uint8Array>
  /** Waits for the end. `how` is `end` for a FIN, otherwise the code of the error. */
  readonly over: Effect.Effect<{ readonly bytes: Uint8Array; readonly how: string }>
}

/** Connects to a port of this machine. */
export const connect = (port: number): Effect.Effect<Tcp, never, Scope.Scope> =>
  Effect.gen(function*() {
    const socket = yield* Effect.acquireRelease(
      Effect.sync(() => Net.connect({ host: "127.0.0.1", port, allowHalfOpen: true })),
      (socket) => Effect.sync(() => socket.destroy())
    )
    const tcp = make(socket)
    yield* Effect.async<void>((resume) => {
      socket.once("connect", () => resume(Effect.void))
      // a peer may reset the connection before Node has told that it is open, and `over` tells the reset
      socket.once("error", (cause: NodeJS.ErrnoException) =>
        resume(cause.code === "ECONNRESET" ? Effect.void : Effect.die(cause)))
    })
    return tcp
  })

/** Listens on a free port. `accept` takes the connections in their order. */
export const listen: Effect.Effect<
  { readonly port: number; readonly accept: Effect.Effect<Tcp> },
  never,
  Scope.Scope
> = Effect.gen(function*() {
  const connections = yield* Queue.unbounded<Tcp>()
  const port = yield* server((socket) => connections.unsafeOffer(make(socket)))
  return { port, accept: Queue.take(connections) }
})

/** The port of a target that echoes the bytes of each connection. */
export const echo: Effect.Effect<number, never, Scope.Scope> = Effect.suspend(() =>
  server((socket) => {
    socket.on("error", () => {})
    socket.pipe(socket)
  })
)

function server(onConnection: (socket: Net.Socket) => void): Effect.Effect<number, never, Scope.Scope> {
  return Effect.gen(function*() {
    const sockets = new Set<Net.Socket>()
    const server = yield* Effect.acquireRelease(
      Effect.sync(() =>
        Net.createServer({ allowHalfOpen: true, pauseOnConnect: true }, (socket) => {
          sockets.add(socket)
          onConnection(socket)
        })
      ),
      (server) =>
        Effect.sync(() => {
          server.close()
          for (const socket of sockets) socket.destroy()
        })
    )
    yield* Effect.async<void>((resume) => void server.listen(0, "127.0.0.1", () => resume(Effect.void)))
    return (server.address() as Net.AddressInfo).port
  })
}

const make = (socket: Net.Socket): Tcp => {
  const { until, wake } = makeWaits()
  const chunks: Array<Uint8Array> = []
  let length = 0
  let how: string | undefined
  const conclude = (end: string) => {
    how ??= end
    wake()
  }
  socket.pause()
  socket.on("data", (chunk: Uint8Array) => {
    chunks.push(chunk)
    length += chunk.byteLength
    wake()
  })
  socket.on("end", () => conclude("end"))
  socket.on("error", (error: NodeJS.ErrnoException) => conclude(error.code ?? error.message))
  socket.on("close", () => conclude("closed here"))

  /** Reads until the poll returns an answer, and pauses the socket then. */
  const reading = <A>(poll: () => Effect.Effect<A> | undefined) =>
    Effect.sync(() => socket.resume()).pipe(
      Effect.zipRight(until(poll)),
      Effect.ensuring(Effect.sync(() => socket.pause()))
    )
  const bytes = Effect.sync(() => concat(chunks))
  return {
    write: (chunk) =>
      Effect.async((resume) =>
        void socket.write(chunk, (error) => resume(error == null ? Effect.void : Effect.fail(error)))
      ),
    end: Effect.sync(() => socket.end()),
    reset: Effect.sync(() => socket.resetAndDestroy()),
    received: (wanted) =>
      reading(() => {
        if (length >= wanted) return bytes
        return how === undefined ? undefined : Effect.dieMessage(`${how} after ${length} of ${wanted} bytes`)
      }),
    over: reading(() => how === undefined ? undefined : Effect.map(bytes, (bytes) => ({ how: how!, bytes })))
  }
}
