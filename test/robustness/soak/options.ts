import { parseArgs } from "node:util"

export interface Options {
  readonly minutes: number
  /** The number of clients, and of workers in each client. */
  readonly clients: number
  readonly workers: number
  readonly seed: number
  /** Cuts the connections of sessions that resume, in place of those of sessions that end. */
  readonly resume: boolean
  /** Kills and drains the nodes of a relay in place of all that. */
  readonly relay: boolean
  /** The agents of the relay, the requests that run at a time, and the seconds between two kills. */
  readonly agents: number
  readonly streams: number
  readonly every: number
}

const flags = {
  minutes: ["how long to run", 5, 10_000],
  clients: ["processes that dial", 2, 64],
  workers: ["tasks at a time in each of them", 16, 1000],
  agents: ["with --relay: names", 100, 10_000],
  streams: ["with --relay: requests at a time", 1000, 10_000],
  every: ["with --relay: seconds between two kills", 20, 1000],
  seed: ["of the choices that are made", 1, 0xffff_ffff]
} as const

export const usage = (): string =>
  [
    "npm run soak -- [options]",
    ...Object.entries(flags).map(([flag, [text, standard]]) => `  --${flag.padEnd(8)} N  ${text} (${standard})`),
    "  --duration D  how long to run, such as 15s or 10m, in place of --minutes",
    "  --resume       sessions that survive cuts every 0.2 to 5 s under mixed load: no byte lost, no stream failed",
    "  --relay        three nodes and a Redis: kills one node after the other under load, then drains each",
    "  --help         this"
  ].join("\n")

/** The options, or undefined when the arguments ask for help. Throws with one line when an argument is wrong. */
export const parse = (args: ReadonlyArray<string>): Options | undefined => {
  const names = Object.keys(flags) as Array<keyof typeof flags>
  const known = {
    help: { type: "boolean" as const },
    resume: { type: "boolean" as const },
    relay: { type: "boolean" as const },
    duration: { type: "string" as const }
  }
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
  const duration = (): number | undefined => {
    if (given.duration === undefined) return undefined
    const [, count, unit] = /^([1-9]\d{0,3})(s|m)$/.exec(String(given.duration)) ?? []
    if (count === undefined) throw new Error(`--duration: ${given.duration} is no duration such as 15s or 10m`)
    if (given.minutes !== undefined) throw new Error("--duration, --minutes: give one or the other")
    return unit === "s" ? Number(count) / 60 : Number(count)
  }
  const minutes = duration() ?? number("minutes")
  const resume = given.resume === true
  const relay = given.relay === true
  if (resume && relay) throw new Error("--resume, --relay: give one or the other")
  return {
    resume,
    relay,
    minutes,
    clients: number("clients"),
    workers: number("workers"),
    agents: number("agents"),
    streams: number("streams"),
    every: number("every"),
    seed: number("seed")
  }
}
