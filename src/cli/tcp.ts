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
  /** The other end's address. */
  readonly peer: string
  /** This end's address. */
  readonly local: string
  /** How many bytes have been read from it and written to it. */
  readonly bytes: () => { readonly read: number; readonly written: number }
  /** Calls back when the connection breaks, also while it is neither read nor written. */
  readonly onBroken: (callback: (cause: Error) => void) => void
}

/**
 * How long an attempt to reach one of a host's addresses may take before the next one is tried. Node's 250 ms give up
 * what has lost a single packet: the kernel sends it again after one second.
 */
const attemptTimeout = 2000

const options = (keepAlive: Duration.Duration) => ({
  allowHalfOpen: true,
  noDelay: true,
  keepAlive: Duration.isFinite(keepAlive),
  keepAliveInitialDelay: Duration.isFinite(keepAlive) ? Duration.toMillis(keepAlive) : 0
})

/** Connects; the scope owns the connection, and resets it unless it has ended both ways. */
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
 * Listens, and handles every connection in a fiber of the set, which owns it. Answers where it listens; the scope ends
 * the listening.
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
        // A server that listens tells of connections that it cannot accept; the others go on.
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

/**
 * Resets every connection at once, for a process that is about to end: its kernel would end them as if all had been
 * said.
 */
export const resetAll = (): void => {
  for (const socket of live) {
    // What has ended, and waits for nothing but its FIN to leave, cannot be reset (EINVAL).
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
