import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Scope from "effect/Scope"
import type { Settings } from "../../SessionConfig.js"
import type { Transport } from "../../Transport.js"
import { SessionClosed, type TerminalError } from "../../WsmuxError.js"
import { unlessClockStandsStill } from "../time/standstill.js"
import type { SessionProtocol } from "./protocol.js"

/** The end of a session. */
export interface Lifecycle {
  /** The scope of the session's fibers and deadlines. Closes when the session ends. */
  readonly lifetime: Scope.Scope
  /** Ends the session, and completes when it is closed. */
  readonly close: Effect.Effect<TerminalError>
  /** Completes with the terminal error when the session is closed. */
  readonly awaitClosed: Effect.Effect<TerminalError>
  readonly setCloseCallback: (callback: CloseCallback) => void
}

type CloseCallback = NonNullable<Settings["closeCallback"]>

/**
 * Attaches the protocol to its transport, and forks the fiber that closes the session after its terminal error. The
 * scope of the caller closes the session, and waits for the close callback.
 */
export const makeLifecycle = (
  protocol: SessionProtocol,
  transport: Transport,
  settings: Settings
): Effect.Effect<Lifecycle, never, Scope.Scope> =>
  Effect.gen(function*() {
    const lifetime = yield* Scope.make()
    const closed = yield* Deferred.make<TerminalError>()
    let closeCallback = settings.closeCallback

    // `terminate` has done the synchronous part when it set the error.
    const closing = Effect.gen(function*() {
      const error = yield* Deferred.await(protocol.terminated)
      protocol.log.debug("the session ends", { cause: error.message })
      yield* Scope.close(lifetime, Exit.void)
      yield* protocol.scheduler.awaitEmpty.pipe(
        Effect.interruptible,
        Effect.timeoutOption(settings.flushTimeout),
        unlessClockStandsStill
      )
      const [code, reason] = closeFrame(error)
      yield* unlessClockStandsStill(transport.close(code, reason, settings.closeTimeout))
      yield* Deferred.succeed(closed, error)
      if (closeCallback !== undefined) yield* runCallback(closeCallback, error)
    })

    // Listens before it adds finalizers: a transport that already has a session throws here.
    transport.listen(protocol)
    protocol.scheduler.flush() // the HELLO
    const closer = yield* Effect.forkScoped(Effect.uninterruptible(closing))
    const close = Effect.suspend(() => {
      protocol.terminate(new SessionClosed({ by: "local", code: 1000, reason: "" }))
      return Deferred.await(closed)
    })
    yield* Effect.addFinalizer(() => Effect.zipRight(close, Fiber.await(closer)))

    return {
      lifetime,
      close,
      awaitClosed: Deferred.await(closed),
      setCloseCallback: (callback) => {
        closeCallback = callback
      }
    }
  })

const runCallback = (callback: CloseCallback, error: TerminalError): Effect.Effect<void> =>
  Effect.suspend(() => callback(error)).pipe(
    Effect.catchAllCause((cause) =>
      Effect.logError("cannot tell the end of a session: its closeCallback failed", cause)
    )
  )

/** The close frame that tells the peer the reason: at most 123 bytes, and all of these messages are ASCII. */
const closeFrame = (error: TerminalError): readonly [code: number, reason: string] => {
  switch (error._tag) {
    case "SessionClosed":
      return error.by === "local" ? [error.code, error.reason] : [1000, ""]
    case "MalformedFrame":
    case "UnexpectedText":
    case "WrongParity":
    case "PeerFlood":
    case "DialectMissing":
      return [1008, error.message.slice(0, 123)]
    case "KeepAliveExpired":
    case "TransportFailure":
      return [1001, ""]
  }
}
