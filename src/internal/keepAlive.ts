import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"
import type { Transport } from "../Transport.js"
import { KeepAliveExpired } from "../WsmuxError.js"

/**
 * Pings at once and then at every interval, with a pong halfway where the answer is late, and fails when nothing at all came in between two ticks. Never ends where the
 * interval is infinite or the transport cannot ping: without pings a silent peer may well be alive.
 *
 * @param atTick what else is done at every tick
 * @param answered told how long each ping took to be answered
 */
export const keepAlive = (
  transport: Pick<Transport, "ping" | "pong" | "activity">,
  interval: Duration.Duration,
  atTick: Effect.Effect<void>,
  answered: (millis: number) => void
): Effect.Effect<never, KeepAliveExpired> => {
  if (transport.ping === undefined || !Duration.isFinite(interval)) return Effect.never
  return Effect.clockWith((clock) => {
    let lastSeen = clock.unsafeCurrentTimeMillis()
    let known = Number.NaN // nothing is expected before the first tick
    const nanos = () => clock.unsafeCurrentTimeNanos()
    let ticked = -Infinity
    let isLate = false
    const isSilent = () => transport.activity() === known
    const expired = Effect.suspend(() =>
      isSilent()
        ? Effect.fail(new KeepAliveExpired({ intervalMillis: Duration.toMillis(interval), lastSeen }))
        : Effect.void
    )
    const tick = Effect.suspend(() => {
      // After a pause of this process the timer may fire before the socket has been read: let it be read first.
      const check = isSilent() ? Effect.zipRight(Effect.sleep(0), expired) : Effect.void
      return Effect.zipRight(
        Effect.flatMap(Effect.zipRight(check, Clock.currentTimeMillis), (now) =>
          Effect.sync(() => {
            known = transport.activity()
            lastSeen = ticked = now
            isLate = true
            const asked = nanos()
            transport.ping?.(() => {
              isLate = false
              answered(Number(nanos() - asked) / 1e6)
            })
          })),
        atTick
      )
    })
    // While the answer is late the peer hears of us once an interval, which is as often as it looks, and at that moment,
    // since both have begun together: a little jitter would be silence. So a pong goes halfway.
    const reassure = Effect.sync(() => {
      if (isLate) transport.pong?.()
    })
    const beat = Effect.suspend(() => {
      const sinceTick = clock.unsafeCurrentTimeMillis() - ticked
      return sinceTick < Duration.toMillis(interval) * 0.75 ? reassure : tick
    })
    return Effect.zipRight(Effect.repeat(beat, Schedule.fixed(Duration.times(interval, 0.5))), Effect.never)
  })
}
