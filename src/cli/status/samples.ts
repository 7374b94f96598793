import * as Effect from "effect/Effect"
import * as Metric from "effect/Metric"
import * as MetricState from "effect/MetricState"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"

const Labels = Schema.Record({ key: Schema.String, value: Schema.String })

/** The state of a metric for one set of labels. */
export const Sample = Schema.Union(
  Schema.Struct({
    type: Schema.Literal("counter", "gauge"),
    name: Schema.String,
    help: Schema.String,
    labels: Labels,
    value: Schema.Number
  }),
  Schema.Struct({
    type: Schema.Literal("histogram"),
    name: Schema.String,
    help: Schema.String,
    labels: Labels,
    /** The bound of each bucket, with the count of the values up to it. The last bound, infinity, is left out. */
    buckets: Schema.Array(Schema.Tuple(Schema.Number, Schema.Number)),
    count: Schema.Number,
    sum: Schema.Number
  })
)

export type Sample = typeof Sample.Type

/** The metrics of this package, as they are now. */
export const read: Effect.Effect<ReadonlyArray<Sample>> = Effect.sync(() =>
  Metric.unsafeSnapshot().flatMap(({ metricKey, metricState }): ReadonlyArray<Sample> => {
    const { description, name, tags } = metricKey
    if (!name.startsWith("wsmux_")) return []
    const labels = Object.fromEntries(tags.map(({ key, value }) => [key, value]))
    const about = { name, help: Option.getOrElse(description, () => ""), labels }
    if (MetricState.isCounterState(metricState)) {
      return [{ type: "counter", ...about, value: Number(metricState.count) }]
    }
    if (MetricState.isGaugeState(metricState)) return [{ type: "gauge", ...about, value: Number(metricState.value) }]
    if (!MetricState.isHistogramState(metricState)) return []
    const { count, sum } = metricState
    const buckets = metricState.buckets.filter(([bound]) => Number.isFinite(bound))
    return [{ type: "histogram", ...about, buckets, count, sum }]
  })
)

/** Adds the samples of several processes. */
export const merge = (lists: ReadonlyArray<ReadonlyArray<Sample>>): ReadonlyArray<Sample> => {
  const merged = new Map<string, Sample>()
  for (const sample of lists.flat()) {
    const key = `${sample.name}${labelsOf(sample.labels)}`
    const before = merged.get(key)
    merged.set(key, before === undefined ? sample : add(before, sample))
  }
  return [...merged.values()]
}

const add = (one: Sample, other: Sample): Sample => {
  if (one.type === "histogram") {
    if (other.type !== "histogram") return one
    return {
      ...one,
      buckets: one.buckets.map(([bound, count], i) => [bound, count + (other.buckets[i]?.[1] ?? 0)] as const),
      count: one.count + other.count,
      sum: one.sum + other.sum
    }
  }
  return other.type === "histogram" ? one : { ...one, value: one.value + other.value }
}

/** The content type of the text. */
export const contentType = "text/plain; version=0.0.4"

/**
 * Writes samples in the text format of Prometheus, version 0.0.4. Libraries for that format, such as `prom-client`,
 * write metrics of their own kind only.
 */
export const toPrometheus = (samples: ReadonlyArray<Sample>): string => {
  const families = new Map<string, Array<Sample>>()
  for (const sample of samples) families.set(sample.name, [...families.get(sample.name) ?? [], sample])
  return [...families].sort(([a], [b]) => a < b ? -1 : 1).map(([name, family]) => {
    const { help, type } = family[0]!
    const head = help === "" ? [] : [`# HELP ${name} ${help.replaceAll("\\", "\\\\").replaceAll("\n", "\\n")}`]
    return [...head, `# TYPE ${name} ${type}`, ...family.flatMap(linesOf)].map((line) => `${line}\n`).join("")
  }).join("")
}

const linesOf = (sample: Sample): ReadonlyArray<string> => {
  const { labels, name } = sample
  if (sample.type !== "histogram") return [`${name}${labelsOf(labels)} ${sample.value}`]
  const upTo = (bound: string, count: number) => `${name}_bucket${labelsOf({ ...labels, le: bound })} ${count}`
  return [
    ...sample.buckets.map(([bound, count]) => upTo(String(bound), count)),
    upTo("+Inf", sample.count),
    `${name}_sum${labelsOf(labels)} ${sample.sum}`,
    `${name}_count${labelsOf(labels)} ${sample.count}`
  ]
}

const labelsOf = (labels: Readonly<Record<string, string>>): string => {
  const pairs = Object.entries(labels).sort(([a], [b]) => a < b ? -1 : 1)
  return pairs.length === 0 ? "" : `{${pairs.map(([name, value]) => `${name}="${escaped(value)}"`).join(",")}}`
}

const escaped = (value: string): string =>
  value.replaceAll("\\", "\\\\").replaceAll("\"", "\\\"").replaceAll("\n", "\\n")
