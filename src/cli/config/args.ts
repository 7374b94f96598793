import * as HelpDoc from "@effect/cli/HelpDoc"
import * as ValidationError from "@effect/cli/ValidationError"
import * as FileSystem from "@effect/platform/FileSystem"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Argv from "../argv.js"
import { expectedPath, usage } from "../options.js"
import { faultsOf } from "../plainText.js"
import { type Origin, place } from "./fault.js"
import { type Config, read } from "./file.js"

/** Reads the text of a configuration file. Fails with its fault. */
export const readText = (path: string) =>
  path === "" ?
    Effect.fail([expectedPath]) :
    Effect.flatMap(FileSystem.FileSystem, (files) => files.readFileString(path)).pipe(
      Effect.mapError(() => [`${path}: cannot be read`])
    )

/** Returns the values of a configuration file for a command that have the type of their options, and other faults. */
export const survey = (path: string, text: string, subcommand: Argv.Subcommand) => {
  const options = Argv.declared(subcommand)
  const { config, faults } = read(text, [...new Set(options.values())], isClient(subcommand))
  const origin: Origin = { path, text, config, options }
  return { origin, faults }
}

/** Returns the values of a configuration file for a command, or its faults, each in one line. */
export const originOf = (
  path: string,
  text: string,
  subcommand: Argv.Subcommand
): Either.Either<Origin, ReadonlyArray<string>> => {
  const { faults, origin } = survey(path, text, subcommand)
  return faults.length === 0 ? Either.right(origin) : Either.left(faults.map((fault) => `${path}:${fault}`))
}

const isClient = ({ name }: Argv.Subcommand): boolean => name === "connect"

/** Arguments with those of a configuration file. */
export interface Expanded {
  /** The arguments as they were typed. */
  readonly typed: ReadonlyArray<string>
  readonly args: ReadonlyArray<string>
  /** Undefined without `--config`. Its values are those among the arguments. */
  readonly origin: Origin | undefined
}

/**
 * Puts the values of the file of `--config` before the arguments, as if they had been typed. The command line wins: an
 * option that is given there, and the URL with its remotes, replace those of the file.
 *
 * @param text the content of the file, where the caller has read it
 */
export const expand = (subcommands: ReadonlyArray<Argv.Subcommand>, args: ReadonlyArray<string>, text?: string) =>
  Effect.gen(function*() {
    const [command, ...own] = args
    const subcommand = subcommands.find(({ name }) => name === command)
    const options = subcommand === undefined ? new Map<string, Argv.Declared>() : Argv.declared(subcommand)
    const asTyped: Expanded = { typed: args, args, origin: undefined }
    if (subcommand === undefined || !options.has("--config")) return asTyped
    const { path, positional, seen } = typedOf(own, options)
    if (path === undefined) return asTyped
    const origin = yield* Effect.flatMap(
      text === undefined ? readText(path) : Effect.succeed(text),
      (text) => originOf(path, text, subcommand)
    ).pipe(Effect.catchAll((faults) => usage(`--config: ${faults.join("; ")}`)))
    const config = unseen(origin.config, seen, positional)
    return {
      typed: args,
      args: [command!, ...toArgs(config), ...own],
      origin: { ...origin, config }
    } satisfies Expanded
  })

/**
 * Surveys the configuration file of a command line, without the values that the command line replaces. Completes with
 * undefined without a file that can be read.
 *
 * @param typed the arguments behind the name of the command
 */
export const surveyTyped = (subcommand: Argv.Subcommand, typed: ReadonlyArray<string>) =>
  Effect.gen(function*() {
    const { path, positional, seen } = typedOf(typed, Argv.declared(subcommand))
    const text = path === undefined ? undefined : yield* Effect.orElseSucceed(readText(path), () => undefined)
    if (path === undefined || text === undefined) return undefined
    const { faults, origin } = survey(path, text, subcommand)
    return { faults, origin: { ...origin, config: unseen(origin.config, seen, positional) } }
  })

/** Runs the parser of a command. Its faults tell the place of a value in the configuration file. */
export const placing = ({ origin }: Expanded) => <A, E, R>(parser: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  origin === undefined ? parser : Effect.mapError(parser, (error) => {
    if (!ValidationError.isValidationError(error)) return error
    const faults = faultsOf(error.error)
    const placed = faults.map((fault) => place(fault, origin))
    if (placed.every((fault, i) => fault === faults[i])) return error
    return ValidationError.invalidValue(HelpDoc.p(`--config: ${placed.join("; ")}`)) as E & typeof error
  })

/** Leaves out what the command line has. */
const unseen = (config: Config, seen: ReadonlySet<string>, hasPositional: boolean): Config =>
  Object.fromEntries(
    Object.entries(config).filter(([name]) => !seen.has(name) && !(hasPositional && positionals.includes(name)))
  )

const positionals = ["url", "remotes"]

/** Returns the arguments for the values of a file. */
export const toArgs = ({ remotes, url, ...options }: Config): ReadonlyArray<string> => {
  const args = Object.entries(options).flatMap(([name, value]) => {
    if (typeof value === "boolean") return value ? [`--${name}`] : []
    return [value].flat().flatMap((text) => [`--${name}`, text])
  })
  return [...args, ...[url ?? []].flat(), ...[remotes ?? []].flat()].map(String)
}

/** Finds the file, the options that the command line has, and whether there are other arguments. */
const typedOf = (args: ReadonlyArray<string>, options: ReadonlyMap<string, Argv.Declared>) => {
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
