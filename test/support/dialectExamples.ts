import { readFileSync } from "node:fs"

/** A message of an example in `src/README.md`. */
export interface Line {
  readonly from: "client" | "server"
  /** The name of the frame or the record, such as `HELLO`. */
  readonly name: string
  readonly message: Uint8Array
}

/** The messages of the example under a heading of `src/README.md`. An indented line continues the message above. */
export const linesOf = (heading: string): ReadonlyArray<Line> => {
  const page = readFileSync(new URL("../../src/README.md", import.meta.url), "utf8")
  const section = page.split(/^#+ /m).find((part) => part.startsWith(`${heading}\n`)) ?? ""
  const lines: Array<{ readonly from: Line["from"]; readonly name: string; hex: string }> = []
  const rows = section.matchAll(/^(?:(client|server) {2}| {8})([0-9a-f ]+?) {3,}([A-Z]*).*$/gm)
  for (const [, from, hex, name] of rows) {
    if (from === undefined) lines[lines.length - 1]!.hex += hex
    else lines.push({ from: from as Line["from"], name: name!, hex: hex! })
  }
  return lines.map(({ from, hex, name }) => ({
    from,
    name,
    message: Uint8Array.from(hex.match(/[0-9a-f]{2}/g)!, (byte) => parseInt(byte, 16))
  }))
}
