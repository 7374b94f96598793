import { summarise, type Summary } from "./statistics.js"

/** The figures of one run, by metric. */
export type Sample = Record<string, number>

/** The bar for effect-wsmux: a value, or a share of another entrant's value in the same run. */
export interface Bar {
  readonly metric: string
  /** The entrants of the bar, when it is not that of effect-wsmux. */
  readonly of?: string
  readonly against?: string
  readonly atLeast?: number
  readonly atMost?: number
  /** `atLeast` when the package bufferutil masks. */
  readonly withBufferutil?: number
}

/** The best of the other entrants. */
export const bestOther = "best other"

/** A workload, as far as the results depend on it. */
export interface Measured {
  readonly id: string
  readonly metrics: Readonly<Record<string, "more" | "less">>
  readonly bars: ReadonlyArray<Bar>
}

/** How entrants are compared. */
export interface Comparison {
  /** The entrants to compare with, of which the first that takes part counts. */
  readonly limits: ReadonlyArray<string>
  /** Whether an entrant can be the best other one. */
  readonly competes: (entrant: string) => boolean
}

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

export const resultsOf = (workload: Measured, samples: Samples, { limits }: Comparison): Array<Result> => {
  const against = limits.find((name) => samples.has(name))
  return Object.entries(workload.metrics).flatMap(([metric, better]) =>
    [...samples].flatMap(([entrant, rounds]) => {
      const values = rounds.flatMap((sample) => sample?.[metric] ?? [])
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
    const [value, other] = [sample?.[metric], others[i]?.[metric]]
    return value === undefined || other === undefined ? [] : [value / other]
  })

/** The outcome of each bar whose entrants have all run. */
export const verdictsOf = (
  workload: Measured,
  samples: Samples,
  comparison: Comparison,
  bufferutil: boolean
): Array<Verdict> => {
  const results = resultsOf(workload, samples, comparison)
  return workload.bars.flatMap((bar) => {
    const of = bar.of ?? "ours"
    const mine = results.find(({ entrant, metric }) => entrant === of && metric === bar.metric)
    if (mine === undefined) return []
    const other = bar.against === undefined ? undefined : rival(bar, mine, results, comparison)
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

const rival = (
  bar: Bar,
  mine: Result,
  results: ReadonlyArray<Result>,
  { competes }: Comparison
): Result | undefined => {
  const others = results.filter(({ entrant, metric }) => metric === bar.metric && entrant !== mine.entrant)
  if (bar.against !== bestOther) return others.find(({ entrant }) => entrant === bar.against)
  const sign = mine.better === "more" ? -1 : 1
  return others
    .filter(({ entrant }) => competes(entrant))
    .sort((a, b) => sign * (a.values.median - b.values.median))[0]
}
