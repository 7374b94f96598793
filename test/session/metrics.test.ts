import { describe, expect, it } from "@effect/vitest"
import * as SessionMetrics from "effect-wsmux/SessionMetrics"
import * as Effect from "effect/Effect"
import * as Metric from "effect/Metric"
import * as TestClock from "effect/TestClock"
import { bytes } from "../support/bytes.js"
import { makeStreams, settle } from "../support/sessions.js"

// Alone in its file, since metrics belong to the whole process.
describe("the metrics", () => {
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

  it.scoped("are added up at each tick of the keep-alive, and at the session's end", () =>
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
})
