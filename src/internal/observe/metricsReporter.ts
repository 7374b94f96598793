import * as Effect from "effect/Effect"
import * as Metric from "effect/Metric"
import type * as Scope from "effect/Scope"
import * as SessionMetrics from "../../SessionMetrics.js"
import type { FrameCounts, SessionSnapshot } from "../../SessionSnapshot.js"
import type { TerminalError } from "../../WsmuxError.js"

/** Updates the metrics of one session. */
export interface MetricsReporter {
  /** Adds the changes of the counters since the last report. */
  readonly report: Effect.Effect<void>
  /** Keeps the round-trip time of a keep-alive ping for the next report. */
  readonly roundTrip: (millis: number) => void
}

type Sum = Metric.Metric.Counter<number> | Metric.Metric.Gauge<number>

type Add = readonly [metric: Sum, count: (snapshot: SessionSnapshot) => number]

const frameKinds = ["dat", "syn", "ack", "fin", "record"] as const satisfies ReadonlyArray<keyof FrameCounts>

/** The metrics that only grow, with the session counter of each. */
const counters: ReadonlyArray<Add> = [
  [SessionMetrics.streamsOpened, ({ counters }) => counters.opened],
  [SessionMetrics.streamsAccepted, ({ counters }) => counters.accepted],
  [SessionMetrics.streamsRefused, ({ counters }) => counters.refused],
  [SessionMetrics.bytesReceived, ({ counters }) => counters.bytesIn],
  [SessionMetrics.bytesSent, ({ counters }) => counters.bytesOut],
  [SessionMetrics.creditStalls, ({ counters }) => counters.creditStalls],
  [SessionMetrics.resumptions, ({ resumption }) => resumption?.resumed ?? 0],
  [
    SessionMetrics.peerFaults,
    ({ counters }) => counters.duplicateSyns + counters.windowOverruns + counters.creditOverflows
  ],
  ...frameKinds.flatMap((kind): ReadonlyArray<Add> => [
    [Metric.tagged(SessionMetrics.framesReceived, "kind", kind), ({ counters }) => counters.framesIn[kind]],
    [Metric.tagged(SessionMetrics.framesSent, "kind", kind), ({ counters }) => counters.framesOut[kind]]
  ])
]

/** The metrics that a session resets to 0 when the session ends. */
const gauges: ReadonlyArray<Add> = [
  [SessionMetrics.sessions, () => 1],
  [SessionMetrics.sessionsDraining, ({ localDrain, peerDrain }) => (localDrain ?? peerDrain) === undefined ? 0 : 1],
  [SessionMetrics.streams, ({ streams }) => streams.length],
  [SessionMetrics.suspended, ({ resumption }) => resumption?.state === "suspended" ? 1 : 0],
  [SessionMetrics.keptBytes, ({ resumption }) => resumption?.keptBytes ?? 0]
]

/** Updates the metrics from a session's counters now, at each `report`, and when the scope closes. */
export const makeMetricsReporter = (
  role: "client" | "server",
  snapshot: () => SessionSnapshot,
  terminal: () => TerminalError | undefined
): Effect.Effect<MetricsReporter, never, Scope.Scope> => {
  const reported = new Map<Add, number>()
  const roundTrips: Array<number> = []
  const tagged = <Type, In, Out>(metric: Metric.Metric<Type, In, Out>) => Metric.tagged(metric, "role", role)
  const add = (entry: Add, now: number): Effect.Effect<void> => {
    const grown = now - (reported.get(entry) ?? 0)
    reported.set(entry, now)
    return Metric.incrementBy(tagged(entry[0] as Metric.Metric.Counter<number>), grown)
  }
  const report = (over: boolean) =>
    Effect.suspend(() => {
      const now = snapshot()
      return Effect.all([
        ...counters.map((entry) => add(entry, entry[1](now))),
        ...gauges.map((entry) => add(entry, over ? 0 : entry[1](now))),
        ...roundTrips.splice(0).map((millis) => Metric.update(tagged(SessionMetrics.keepAliveRoundTrip), millis))
      ], { discard: true })
    })
  const ended = Effect.suspend(() =>
    Metric.increment(tagged(Metric.tagged(SessionMetrics.sessionsEnded, "cause", terminal()?._tag ?? "SessionClosed")))
  )
  return report(false).pipe(
    Effect.zipRight(Effect.addFinalizer(() => Effect.zipRight(report(true), ended))),
    Effect.as({ report: report(false), roundTrip: (millis) => void roundTrips.push(millis) })
  )
}
