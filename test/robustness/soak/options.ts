import { parseArgs } from "node:util"

export interface Options {
  readonly minutes: number
  /** The number of clients, and of workers in each client. */
  readonly clients: number
  readonly workers: number
  readonly seed: number
}

const flags = {
  minutes: ["how long to run", 5, 10_000],
  clients: ["processes that dial", 2, 64],
  workers: ["tasks at a time in each of them", 16, 1000],
  seed: ["of the choices that are made", 1, 0xffff_ffff]
} as const

export const usage = (): string =>
  [
    "npm run soak -- [options]",
    ...Object.entries(flags).map(([flag, [text, standard]]) => `  --${flag.padEnd(8)} N  ${text} (${standard})`),
    "  --help         this"
  ].join("\n")

/** The options, or undefined when the arguments ask for help. Throws with one line when an argument is wrong. */
export const parse = (args: ReadonlyArray<string>): Options | undefined => {
  const names = Object.keys(flags) as Array<keyof typeof flags>
  const known = { help: { type: "boolean" as const } }
  const { values } = parseArgs({
    args: [...args],
    options: { ...known, ...Object.fromEntries(names.map((name) => [name, { type: "string" as const }])) }
  })
  const given = values as Record<string, string | boolean | undefined>
  if (given.help === true) return undefined
  const number = (name: keyof typeof flags): number => {
    const [, standard, most] = flags[name]
    const value = given[name] === undefined ? standard : Number(given[name])
    if (!Number.isInteger(value) || value < 1 || value > most) {
      throw new Error(`--${name}: ${given[name]} is not a whole number from 1 to ${most}`)
    }
    return value
  }
  return { minutes: number("minutes"), clients: number("clients"), workers: number("workers"), seed: number("seed") }
}
