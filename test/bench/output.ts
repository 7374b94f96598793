import { mkdirSync, writeFileSync } from "node:fs"
import { chart } from "./chart.js"
import type { Report } from "./report.js"
import type { Result, Sample } from "./results.js"

/** Makes a folder for output before a run whose results could be lost. */
export const makeFolder = (option: string, folder: string): void => {
  try {
    mkdirSync(folder, { recursive: true })
  } catch (error) {
    throw new Error(`--${option}: cannot write to ${folder}: ${(error as Error).message}`)
  }
}

/** Writes the report as JSON and the charted results as a chart, to this path with the two extensions. */
export const writeReport = async <R extends Report>(
  path: string,
  report: R,
  caption: ReadonlyArray<string>,
  charted: ReadonlyArray<Result> = report.results
): Promise<void> => {
  writeFileSync(`${path}.json`, `${JSON.stringify(report, null, 2)}\n`)
  writeFileSync(`${path}.svg`, await chart({ ...report, results: charted }, caption))
}

/** A sample in one line. */
export const show = (sample: Sample): string =>
  Object.entries(sample).map(([metric, value]) => `${round(value)} ${metric}`).join(", ")

/** Three significant digits. */
export const round = (value: number): string =>
  Math.abs(value) >= 100
    ? Math.round(value).toLocaleString("en")
    : value.toPrecision(3)
