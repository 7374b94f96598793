import type { Report } from "./main.js"
import type { Fault } from "./proxy.js"

/** The reports of all processes at one moment, that of the server first. */
export interface Sample {
  readonly seconds: number
  readonly reports: ReadonlyArray<Report>
  readonly faults: Readonly<Record<Fault, number>>
  readonly mismatches: number
}

export const megabytes = (bytes: number): string => (bytes / 1e6).toFixed(1)

export const line = ({ faults, mismatches, reports }: Sample): string => {
  const [server, ...clients] = reports
  const all = (of: (report: Report) => number) => reports.map((report) => megabytes(of(report))).join(" + ")
  const broken = clients.reduce((sum, report) => sum + report.broken, 0)
  return [
    `heap ${all(({ heap }) => heap)} MB`,
    `buffers ${all(({ external }) => external)} MB`,
    `rss ${all(({ rss }) => rss)} MB`,
    `${server!.streams} streams`,
    `${megabytes(server!.bytes)} MB`,
    `${faults.cut} cuts, ${faults.reset} resets, ${faults.stall} stalls, ${broken} tasks broken by them`,
    `${mismatches} mismatches`
  ].join(" | ")
}

export const median = (values: ReadonlyArray<number>): number =>
  [...values].sort((a, b) => a - b)[values.length >> 1] ?? 0

/** Bytes of the heap that rise and fall with the load, beside a tenth. */
const slack = 8e6

/** The same for the whole process, whose allocator keeps more memory for later. */
const residentSlack = 40e6

/** Compares the memory of each process in the last third with the first, and counts open connections at the end. */
export const judge = (
  samples: ReadonlyArray<Sample>,
  last: Sample
): { readonly flat: string; readonly faults: ReadonlyArray<string> } => {
  // in the first seconds the engine compiles code and pools fill
  const settled = samples.slice(Math.min(6, Math.floor(samples.length / 4)))
  const third = Math.max(1, Math.floor(settled.length / 3))
  const faults: Array<string> = []
  const flat = last.reports.map((report, i) => {
    const name = i === 0 ? "the server" : `client ${i}`
    const change = (of: (report: Report) => number, allowed: number): string => {
      const values = settled.map(({ reports }) => of(reports[i]!))
      const [before, after] = [median(values.slice(0, third)), median(values.slice(-third))]
      const text = `${megabytes(before)} to ${megabytes(after)} MB`
      if (after > before * 1.1 + allowed) faults.push(`the memory of ${name} grows: ${text}`)
      return text
    }
    const used = change(({ external, heap }) => heap + external, slack)
    const resident = change(({ rss }) => rss, residentSlack)
    if (report.left > 0) faults.push(`${name} has ${report.left} connections left at the end`)
    return `${name} ${used} (rss ${resident})`
  })
  return { flat: flat.join(", "), faults }
}
