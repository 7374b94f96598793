import { describe, expect, it } from "@effect/vitest"
import * as Samples from "effect-wsmux/cli/status/samples"
import * as SessionMetrics from "effect-wsmux/SessionMetrics"
import * as Effect from "effect/Effect"
import * as Metric from "effect/Metric"

const counter = (name: string, value: number, labels = {}): Samples.Sample => ({
  type: "counter",
  name,
  help: "",
  labels,
  value
})

const histogram: Samples.Sample = {
  type: "histogram",
  name: "wsmux_h",
  help: "Two\nlines \\ here.",
  labels: { role: "client" },
  buckets: [[1, 2], [2, 3]],
  count: 4,
  sum: 12.5
}

describe("Samples", () => {
  it("Samples.toPrometheus writes families sorted by name, with each label escaped", () => {
    const samples = [counter("wsmux_b", 2, { kind: "a\"b\\c\nd", also: "x" }), histogram, counter("wsmux_b", 3)]
    expect(Samples.toPrometheus(samples)).toBe([
      "# TYPE wsmux_b counter",
      "wsmux_b{also=\"x\",kind=\"a\\\"b\\\\c\\nd\"} 2",
      "wsmux_b 3",
      "# HELP wsmux_h Two\\nlines \\\\ here.",
      "# TYPE wsmux_h histogram",
      "wsmux_h_bucket{le=\"1\",role=\"client\"} 2",
      "wsmux_h_bucket{le=\"2\",role=\"client\"} 3",
      "wsmux_h_bucket{le=\"+Inf\",role=\"client\"} 4",
      "wsmux_h_sum{role=\"client\"} 12.5",
      "wsmux_h_count{role=\"client\"} 4",
      ""
    ].join("\n"))
  })

  it("Samples.merge adds the samples of processes that have the same name and labels", () => {
    const merged = Samples.merge([[counter("a", 1), histogram], [
      counter("a", 2),
      counter("a", 5, { x: "y" }),
      histogram
    ]])
    expect(merged).toEqual([
      counter("a", 3),
      { ...histogram, buckets: [[1, 4], [2, 6]], count: 8, sum: 25 },
      counter("a", 5, { x: "y" })
    ])
  })

  it.effect("Samples.read returns the metrics of sessions, and of no other package", () =>
    Effect.gen(function*() {
      const tagged = <Type, In, Out>(metric: Metric.Metric<Type, In, Out>) => Metric.tagged(metric, "test", "samples")
      yield* Metric.incrementBy(tagged(SessionMetrics.bytesSent), 7)
      yield* Metric.set(tagged(SessionMetrics.streams), 3)
      yield* Metric.update(tagged(SessionMetrics.keepAliveRoundTrip), 3)
      yield* Metric.increment(tagged(Metric.counter("foreign")))
      const own = (yield* Samples.read).filter(({ labels }) => labels.test === "samples")
      expect(own.map(({ name, type }) => [type, name]).sort()).toEqual([
        ["counter", "wsmux_bytes_sent"],
        ["gauge", "wsmux_streams"],
        ["histogram", "wsmux_keep_alive_round_trip_millis"]
      ])
      const [trips] = own.filter(({ type }) => type === "histogram")
      expect(trips).toMatchObject({ count: 1, sum: 3, buckets: expect.arrayContaining([[1, 0], [4, 1]]) })
      expect(JSON.stringify(trips)).not.toContain("null") // JSON has no infinity
    }))
})
