import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type { DrainOptions } from "../../SessionOptions.js"
import { SessionClosed, type SessionDraining, type TerminalError } from "../../WsmuxError.js"
import { maxUint32 } from "../wire/frame.js"
import type { Announcement } from "./draining.js"
import type { Lifecycle } from "./lifecycle.js"
import type { SessionProtocol } from "./protocol.js"

interface Drain {
  readonly drain: (options?: DrainOptions) => Effect.Effect<void>
  readonly awaitDraining: Effect.Effect<SessionDraining, TerminalError>
}

/**
 * Makes `Session.drain` and `Session.awaitDraining`.
 *
 * @param report updates the metrics
 */
export const makeDrain = (
  protocol: SessionProtocol,
  { awaitClosed, lifetime }: Lifecycle,
  report: Effect.Effect<void>
): Drain => {
  const { draining } = protocol

  /** Waits until all streams are over or the grace has passed. A shorter grace starts a shorter wait. */
  const awaitOver: Effect.Effect<void> = Effect.suspend(() => {
    const { isOver, left, until } = draining
    if (isOver) return Effect.void
    return draining.changes.waitUntil(() => draining.isOver || draining.until !== until ? Effect.void : undefined).pipe(
      Effect.timeoutOption(Math.min(left, maxTimer)),
      Effect.zipRight(awaitOver)
    )
  })

  const finish = Effect.sync(() => {
    const reason = protocol.streams.size === 0 ? "drained" : "drained: the grace has passed"
    protocol.peers.refuseWaiting()
    protocol.terminate(new SessionClosed({ by: "local", code: 1001, reason }))
  })

  const drain: Drain["drain"] = (options) =>
    Effect.suspend(() =>
      draining.begin(announcementOf(options))
        ? Effect.forkIn(Effect.zipRight(report, Effect.interruptible(Effect.zipRight(awaitOver, finish))), lifetime)
        : Effect.void
    ).pipe(
      Effect.uninterruptible,
      Effect.zipRight(awaitClosed),
      Effect.asVoid
    )

  return {
    drain,
    awaitDraining: draining.changes.waitUntil(() => {
      if (draining.error !== undefined) return Effect.succeed(draining.error)
      return protocol.terminal && Effect.fail(protocol.terminal)
    })
  }
}

/** Returns what an end that drains by these options tells its peer. Throws for an invalid code. */
export const announcementOf = (
  { code = 0, grace = defaultGrace, reason = "", redial = true }: DrainOptions = {}
): Announcement => {
  if (!Number.isInteger(code) || code < 0 || code > maxUint32) {
    throw new RangeError(`cannot drain a session: the code ${code} is not a uint32`)
  }
  return { code, graceMillis: Duration.toMillis(grace), reason, redial }
}

const defaultGrace = Duration.seconds(30)

/** Node fires a timer with a longer delay after one millisecond. */
const maxTimer = 2 ** 31 - 1
