import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as FiberSet from "effect/FiberSet"
import type * as Scope from "effect/Scope"
import * as Net from "node:net"
import type { ByteStream } from "../ByteStream.js"
import * as NodeDuplex from "../NodeDuplex.js"
import { DuplexFailure, ListenFailure } from "../WsmuxError.js"
import * as Endpoint from "./endpoint.js"
import * as Reading from "./reading.js"

/** A TCP connection of the tunnel. */
export interface Connection extends ByteStream<DuplexFailure> {
  /** The address of the remote end. */
  readonly peer: string
  /** The address of the local end. */
  readonly local: string
  /** The bytes that were read from the connection and written to it. */
  readonly bytes: () => { readonly read: number; readonly written: number }
  /** Calls the callback when the connection breaks, also while no read or write is under way. */
  readonly onBroken: (callback: (cause: Error) => void) => void
}

/**
 * The milliseconds that an attempt at one address of a host may take before the next address is tried. The 250 ms of
 * Node give up an attempt that has lost a single packet, because the kernel repeats a SYN after one second.
 */
const attemptTimeout = 2000

const options = (keepAlive: Duration.Duration) => ({
  allowHalfOpen: true,
  noDelay: true,
  keepAlive: Duration.isFinite(keepAlive),
  keepAliveInitialDelay: Duration.isFinite(keepAlive) ? Duration.toMillis(keepAlive) : 0
})

/** Connects to a target. The scope owns the connection, and resets it unless both halves have ended. */
export const connect = (
  target: Endpoint.Endpoint,
  keepAlive: Duration.Duration
): Effect.Effect<Connection, DuplexFailure, Scope.Scope> =>
  Effect.suspend(() => {
    let dialled: Net.Socket | undefined
    return Reading.dial(
      { ...target, ...options(keepAlive), autoSelectFamilyAttemptTimeout: attemptTimeout },
      (socket) => dialled = watch(socket)
    ).pipe(
      Effect.mapBoth({
        onFailure: ({ cause, detail }) =>
          new DuplexFailure({ detail: `cannot reach ${Endpoint.format(target)}: ${detail}`, cause }),
        onSuccess: (bytes) => connection(dialled!, bytes)
      })
    )
  })

/**
 * Listens, and handles each connection in a fiber of the set, which owns the connection. Completes with the address
 * of the listener. The scope closes the listener.
 */
export const listen = <R>(
  endpoint: Endpoint.Endpoint,
  keepAlive: Duration.Duration,
  connections: FiberSet.FiberSet<void>,
  handler: (connection: Connection) => Effect.Effect<void, never, R>
): Effect.Effect<Endpoint.Endpoint, ListenFailure, R | Scope.Scope> =>
  Effect.gen(function*() {
    const fork = yield* FiberSet.runtime(connections)<R>()
    const server = Net.createServer(options(keepAlive), (socket) => {
      fork(
        NodeDuplex.toByteStream(() => watch(socket)).pipe(
          Effect.map((bytes) => connection(socket, bytes)),
          Effect.orDie,
          Effect.flatMap(handler),
          Effect.scoped
        )
      )
    })
    yield* Effect.acquireRelease(
      Effect.async<void, ListenFailure>((resume) => {
        // Later errors concern connections that the server cannot accept. The others go on.
        server.on("error", (cause) =>
          resume(Effect.fail(new ListenFailure({ address: Endpoint.format(endpoint), cause }))))
        server.listen(endpoint.port, endpoint.host, () =>
          resume(Effect.void))
      }),
      () => Effect.sync(() => server.close())
    )
    const { address, port } = server.address() as Net.AddressInfo
    return { host: address, port }
  })

/** The connections of this process. */
const live = new Set<Net.Socket>()

/** Resets every connection of a process that is about to exit. The kernel would end them with FIN. */
export const resetAll = (): void => {
  for (const socket of live) {
    // A connection whose only unsent packet is its FIN cannot be reset (EINVAL).
    const isEnding = socket.writableEnded && !socket.writableFinished && socket.writableLength === 0
    if (isEnding || socket.connecting) socket.destroy()
    else socket.resetAndDestroy()
  }
}

const watch = (socket: Net.Socket): Net.Socket => {
  live.add(socket)
  return socket.once("close", () => live.delete(socket))
}

const connection = (socket: Net.Socket, bytes: ByteStream<DuplexFailure>): Connection => ({
  ...bytes,
  peer: addressOf(socket.remoteAddress, socket.remotePort),
  local: addressOf(socket.localAddress, socket.localPort),
  bytes: () => ({ read: socket.bytesRead, written: socket.bytesWritten }),
  onBroken: (callback) => {
    if (socket.errored) callback(socket.errored)
    else socket.once("error", callback)
  }
})

const addressOf = (host: string | undefined, port: number | undefined): string =>
  host === undefined || port === undefined ? "unknown" : Endpoint.format({ host, port })
