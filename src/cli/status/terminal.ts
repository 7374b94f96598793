import { plainText } from "../../internal/text/plainText.js"
import { bytes, span } from "./human.js"
import type { SessionStatus, Status, StreamStatus } from "./status.js"

/** The columns of a terminal that every line fits. */
const width = 80

/** The least columns of a text that is cut. */
const leastWidth = 6

export interface Column<Row> {
  readonly title: string
  readonly text: (row: Row) => string
  /** Whether long texts are cut where the line is too long. */
  readonly isCut?: boolean
  readonly isNumber?: boolean
}

/** Returns the status as plain text whose lines have at most 80 columns. */
export const render = (status: Status): string => {
  const { at, lastEnd, total } = status
  const lines = [
    ...wrap(
      `wsmux ${status.command} ${status.version} at ${status.address}: ${status.readiness}, ` +
        `for ${span(at - status.startedAt)}`
    ),
    ...wrap(
      `${counted(total.sessions, "session")}, ${counted(total.streams, "stream")}; ` +
        `received ${bytes(total.bytesIn)} (${bytes(total.rateIn)}/s), ` +
        `sent ${bytes(total.bytesOut)} (${bytes(total.rateOut)}/s)`
    ),
    ...wrap(
      lastEnd === null
        ? "no session has ended"
        : `the last session ended ${span(at - lastEnd.at)} ago: ${lastEnd.peer}: ${lastEnd.reason}`
    ),
    ...table(sessionColumns(at), status.sessions),
    ...table(forwardColumns, status.forwards),
    ...table(streamColumns(at), status.streams)
  ]
  return lines.join("\n")
}

export const counted = (count: number, noun: string): string => `${count} ${noun}${count === 1 ? "" : "s"}`

/** The largest unit of a time span. */
export const age = (millis: number): string => span(millis).split(" ").slice(0, 2).join(" ")

const numberOf = (number: number, worker: number | null): string =>
  worker === null ? `${number}` : `${worker}.${number}`

const sessionColumns = (at: number): ReadonlyArray<Column<SessionStatus>> => [
  { title: "SESSION", text: ({ number, worker }) => numberOf(number, worker) },
  { title: "PEER", text: ({ peer }) => peer, isCut: true },
  { title: "USER", text: ({ user }) => user ?? "-", isCut: true },
  { title: "STATE", text: ({ dialect, state }) => dialect === "native" ? state : `${state}, ${dialect}`, isCut: true },
  { title: "AGE", text: ({ since }) => age(at - since), isNumber: true },
  {
    title: "RTT",
    text: ({ roundTripMillis }) => roundTripMillis === null ? "-" : `${Math.round(roundTripMillis)} ms`,
    isNumber: true
  },
  { title: "OPEN", text: ({ streams }) => String(streams), isNumber: true },
  { title: "IN/S", text: ({ rateIn }) => bytes(rateIn), isNumber: true },
  { title: "OUT/S", text: ({ rateOut }) => bytes(rateOut), isNumber: true }
]

const forwardColumns: ReadonlyArray<Column<Status["forwards"][number]>> = [
  { title: "FORWARD", text: ({ option }) => option },
  { title: "LISTENS ON", text: ({ listen }) => listen, isCut: true },
  { title: "LEADS TO", text: ({ target }) => target, isCut: true }
]

const streamColumns = (at: number): ReadonlyArray<Column<StreamStatus>> => [
  { title: "STREAM", text: ({ id, session, worker }) => `${numberOf(session, worker)}/${id}` },
  { title: "LABEL", text: ({ label }) => label || "-", isCut: true },
  { title: "FROM", text: ({ from }) => from ?? "-", isCut: true },
  { title: "TO", text: ({ to }) => to ?? "-", isCut: true },
  { title: "STATE", text: ({ state }) => state, isCut: true },
  { title: "AGE", text: ({ since }) => since === null ? "-" : age(at - since), isNumber: true },
  { title: "IN", text: ({ bytesIn }) => bytesIn === null ? "-" : bytes(bytesIn), isNumber: true },
  { title: "OUT", text: ({ bytesOut }) => bytesOut === null ? "-" : bytes(bytesOut), isNumber: true }
]

/** A table behind an empty line, or nothing where there are no rows. */
export const table = <Row>(columns: ReadonlyArray<Column<Row>>, rows: ReadonlyArray<Row>): ReadonlyArray<string> => {
  if (rows.length === 0) return []
  const cells = [
    columns.map(({ title }) => title),
    ...rows.map((row) => columns.map(({ text }) => plainText(text(row))))
  ]
  const widths = fitted(columns, columns.map((_, i) => Math.max(...cells.map((line) => line[i]!.length))))
  return ["", ...cells.map((line) => line.map((text, i) => set(text, widths[i]!, columns[i]!)).join("  ").trimEnd())]
}

/** Takes columns from the widest texts that may be cut, until the line fits. */
const fitted = (columns: ReadonlyArray<Column<never>>, wanted: ReadonlyArray<number>): ReadonlyArray<number> => {
  const widths = [...wanted]
  const gaps = 2 * (widths.length - 1)
  while (gaps + widths.reduce((sum, width) => sum + width, 0) > width) {
    const widest = Math.max(...widths.filter((_, i) => columns[i]!.isCut))
    if (widest <= leastWidth) break
    widths[widths.findIndex((width, i) => width === widest && columns[i]!.isCut)]!--
  }
  return widths
}

const set = (text: string, width: number, { isNumber }: { readonly isNumber?: boolean }): string =>
  text.length > width ? `${text.slice(0, width - 1)}…` : isNumber ? text.padStart(width) : text.padEnd(width)

/** Breaks a text at spaces, and words that are longer than a line. */
export const wrap = (text: string): ReadonlyArray<string> => {
  const lines: Array<string> = []
  let line = ""
  for (const word of plainText(text).split(" ").flatMap((word) => word.match(/.{1,78}/gu) ?? [])) {
    if (line !== "" && line.length + 1 + word.length > width) {
      lines.push(line)
      line = `  ${word}`
    } else {
      line = line === "" ? word : `${line} ${word}`
    }
  }
  return [...lines, line]
}
