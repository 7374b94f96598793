import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"
import type { Transport } from "../../Transport.js"
import { KeepAliveExpired } from "../../WsmuxError.js"

/**
 * Pings at once and then at every interval, with a pong halfway where the answer is late, and fails when nothing at all
 * came in between two ticks. Never ends where the interval is infinite or the transport cannot ping: without pings a
 * silent peer may well be alive.
 *
 * Only `lastSeen` is read from the wall clock, which may be set: the beat sleeps, and sleeping measures by itself.
 *
 * @param atTick what else is done at every tick
 * @param answered told how long each ping took to be answered
 */
export const keepAlive = (
  transport: Pick<Transport, "ping" | "pong" | "receiveCount">,
  interval: Duration.Duration,
  atTick: Effect.Effect<void>,
  answered: (millis: number) => void
): Effect.Effect<never, KeepAliveExpired> => {
  if (transport.ping === undefined || !Duration.isFinite(interval)) return Effect.never
  const half = Duration.times(interval, 0.5)
  return Effect.clockWith((clock) => {
    let lastSeen = clock.unsafeCurrentTimeMillis()
    let known = Number.NaN // nothing is expected before the first tick
    let isLate = false
    const isSilent = () => transport.receiveCount() === known
    const expired = Effect.suspend(() =>
      isSilent()
        ? Effect.fail(new KeepAliveExpired({ intervalMillis: Duration.toMillis(interval), lastSeen }))
        : Effect.void
    )
    // After a pause of this process the timer may fire before the socket has been read: let it be read first.
    const check = Effect.suspend(() => isSilent() ? Effect.zipRight(Effect.sleep(0), expired) : Effect.void)
    const ping = Effect.sync(() => {
      known = transport.receiveCount()
      lastSeen = clock.unsafeCurrentTimeMillis()
      isLate = true
      const asked = clock.unsafeCurrentTimeNanos()
      transport.ping?.(() => {
        isLate = false
        answered(Number(clock.unsafeCurrentTimeNanos() - asked) / 1e6)
      })
    })
    // While the answer is late the peer hears of us once an interval, which is as often as it looks, and at that moment,
    // since both have begun together: a little jitter would be silence. So a pong goes halfway.
    const reassure = Effect.sync(() => {
      if (isLate) transport.pong?.()
    })
    const tick = Effect.all([check, ping, atTick, Effect.sleep(half), reassure], { discard: true })
    return Effect.zipRight(Effect.repeat(tick, Schedule.spaced(half)), Effect.never)
  })
}
