import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type * as Http from "node:http"
import * as Tls from "node:tls"
import { type AllowedOrigins, isAllowed } from "../../../Origin.js"
import type { Budget } from "../../../SharedLimits.js"
import type { Connection, Rejection } from "../../../TransportServer.js"
import type { ConnectionHandler, Handler } from "../connectionHandler.js"
import { handshakeFault } from "./handshake.js"
import { upgradeFault } from "./httpAnswer.js"

export interface AdmissionSettings<R, P> {
  readonly allowedOrigins?: AllowedOrigins
  readonly authorize?: ((request: Http.IncomingMessage) => Effect.Effect<P, Rejection, R>) | undefined
  readonly answerHeaders?: ((request: Http.IncomingMessage, principal: P) => Headers) | undefined
  readonly upgradeTimeout: Duration.Duration
  readonly maxConnections: number
  /** The limit on the connections of all servers of the process. */
  readonly connections: Budget
}

type Headers = Readonly<Record<string, string>>

/** The result of an admission. */
export interface Admitted<P> {
  readonly connection: Connection<P>
  /** Headers for the answer 101. */
  readonly headers: Headers
  readonly handle: Handler<P>
}

/** Decides which upgrades of a server become connections. */
export class Admission<R, P> {
  #waiting = 0
  readonly #settings: AdmissionSettings<R, P>
  readonly #handler: ConnectionHandler<P>
  readonly #size: Effect.Effect<number>

  /** @param size the connections of this server and its upgrades under way, without the one that asks */
  constructor(settings: AdmissionSettings<R, P>, handler: ConnectionHandler<P>, size: Effect.Effect<number>) {
    this.#settings = settings
    this.#handler = handler
    this.#size = size
  }

  /**
   * Admits a request: takes a place for as long as the scope is open, authorises the request, checks its handshake, and
   * waits until the server has a handler. Fails with the rejection for the client.
   */
  admit(request: Http.IncomingMessage): Effect.Effect<Admitted<P>, Rejection, R | Scope.Scope> {
    return Effect.gen(this, function*() {
      yield* this.#refuseIfStopped
      yield* this.#takePlace
      const principal = yield* this.#authorize(request)
      // Only now, so that a stranger learns nothing but that the server demands authorisation.
      const fault = handshakeFault(request)
      if (fault !== undefined) return yield* Effect.fail(fault)
      yield* this.#refuseIfStopped // the authorisation may have taken long
      const headers = yield* this.#answerHeaders(request, principal)
      // The request itself would keep its socket.
      const connection = { principal, request: { headers: request.headers, url: request.url ?? "/" } }
      return { connection, headers, handle: yield* this.#awaitHandler }
    })
  }

  readonly #refuseIfStopped: Effect.Effect<void, Rejection> = Effect.suspend(() =>
    this.#handler.isStopped ? Effect.fail(stopped) : Effect.void
  )

  readonly #takePlace: Effect.Effect<void, Rejection, Scope.Scope> = Effect.suspend(() => {
    const { connections, maxConnections } = this.#settings
    return Effect.filterOrFail(this.#size, (size) => size < maxConnections, () => full).pipe(
      Effect.zipRight(Effect.acquireRelease(
        Effect.suspend(() => connections.take(1) ? Effect.void : Effect.fail(full)),
        () => Effect.sync(() => connections.giveBack(1))
      ))
    )
  })

  /** Without `authorize` the type of the principals is that of undefined. */
  #authorize(request: Http.IncomingMessage): Effect.Effect<P, Rejection, R> {
    const { allowedOrigins, authorize, upgradeTimeout } = this.#settings
    if (!isAllowed(request.headers, allowedOrigins, request.socket instanceof Tls.TLSSocket)) {
      return Effect.fail({ status: 403, message: "pages from other origins may not connect" })
    }
    if (authorize === undefined) return Effect.succeed(undefined as P)
    return Effect.timeoutFail(Effect.suspend(() => authorize(request)), {
      duration: upgradeTimeout,
      onTimeout: (): Rejection => ({ status: 503, message: "the authorisation took too long" })
    })
  }

  /** Headers that HTTP cannot carry are a defect of the program. */
  #answerHeaders(request: Http.IncomingMessage, principal: P): Effect.Effect<Headers> {
    return Effect.sync(() => {
      const headers = this.#settings.answerHeaders?.(request, principal) ?? {}
      const fault = upgradeFault(headers)
      if (fault !== undefined) throw new Error(`cannot answer an upgrade: ${fault}`)
      return headers
    })
  }

  readonly #awaitHandler: Effect.Effect<Handler<P>, Rejection> = Effect.suspend(() => {
    if (this.#waiting >= maxWaiting) return Effect.fail<Rejection>({ status: 503 })
    this.#waiting++
    return Effect.ensuring(
      Effect.mapError(this.#handler.awaitHandler, () => stopped),
      Effect.sync(() => this.#waiting--)
    )
  })
}

const full: Rejection = { status: 503, message: "there are too many connections" }

/** A second suffices for another process to take over the port. */
const stopped: Rejection = {
  status: 503,
  message: "the server takes no more connections",
  headers: { "retry-after": "1" }
}

/** How many upgrades may wait for `run`. Further ones are answered with 503. */
const maxWaiting = 128
