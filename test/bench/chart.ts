import * as vega from "vega"
import { compile, type TopLevelSpec } from "vega-lite"
import type { Report } from "./report.js"

/** A panel for each metric of each workload: a bar to the median, and a line from the lowest to the highest value. */
export const chart = ({ environment, results }: Report, caption: ReadonlyArray<string>): Promise<string> => {
  const panels = [...new Set(results.map(panelOf))]
  const spec: TopLevelSpec = {
    title: { text: "effect-wsmux", subtitle: caption.map((name) => environment[name]!), anchor: "start" },
    columns: 3,
    concat: panels.map((title) => ({
      title: { text: title, fontSize: 11 },
      width: 260,
      data: {
        values: results
          .filter((result) => panelOf(result) === title)
          .map(({ entrant, values }) => ({ entrant, ...values, ours: isOurs(entrant) }))
      },
      encoding: { y: { field: "entrant", type: "nominal", sort: null, title: null } },
      layer: [
        {
          mark: { type: "bar" },
          encoding: {
            x: { field: "median", type: "quantitative", title: null, axis: { tickCount: 4, format: "~s" } },
            color: {
              field: "ours",
              type: "nominal",
              legend: null,
              scale: { domain: [false, true], range: ["#b8c4d0", "#2f6fab"] }
            }
          }
        },
        {
          mark: { type: "rule", strokeWidth: 1.5, color: "#222222" },
          encoding: { x: { field: "min", type: "quantitative" }, x2: { field: "max" } }
        }
      ]
    })),
    resolve: { scale: { color: "shared" } },
    config: { view: { stroke: null }, axis: { grid: false } }
  }
  return new vega.View(vega.parse(compile(spec).spec), { renderer: "none" }).toSVG()
}

const panelOf = ({ better, metric, workload }: Report["results"][number]): string =>
  `${workload} ${metric} (${better} is better)`

const isOurs = (entrant: string): boolean => /ours|auto-tuned|window/.test(entrant)
