import * as FileSystem from "@effect/platform/FileSystem"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Argv from "../argv.js"
import { usage } from "../options.js"
import { type Config, parse } from "./file.js"

/** Reads a configuration file. Fails with its faults, each in one line. */
export const read = (path: string, subcommand: Argv.Subcommand) =>
  Effect.flatMap(FileSystem.FileSystem, (files) => files.readFileString(path)).pipe(
    Effect.mapError(() => [`${path}: cannot be read`]),
    Effect.flatMap((text) =>
      Either.mapLeft(
        parse(text, [...new Set(Argv.declared(subcommand).values())], isClient(subcommand)),
        (faults) => faults.map((fault) => `${path}:${fault}`)
      )
    )
  )

const isClient = ({ name }: Argv.Subcommand): boolean => name === "connect"

/**
 * Puts the values of the file of `--config` before the arguments, as if they had been typed. The command line wins: an
 * option that is given there, and the URL with its remotes, replace those of the file.
 */
export const expand = (subcommands: ReadonlyArray<Argv.Subcommand>, args: ReadonlyArray<string>) =>
  Effect.gen(function*() {
    const [command, ...own] = args
    const subcommand = subcommands.find(({ name }) => name === command)
    const options = subcommand === undefined ? new Map<string, Argv.Declared>() : Argv.declared(subcommand)
    if (subcommand === undefined || !options.has("--config")) return args
    const { path, positional, seen } = survey(own, options)
    if (path === undefined) return args
    const config = yield* Effect.catchAll(read(path, subcommand), ([fault]) => usage(`--config: ${fault}`))
    return [command!, ...toArgs(config, seen, positional), ...own]
  })

/** Returns the arguments for the values of a file, but for those that the command line has itself. */
export const toArgs = (
  config: Config,
  seen: ReadonlySet<string> = new Set(),
  hasPositional = false
): ReadonlyArray<string> => {
  const { remotes, url, ...options } = config
  const args = Object.entries(options).filter(([name]) => !seen.has(name)).flatMap(([name, value]) => {
    if (typeof value === "boolean") return value ? [`--${name}`] : []
    return [value].flat().flatMap((text) => [`--${name}`, text])
  })
  return hasPositional ? args : [...args, ...[url ?? []].flat(), ...[remotes ?? []].flat()].map(String)
}

/** Finds the file, the options that the command line has, and whether there are other arguments. */
const survey = (args: ReadonlyArray<string>, options: ReadonlyMap<string, Argv.Declared>) => {
  const seen = new Set<string>()
  let path: string | undefined
  let positional = false
  for (let i = 0; i < args.length; i++) {
    const arg = args[i]!
    if (!arg.startsWith("-") || arg === "-" || arg === "--") {
      positional = true
      continue
    }
    const { inline, name } = Argv.split(arg)
    const option = options.get(name) ?? (name === "--log-level" ? logLevel : undefined)
    if (option === undefined) continue
    seen.add(option.name)
    const value = option.kind === "flag" ? undefined : inline ?? args[++i]
    if (option.name === "config") path = value
  }
  return { seen, path, positional }
}

const logLevel: Argv.Declared = { name: "log-level", kind: "text" }
