import { bare } from "./peers/index.js"
import { summarise, type Summary } from "./statistics.js"
import { type Bar, bestOther, type Sample, type Workload } from "./workloads.js"

/** The result of an entrant in a metric of a workload. */
export interface Result {
  readonly workload: string
  readonly metric: string
  readonly better: "more" | "less"
  readonly entrant: string
  readonly values: Summary
  /** The entrant to compare with, and the ratio, round by round. */
  readonly against?: string
  readonly ratio?: Summary
}

export interface Verdict {
  readonly workload: string
  readonly bar: string
  readonly reached: number
  readonly met: boolean
}

/** The samples of one workload: one of each entrant a round, none for a failed run. */
export type Samples = ReadonlyMap<string, ReadonlyArray<Sample | undefined>>

/** The entrants to compare with, of which the first that takes part counts. */
const limits = ["Go to Go", "window 16 MiB", "ws", "ours"]

export const resultsOf = (workload: Workload, samples: Samples): Array<Result> => {
  const against = limits.find((name) => samples.has(name))
  return Object.entries(workload.metrics).flatMap(([metric, better]) =>
    [...samples].flatMap(([entrant, rounds]) => {
      const values = rounds.flatMap((sample) => sample === undefined ? [] : [sample[metric]!])
      if (values.length === 0) return []
      const ratios = against === undefined ? [] : ratiosOf(metric, rounds, samples.get(against)!)
      return {
        workload: workload.id,
        metric,
        better,
        entrant,
        values: summarise(values),
        ...against === undefined || ratios.length === 0 ? {} : { against, ratio: summarise(ratios) }
      }
    })
  )
}

/** Compares within each round, so that other load of the machine cancels out. */
const ratiosOf = (
  metric: string,
  rounds: ReadonlyArray<Sample | undefined>,
  others: ReadonlyArray<Sample | undefined>
): Array<number> =>
  rounds.flatMap((sample, i) => {
    const other = others[i]
    return sample === undefined || other === undefined ? [] : [sample[metric]! / other[metric]!]
  })

/** The outcome of each bar whose entrants have all run. */
export const verdictsOf = (workload: Workload, samples: Samples, bufferutil: boolean): Array<Verdict> => {
  const results = resultsOf(workload, samples)
  return workload.bars.flatMap((bar) => {
    const of = bar.of ?? "ours"
    const mine = results.find(({ entrant, metric }) => entrant === of && metric === bar.metric)
    if (mine === undefined) return []
    const other = bar.against === undefined ? undefined : rival(bar, mine, results)
    if (bar.against !== undefined && other === undefined) return []
    const reached = other === undefined
      ? mine.values.median
      : summarise(ratiosOf(bar.metric, samples.get(of)!, samples.get(other.entrant)!)).median
    const least = bufferutil ? bar.withBufferutil ?? bar.atLeast : bar.atLeast
    const met = (least === undefined || reached >= least) && (bar.atMost === undefined || reached <= bar.atMost)
    const demand = least === undefined ? `at most ${bar.atMost}` : `at least ${least}`
    const than = other === undefined
      ? ""
      : ` of ${bar.against === bestOther ? `the best other (${other.entrant})` : other.entrant}`
    return { workload: workload.id, bar: `${of}, ${bar.metric}: ${demand}${than}`, reached, met }
  })
}

const rival = (bar: Bar, mine: Result, results: ReadonlyArray<Result>): Result | undefined => {
  const others = results.filter(({ entrant, metric }) => metric === bar.metric && entrant !== mine.entrant)
  if (bar.against !== bestOther) return others.find(({ entrant }) => entrant === bar.against)
  const sign = mine.better === "more" ? -1 : 1
  return others
    .filter(({ entrant }) => !bare.includes(entrant) && entrant !== "ours-plain")
    .sort((a, b) => sign * (a.values.median - b.values.median))[0]
}
