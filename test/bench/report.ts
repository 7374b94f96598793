import { round } from "./output.js"
import type { Result, Verdict } from "./results.js"

/** The conditions of the measurement: name and value. */
export type Environment = Readonly<Record<string, string>>

export interface Report {
  readonly environment: Environment
  readonly titles: Readonly<Record<string, string>>
  readonly results: ReadonlyArray<Result>
  readonly verdicts: ReadonlyArray<Verdict>
  readonly failures: ReadonlyArray<string>
}

export const markdown = (report: Report): string => {
  const { results, titles } = report
  return [
    ...head(report),
    ...Object.entries(titles).flatMap(([id, title]) => {
      const rows = table(id, results)
      return rows.length === 0 ? [] : ["", `**${id}**: ${title}`, "", ...rows]
    }),
    "",
    ...tail(report)
  ].join("\n")
}

/** The lines above the tables. */
export const head = ({ environment }: Report): ReadonlyArray<string> => [
  ...Object.entries(environment).map(([name, value]) => `- ${name}: ${value}`),
  "",
  "Each cell: the median of the rounds (least to most), and by how much it is that of the comparison, marked 1.00x."
]

/** The lines below the tables. */
export const tail = ({ failures, verdicts }: Report): ReadonlyArray<string> => [
  ...verdicts.length === 0 ? [] : [
    "| | bar | reached | |",
    "| --- | --- | --- | --- |",
    ...verdicts.map(({ bar, met, reached, workload }) =>
      `| ${workload} | ${bar} | ${round(reached)} | ${met ? "met" : "**missed**"} |`
    ),
    ""
  ],
  ...failures.map((failure) => `FAILED ${failure}`)
]

const table = (id: string, all: ReadonlyArray<Result>): ReadonlyArray<string> => {
  const results = all.filter(({ workload }) => workload === id)
  if (results.length === 0) return []
  const metrics = [...new Set(results.map(({ metric }) => metric))]
  const names = [...new Set(results.map(({ entrant }) => entrant))]
  const cell = (metric: string, name: string) => {
    const found = results.find(({ entrant, metric: other }) => entrant === name && metric === other)
    return found === undefined ? "" : cellOf(found)
  }
  return [
    `| | ${names.join(" | ")} |`,
    `| --- |${" --- |".repeat(names.length)}`,
    ...metrics.map((metric) => `| ${metric} | ${names.map((name) => cell(metric, name)).join(" | ")} |`)
  ]
}

/** The text of a result in a table. */
export const cellOf = ({ ratio, values: { max, median, min } }: Result): string =>
  `${round(median)} (${round(min)}–${round(max)})${ratio === undefined ? "" : ` ${ratio.median.toFixed(2)}x`}`
