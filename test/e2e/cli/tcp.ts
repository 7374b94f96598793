import * as Effect from "effect/Effect"
import * as Queue from "effect/Queue"
import type * as Scope from "effect/Scope"
import * as Net from "node:net"
import { concat } from "../../support/bytes.js"
import { makeWaits } from "./waits.js"

/** One end of a TCP connection that tells an end from a reset, and half-closes. It reads only when it is asked to. */
export interface Tcp {
  /** Completes when the kernel has taken it all. */
  readonly write: (chunk: Uint8Array | string) => Effect.Effect<void, Error>
  /** Ends this half. */
  readonly end: Effect.Effect<void>
  readonly reset: Effect.Effect<void>
  /** All that has arrived, once it is at least as many bytes. */
  readonly received: (length: number) => Effect.Effect<Uint8Array>
  /** All that has arrived, and how it came to its end: `end` for a FIN, otherwise the code of the error. */
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
      socket.once("error", (cause) => resume(Effect.die(cause)))
    })
    return tcp
  })

/** Listens on a free port, for connections to be accepted one after the other. */
export const listen: Effect.Effect<
  { readonly port: number; readonly accept: Effect.Effect<Tcp> },
  never,
  Scope.Scope
> = Effect.gen(function*() {
  const connections = yield* Queue.unbounded<Tcp>()
  const port = yield* server((socket) => connections.unsafeOffer(make(socket)))
  return { port, accept: Queue.take(connections) }
})

/** The port of a target that answers each connection with its own bytes. */
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

  /** Reads until there is an answer, and not further. */
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
