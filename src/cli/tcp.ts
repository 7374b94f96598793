import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as FiberSet from "effect/FiberSet"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import * as Net from "node:net"
import { ListenFailure } from "../WsmuxError.js"
import * as Endpoint from "./endpoint.js"

/** A TCP connection could not be made, was reset, or broke. */
export class TcpFailure
  extends Data.TaggedError("TcpFailure")<{ readonly message: string; readonly cause?: unknown }>
{}

/**
 * A TCP connection that tells an end from a loss, and whose writer waits for a slow reader. (The platform's adapters of
 * node streams end a socket cleanly when their input fails, and never wait behind a single chunk.)
 */
export class TcpSocket {
  readonly #socket: Net.Socket
  /** What waits for the socket: each is asked again at every event. */
  readonly #wakers = new Set<() => void>()
  #failure: TcpFailure | undefined

  /** Call it in the turn in which the socket was made, so that no event is missed. */
  constructor(socket: Net.Socket) {
    this.#socket = socket
    socket.setNoDelay(true)
    for (const event of ["connect", "readable", "end", "drain", "finish"]) socket.on(event, this.#wake)
    socket.on("error", (cause) => this.#fail(new TcpFailure({ message: cause.message, cause })))
    socket.on("close", () => this.#fail(new TcpFailure({ message: "the connection is closed" })))
  }

  /** Waits until it is connected. */
  readonly connected: Effect.Effect<void, TcpFailure> = Effect.suspend(() =>
    this.#until(() => this.#socket.readyState === "opening" ? Option.none() : Option.some(undefined))
  )

  /** The next bytes, or none at the end of the peer. */
  readonly read: Effect.Effect<Option.Option<Uint8Array>, TcpFailure> = Effect.suspend(() =>
    this.#until(() => {
      const chunk = this.#socket.read() as Uint8Array | null
      if (chunk !== null) return Option.some(Option.some(chunk))
      return this.#socket.readableEnded ? Option.some(Option.none()) : Option.none()
    })
  )

  /** Completes when the socket takes more. */
  write(chunk: Uint8Array): Effect.Effect<void, TcpFailure> {
    return Effect.suspend(() => {
      if (this.#failure !== undefined) return Effect.fail(this.#failure)
      if (this.#socket.write(chunk)) return Effect.void
      return this.#until(() => this.#socket.writableNeedDrain ? Option.none() : Option.some(undefined))
    })
  }

  /** Half-closes: the peer reads to the end. */
  readonly end: Effect.Effect<void, TcpFailure> = Effect.suspend(() => {
    if (this.#failure === undefined) this.#socket.end()
    return this.#until(() => this.#socket.writableFinished ? Option.some(undefined) : Option.none())
  })

  /** Resets a connection that has not come to its end both ways, so that nobody takes a loss for an end. */
  readonly release: Effect.Effect<void> = Effect.sync(() => {
    if (!this.#socket.destroyed) this.#socket.resetAndDestroy()
  })

  #until<A>(poll: () => Option.Option<A>): Effect.Effect<A, TcpFailure> {
    return Effect.async((resume) => {
      const waker = () => {
        // A failed socket has nothing more to take or to give, but an end that was read stays one.
        const answer = this.#failure === undefined || this.#socket.readableEnded ? poll() : Option.none()
        if (Option.isNone(answer) && this.#failure === undefined) return
        this.#wakers.delete(waker)
        resume(Option.isSome(answer) ? Effect.succeed(answer.value) : Effect.fail(this.#failure!))
      }
      this.#wakers.add(waker)
      waker()
      return Effect.sync(() => this.#wakers.delete(waker))
    })
  }

  #fail(failure: TcpFailure): void {
    this.#failure ??= failure
    this.#wake()
  }

  readonly #wake = (): void => {
    for (const waker of [...this.#wakers]) waker()
  }
}

/** Connects; the scope owns the connection. */
export const connect = (target: Endpoint.Endpoint): Effect.Effect<TcpSocket, TcpFailure, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.sync(() => new TcpSocket(Net.connect({ ...target, allowHalfOpen: true }))),
    (socket) => socket.release
  ).pipe(
    Effect.tap((socket) => socket.connected),
    Effect.mapError(({ cause, message }) =>
      new TcpFailure({ message: `cannot reach ${Endpoint.format(target)}: ${reasonOf(cause) ?? message}`, cause })
    )
  )

/** Node hides the reasons of a failed connection to several addresses in an AggregateError without a message. */
const reasonOf = (cause: unknown): string | undefined =>
  cause instanceof AggregateError ? cause.errors.map((error: Error) => error.message).join(", ") : undefined

/**
 * Listens, and handles every connection in a fiber that owns it. Answers where it listens; the scope ends the listening
 * and the connections.
 */
export const listen = <R>(
  endpoint: Endpoint.Endpoint,
  handler: (socket: TcpSocket) => Effect.Effect<void, never, R>
): Effect.Effect<Endpoint.Endpoint, ListenFailure, R | Scope.Scope> =>
  Effect.gen(function*() {
    const fork = yield* FiberSet.makeRuntime<R>()
    const server = Net.createServer({ allowHalfOpen: true }, (connection) => {
      const socket = new TcpSocket(connection)
      fork(Effect.ensuring(handler(socket), socket.release))
    })
    yield* Effect.acquireRelease(
      Effect.async<void, ListenFailure>((resume) => {
        server.once("error", (cause) =>
          resume(Effect.fail(new ListenFailure({ address: Endpoint.format(endpoint), cause }))))
        server.listen(endpoint.port, endpoint.host, () =>
          resume(Effect.void))
      }),
      () => Effect.sync(() => server.close())
    )
    const { address, port } = server.address() as Net.AddressInfo
    return { host: address, port }
  })
