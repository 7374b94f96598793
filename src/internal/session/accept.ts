import * as Effect from "effect/Effect"
import type { TerminalError } from "../../WsmuxError.js"
import type { Cancel } from "../sync/later.js"
import type { Waiter } from "../sync/notify.js"
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
    () =>
      protocol.peers.acceptors.waitInTurn(() => {
        if (protocol.terminal !== undefined) return Effect.fail(protocol.terminal)
        const stream = protocol.peers.takeAccepted()
        return stream && Effect.succeed(stream)
      }, restore)
  )

/**
 * Gives each stream of the peer to the handler, in turn with those that await one, and calls `done` at the end of the
 * session. The stream's owner calls `served` when it leaves the stream. Returns how to stop.
 *
 * @param defer runs a task later, because the session wakes acceptors in the middle of its work
 */
export const acceptEach = (
  protocol: SessionProtocol,
  handler: (stream: StreamProtocol) => void,
  done: (cause: TerminalError) => void,
  defer: (task: () => void) => void
): Cancel => {
  const { acceptors } = protocol.peers
  let waiter: Waiter | undefined
  let isStopped = false
  const look = () => {
    if (isStopped) return
    if (waiter !== undefined) acceptors.looks(waiter)
    waiter = undefined
    while (!isStopped) {
      const stream = protocol.peers.takeAccepted()
      if (stream === undefined) {
        if (protocol.terminal !== undefined) return done(protocol.terminal)
        waiter = acceptors.addInTurn(() => defer(look))
        return
      }
      stream.isServed = true
      handler(stream)
    }
  }
  look()
  return () => {
    isStopped = true
    if (waiter !== undefined) acceptors.cancel(waiter)
    waiter = undefined
  }
}
