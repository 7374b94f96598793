import { cellOf, head, type Report, tail } from "../report.js"

/** The report with one table: a line for each metric of each row, a column for each entrant. */
export const table = (report: Report): string => {
  const { failures, results, titles } = report
  const names = [...new Set(results.map(({ entrant }) => entrant))]
  const keys = [...new Set(results.map(({ metric, workload }) => `${workload}\0${metric}`))]
  const line = (key: string) => {
    const [workload, metric] = key.split("\0") as [string, string]
    const cells = names.map((name) => {
      const found = results.find((one) => one.entrant === name && one.metric === metric && one.workload === workload)
      if (found !== undefined) return cellOf(found)
      const runs = results.some((one) => one.entrant === name && one.workload === workload)
      return !runs && failures.some((failure) => failure.startsWith(`${workload} ${name},`)) ? "failed" : ""
    })
    return `| ${titles[workload]} | ${metric} | ${cells.join(" | ")} |`
  }
  return [
    ...head(report),
    "",
    `| | | ${names.join(" | ")} |`,
    `| --- | --- |${" --- |".repeat(names.length)}`,
    ...keys.map(line),
    "",
    ...tail(report)
  ].join("\n")
}
