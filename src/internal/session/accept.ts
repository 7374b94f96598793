import * as Effect from "effect/Effect"
import type { TerminalError } from "../../WsmuxError.js"
import { type Cancel, later } from "../sync/later.js"
import { withSpan } from "./effectInternals.js"
import type { SessionProtocol } from "./protocol.js"
import type { StreamProtocol } from "./streamProtocol.js"

/** Waits for the next stream of the peer. `restore` makes the wait interruptible, and nothing else. */
export const awaitAccepted = (
  protocol: SessionProtocol,
  restore: <A, E>(effect: Effect.Effect<A, E>) => Effect.Effect<A, E>
): Effect.Effect<StreamProtocol, TerminalError> =>
  withSpan(
    "Session.accept",
    protocol.acceptors.waitInTurn(() => {
      if (protocol.terminal !== undefined) return Effect.fail(protocol.terminal)
      const stream = protocol.takeAccepted()
      return stream && Effect.succeed(stream)
    }, restore)
  )

/**
 * Gives each stream of the peer to the handler, until the session ends. The handler's owner calls `served` at the end
 * of each. Returns how to stop.
 */
export const acceptEach = (
  protocol: SessionProtocol,
  handler: (stream: StreamProtocol) => void,
  done: (cause: TerminalError) => void
): Cancel => {
  let cancel: Cancel = () => {}
  const look = () => {
    for (let stream = protocol.takeAccepted(); stream !== undefined; stream = protocol.takeAccepted()) {
      stream.isServed = true
      handler(stream)
    }
    if (protocol.terminal !== undefined) return done(protocol.terminal)
    cancel = later((wake) => protocol.acceptors.addInTurn(wake), look)
  }
  look()
  return () => cancel()
}
