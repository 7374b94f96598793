import * as Effect from "effect/Effect"
import * as Metric from "effect/Metric"
import type * as Scope from "effect/Scope"
import type { FrameCounts, SessionSnapshot } from "../Session.js"
import * as SessionMetrics from "../SessionMetrics.js"

const gauges = { sessions: SessionMetrics.sessions, streams: SessionMetrics.streams }
const counters = {
  opened: SessionMetrics.streamsOpened,
  accepted: SessionMetrics.streamsAccepted,
  refused: SessionMetrics.streamsRefused,
  bytesIn: SessionMetrics.bytesReceived,
  bytesOut: SessionMetrics.bytesSent,
  framesIn: SessionMetrics.framesReceived,
  framesOut: SessionMetrics.framesSent,
  faults: SessionMetrics.peerFaults
}

type Totals = Record<keyof typeof gauges | keyof typeof counters, number>

/**
 * Feeds the metrics from a session's own counters: now, whenever the effect that it answers with is run, and a last time
 * when the scope closes.
 */
export const meter = (
  role: "client" | "server",
  snapshot: () => SessionSnapshot
): Effect.Effect<Effect.Effect<void>, never, Scope.Scope> => {
  let reported = nothing
  const report = (totals: () => Totals) =>
    Effect.suspend(() => {
      const before = reported
      const now = reported = totals()
      const updates: Array<Effect.Effect<void>> = []
      for (const key of keysOf(gauges)) {
        updates.push(Metric.incrementBy(Metric.tagged(gauges[key], "role", role), now[key] - before[key]))
      }
      for (const key of keysOf(counters)) {
        updates.push(Metric.incrementBy(Metric.tagged(counters[key], "role", role), now[key] - before[key]))
      }
      return Effect.all(updates, { discard: true })
    })
  const alive = () => totalsOf(snapshot())
  return report(alive).pipe(
    Effect.zipRight(Effect.addFinalizer(() => report(() => ({ ...alive(), sessions: 0, streams: 0 })))),
    Effect.as(report(alive))
  )
}

const keysOf = <K extends string>(record: Record<K, unknown>) => Object.keys(record) as Array<K>

const nothing = Object.fromEntries([...keysOf(gauges), ...keysOf(counters)].map((key) => [key, 0])) as Totals

const totalsOf = ({ counters, streams }: SessionSnapshot): Totals => ({
  sessions: 1,
  streams: streams.length,
  opened: counters.opened,
  accepted: counters.accepted,
  refused: counters.refused,
  bytesIn: counters.bytesIn,
  bytesOut: counters.bytesOut,
  framesIn: sum(counters.framesIn),
  framesOut: sum(counters.framesOut),
  faults: counters.duplicates + counters.overruns + counters.clamped
})

const sum = ({ ack, dat, fin, syn }: FrameCounts): number => dat + syn + ack + fin
