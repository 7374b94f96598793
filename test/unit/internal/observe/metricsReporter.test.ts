import { describe, expect, it } from "@effect/vitest"
import * as SessionMetrics from "effect-wsmux/SessionMetrics"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Metric from "effect/Metric"
import * as Scope from "effect/Scope"
import * as TestClock from "effect/TestClock"
import { readFileSync } from "node:fs"
import { bytes, pattern } from "../../../support/bytes.js"
import { makeResumableStream } from "../../../support/resumable.js"
import { makeStreams, settle } from "../../../support/sessions.js"

// Metrics belong to the whole process, so this file has no other tests.
describe.sequential("SessionMetrics", () => {
  const value = (metric: Metric.Metric.Counter<number> | Metric.Metric.Gauge<number>, role: string) => {
    const read = metric as Metric.Metric<unknown, never, { readonly count: number } | { readonly value: number }>
    return Effect.map(
      Metric.value(Metric.tagged(read, "role", role)),
      (state) => "count" in state ? state.count : state.value
    )
  }
  const picture = (role: string) =>
    Effect.all({
      sessions: value(SessionMetrics.sessions, role),
      streams: value(SessionMetrics.streams, role),
      opened: value(SessionMetrics.streamsOpened, role),
      accepted: value(SessionMetrics.streamsAccepted, role),
      bytesSent: value(SessionMetrics.bytesSent, role),
      bytesReceived: value(SessionMetrics.bytesReceived, role)
    })

  it.scoped("SessionMetrics change at each keep-alive interval and at the end of the session", () =>
    Effect.gen(function*() {
      const before = yield* picture("client")
      const { client, far, near } = yield* makeStreams({ server: { keepAliveInterval: Infinity } })
      yield* near.write(bytes("12345"))
      yield* far.write(bytes("123"))
      yield* settle
      expect(yield* picture("client")).toEqual({ ...before, sessions: before.sessions + 1 })
      yield* TestClock.adjust("10 seconds")
      const during = {
        sessions: before.sessions + 1,
        streams: before.streams + 1,
        opened: before.opened + 1,
        accepted: before.accepted,
        bytesSent: before.bytesSent + 5,
        bytesReceived: before.bytesReceived + 3
      }
      expect(yield* picture("client")).toEqual(during)
      yield* near.write(bytes("67"))
      yield* client.close
      expect(yield* picture("client")).toEqual({
        ...during,
        sessions: before.sessions,
        streams: before.streams,
        bytesSent: before.bytesSent + 7
      })
    }))

  it.scoped("SessionMetrics count resumptions for good, and suspended sessions while they are suspended", () =>
    Effect.gen(function*() {
      const all = Effect.forEach(
        [SessionMetrics.suspended, SessionMetrics.keptBytes, SessionMetrics.resumptions],
        (metric) => value(metric, "client")
      )
      const before = yield* all
      const scope = yield* Scope.make()
      const grown = Effect.map(all, (now) => now.map((count, n) => count - before[n]!))
      const { client, cut, near, network } = yield* Scope.extend(makeResumableStream(), scope)
      yield* TestClock.adjust("10 seconds")
      network.isDown = true
      yield* near.write(new Uint8Array(1000))
      yield* cut
      yield* TestClock.adjust("10 seconds")
      expect(yield* grown).toEqual([1, 1005, 0])
      network.isDown = false
      yield* TestClock.adjust("20 seconds")
      expect(yield* grown).toEqual([0, 0, 1])
      network.isDown = true
      yield* cut
      yield* TestClock.adjust("2 minutes")
      expect(yield* client.awaitClosed).toMatchObject({ cause: { reason: "GraceExpired" } })
      yield* Scope.close(scope, Exit.void)
      expect(yield* grown).toEqual([0, 0, 1])
    }))

  it.scoped("SessionMetrics count a session that drains: here at once, at the peer with its next tick", () =>
    Effect.gen(function*() {
      const drainingAt = (role: string) => value(SessionMetrics.sessionsDraining, role)
      const before = yield* Effect.all([drainingAt("server"), drainingAt("client")])
      const { near, server } = yield* makeStreams()
      yield* Effect.fork(server.drain())
      yield* settle
      const grown = Effect.map(
        Effect.all([drainingAt("server"), drainingAt("client")]),
        ([server, client]) => [server - before[0], client - before[1]]
      )
      expect(yield* grown).toEqual([1, 0])
      yield* TestClock.adjust("10 seconds")
      expect(yield* grown).toEqual([1, 1])
      yield* near.reset()
      yield* TestClock.adjust("20 seconds")
      expect(yield* grown).toEqual([0, 0])
    }))

  /** Returns all metrics of one role by name and further tags. */
  const told = (role: string) =>
    Effect.map(Metric.snapshot, (pairs) =>
      Object.fromEntries(pairs.flatMap(({ metricKey, metricState }) => {
        const tags = new Map(metricKey.tags.map(({ key, value }) => [key, value]))
        if (!metricKey.name.startsWith("wsmux_") || tags.get("role") !== role) return []
        const state = metricState as { readonly count?: number; readonly value?: number }
        const others = [...tags].filter(([key]) => key !== "role").map(([, value]) => value)
        return [[[metricKey.name.slice("wsmux_".length), ...others].join(" "), Number(state.count ?? state.value)]]
      })))

  it.scoped("SessionMetrics have the names and counts of src/README.md", () =>
    Effect.gen(function*() {
      const before = yield* told("server")
      const { client, far, near, pair, server } = yield* makeStreams({ client: { keepAliveInterval: Infinity } })
      yield* Effect.fork(near.write(pattern(3000))) // more than the window
      yield* settle
      yield* far.write(bytes("123"))
      yield* Effect.fork(far.write(pattern(2000)))
      yield* TestClock.adjust("1 seconds")
      yield* TestClock.adjust("9 seconds")
      yield* pair.cut
      yield* client.awaitClosed
      yield* server.awaitClosed
      const after = yield* told("server")
      const grown = Object.fromEntries(
        Object.entries(after).map(([name, value]) => [name, value - (before[name] ?? 0)]).filter(([, more]) =>
          more !== 0
        )
      )
      expect(grown).toEqual({
        streams_accepted: 1,
        bytes_received: 1024,
        bytes_sent: 1024,
        credit_stalls: 1,
        "frames_received record": 2, // HELLO and OPEN
        "frames_received dat": 1,
        "frames_sent record": 1,
        "frames_sent ack": 1,
        "frames_sent dat": 2,
        keep_alive_round_trip_millis: 2,
        "sessions_ended TransportFailure": 1
      })
      const documented = [
        ...readFileSync(new URL("../../../../src/README.md", import.meta.url), "utf8").matchAll(/^\| `wsmux_(\w+)`/gm)
      ]
      const names = Object.values(SessionMetrics).map((metric) => (metric as unknown as { name?: string }).name)
      expect(documented).toHaveLength(names.length)
      for (const name of Object.keys(after)) expect(documented.map(([, name]) => name)).toContain(name.split(" ")[0])
    }))
})
