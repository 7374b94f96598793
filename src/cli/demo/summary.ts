import type { Report } from "../session.js"
import type { Fetched } from "./fetch.js"

/** Returns the table of the results. */
export const summary = (
  fetched: ReadonlyArray<Fetched>,
  millis: number,
  report: Report | undefined
): string => {
  const bytes = fetched.reduce((sum, { sample }) => sum + sample.size, 0)
  const latencies = fetched.map(({ millis }) => millis).sort((a, b) => a - b)
  const rows: Array<readonly [string, string]> = [
    ["files", count(fetched.length)],
    ["bytes", count(bytes)],
    ["streams", report === undefined ? "unknown" : count(report.opened)],
    ["MB/s", (bytes / 1e6 / (millis / 1000)).toFixed(1)],
    ["latency p50", `${percentile(latencies, 0.5)} ms`],
    ["latency p99", `${percentile(latencies, 0.99)} ms`],
    ["frames out", report === undefined ? "unknown" : frames(report.framesOut)],
    ["frames in", report === undefined ? "unknown" : frames(report.framesIn)],
    ["mismatches", count(fetched.filter(({ fault }) => fault !== undefined).length)]
  ]
  const width = Math.max(...rows.map(([name]) => name.length))
  return rows.map(([name, value]) => `${name.padEnd(width)}  ${value}`).join("\n")
}

const frames = ({ ack, dat, fin, syn }: Report["framesOut"]): string =>
  `${count(dat + syn + ack + fin)} (${count(ack)} ACKs)`

const percentile = (sorted: ReadonlyArray<number>, part: number): number =>
  sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))] ?? 0

const count = (value: number): string => value.toLocaleString("en-US")
