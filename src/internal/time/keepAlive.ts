import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"
import type { Transport } from "../../Transport.js"
import { KeepAliveExpired } from "../../WsmuxError.js"
import type { RttEstimator } from "./rtt.js"

/** The parts that a keep-alive works with. */
export interface KeepAliveParts {
  readonly transport: Pick<Transport, "pong" | "receiveCount" | "renew">
  readonly rtt: Pick<RttEstimator, "ping">
  /** When the ticks after the first one come. */
  readonly schedule: Schedule.Schedule<unknown>
  /** Runs at every tick. */
  readonly onTick: Effect.Effect<void>
  /** Called with the round-trip time of each ping. */
  readonly onRtt: (millis: number) => void
}

/** The schedule of a setting. Undefined for an infinite interval, which turns the keep-alive off. */
export const toSchedule = (
  interval: Duration.DurationInput | Schedule.Schedule<unknown>
): Schedule.Schedule<unknown> | undefined => {
  if (Schedule.isSchedule(interval)) return interval
  // `spaced`, not `fixed`: after a pause of this process, `fixed` ticks twice in a row, and the peer seems silent.
  const duration = Duration.decode(interval)
  return Duration.isFinite(duration) ? Schedule.spaced(duration) : undefined
}

/**
 * Pings at once and at every tick of the schedule. Fails with `KeepAliveExpired` when nothing was received between two
 * ticks, unless the transport goes on over another connection. Halfway to the next tick, a pong reassures the peer if
 * the ping is still unanswered. Stops with the schedule.
 *
 * Only `lastSeen` is read from the wall clock, which may be set. The ticks sleep, which is monotonic.
 */
export const keepAlive = (
  { onRtt, onTick, rtt, schedule, transport }: KeepAliveParts
): Effect.Effect<never, KeepAliveExpired> =>
  Effect.clockWith((clock) => {
    let lastSeen = clock.unsafeCurrentTimeMillis()
    let receiveCount = Number.NaN // the first tick expects nothing
    let intervalMillis = 0
    let isAnswered = false
    const isSilent = () => transport.receiveCount() === receiveCount
    const expired = Effect.suspend(() =>
      isSilent() && transport.renew?.() !== true
        ? Effect.fail(new KeepAliveExpired({ intervalMillis, lastSeen }))
        : Effect.void
    )
    // After a pause of this process, the timer may fire before the socket is read. The sleep lets it be read first.
    const check = Effect.suspend(() => isSilent() ? Effect.zipRight(Effect.sleep(0), expired) : Effect.void)
    const ping = Effect.sync(() => {
      receiveCount = transport.receiveCount()
      lastSeen = clock.unsafeCurrentTimeMillis()
      isAnswered = false
      rtt.ping((millis) => {
        isAnswered = true
        onRtt(millis)
      })
    })
    // Both ends ping on the same beat. While our ping is unanswered, the peer would receive one pong per interval, at
    // its own tick, and jitter would look like silence.
    const reassure = Effect.sync(() => {
      if (!isAnswered) transport.pong?.()
    })
    const ticks = Schedule.delayedEffect(schedule, (delay) => {
      intervalMillis = Duration.toMillis(delay)
      return Effect.as(Effect.fork(Effect.delay(reassure, Duration.times(delay, 0.5))), delay)
    })
    return Effect.zipRight(Effect.repeat(Effect.all([check, ping, onTick], { discard: true }), ticks), Effect.never)
  })
