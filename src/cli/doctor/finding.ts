import { plainText } from "../../internal/text/plainText.js"

export type Verdict = "ok" | "warn" | "fail"

/** What one check of `wsmux doctor` has found. */
export interface Finding {
  readonly check: string
  readonly verdict: Verdict
  readonly detail: string
  /** What to do about a finding that is not ok. */
  readonly advice?: string | undefined
}

export const ok = (check: string, detail: string): Finding => ({ check, verdict: "ok", detail })

export const warn = (check: string, detail: string, advice: string): Finding => ({
  check,
  verdict: "warn",
  detail,
  advice
})

export const fail = (check: string, detail: string, advice: string): Finding => ({
  check,
  verdict: "fail",
  detail,
  advice
})

/** Returns the lines of a finding: the check, and the advice below it. The detail may hold text of a peer. */
export const format = ({ advice, check, detail, verdict }: Finding): string =>
  [
    `${verdict.padEnd(6)}${check.padEnd(12)}${plainText(detail)}`,
    ...(advice === undefined ? [] : [`${" ".repeat(18)}${plainText(advice)}`])
  ].join("\n")

/** Returns a time as text. */
export const millis = (time: number): string => `${time < 10 ? time.toFixed(1) : Math.round(time)} ms`

/** Returns the middle of the numbers. */
export const median = (numbers: ReadonlyArray<number>): number =>
  [...numbers].sort((a, b) => a - b)[Math.floor(numbers.length / 2)] ?? 0
