import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type { Settings } from "../../SessionConfig.js"
import type { Transport } from "../../Transport.js"
import { TransportFailure } from "../../WsmuxError.js"
import type { MetricsReporter } from "../observe/metricsReporter.js"
import type { SessionLog } from "../observe/sessionLog.js"
import { WindowTuner } from "../recv/windowTuner.js"
import { CongestionController } from "../send/congestion.js"
import { Notify } from "../sync/notify.js"
import { keepAlive, toSchedule } from "../time/keepAlive.js"
import { RttEstimator } from "../time/rtt.js"
import type { SessionProtocol } from "./protocol.js"

/** The parts of a session that measure round trips. */
export interface RoundTrips {
  readonly rtt: RttEstimator
  readonly congestion: CongestionController
  /** Undefined where windows keep their size. */
  readonly tuner: WindowTuner | undefined
  /** Notified when the congestion window is full, so that a probe is sent. */
  readonly windowFull: Notify
}

/** Makes the parts that measure round trips by the given pings. */
export const makeRoundTrips = (
  ping: (answered: () => void) => void,
  settings: Settings,
  log: SessionLog,
  now: () => number,
  onRoom: () => void
): RoundTrips => {
  const rtt = new RttEstimator({ ping, now })
  const windowFull = new Notify()
  const congestion = new CongestionController(rtt, {
    onBlind: () => log.fault("Warning", "the peer answers no ping: the session no longer limits the bytes in flight"),
    onFull: () => windowFull.notifyOne(),
    onRoom
  })
  return { rtt, congestion, tuner: makeTuner(settings, rtt), windowFull }
}

/** Makes a tuner where the settings let windows grow. */
const makeTuner = (settings: Settings, rtt: RttEstimator): WindowTuner | undefined => {
  const { maxStreamBufferSize: maxWindow, maxWindowGrowth: budget, streamBufferSize } = settings
  return maxWindow === undefined || maxWindow <= streamBufferSize
    ? undefined
    : new WindowTuner({ maxWindow, budget, rtt })
}

/** Forks the fibers that ping: the keep-alive, and the watch over unanswered probes. */
export const startPings = (
  protocol: SessionProtocol,
  transport: Transport,
  settings: Settings,
  { congestion, rtt, tuner, windowFull }: RoundTrips,
  metrics: MetricsReporter,
  lifetime: Scope.Scope
): Effect.Effect<void> =>
  Effect.gen(function*() {
    const schedule = toSchedule(settings.keepAliveInterval)
    if (schedule !== undefined) {
      yield* keepAlive({ transport, rtt, schedule, onTick: metrics.report, onRtt: metrics.roundTrip }).pipe(
        Effect.catchAllDefect((cause) =>
          Effect.fail(new TransportFailure({ code: 1006, reason: "cannot ping", cause }))
        ),
        Effect.catchAll((error) => Effect.sync(() => protocol.terminate(error))),
        Effect.interruptible,
        Effect.forkIn(lifetime)
      )
    } else if (tuner !== undefined) {
      rtt.refresh()
    }
    yield* Effect.forkIn(watchProbes(congestion, windowFull), lifetime)
  })

/** Reports probes that stay unanswered. A Go peer drops a pong that it cannot write within a second. */
const watchProbes = (congestion: CongestionController, windowFull: Notify): Effect.Effect<never> =>
  windowFull.waitUntil(() => {
    const overdue = congestion.overdueProbe
    return overdue && Effect.succeed(overdue)
  }).pipe(
    Effect.flatMap((probe) =>
      Effect.delay(Effect.sync(() => congestion.overdueProbe === probe && congestion.onProbeTimeout()), probeTimeout)
    ),
    Effect.forever,
    Effect.interruptible
  )

/** Longer than the RTT of any usable network. */
const probeTimeout = Duration.seconds(5)
