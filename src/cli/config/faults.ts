import * as Command from "@effect/cli/Command"
import * as ValidationError from "@effect/cli/ValidationError"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Argv from "../argv.js"
import { connect } from "../connect.js"
import { faultsOf, withPlainOutput } from "../plainText.js"
import * as Rules from "../rules/file.js"
import { serve } from "../serve.js"
import { version } from "../version.js"
import * as Yaml from "../yaml.js"
import { readText, type survey, surveyTyped, toArgs } from "./args.js"
import { locate, type Origin, placeOf } from "./fault.js"
import { type Config, removed } from "./file.js"

/** Both commands take their options, and do nothing. */
const idle = {
  serve: Command.withHandler(serve, () => Effect.void),
  connect: Command.withHandler(connect, () => Effect.void)
}

const run = Command.run(
  Command.make("wsmux").pipe(Command.withSubcommands([idle.serve, idle.connect])),
  { name: "wsmux", version }
)

/** The commands that take a configuration file. */
export const subcommands = {
  serve: { name: "serve", usage: Command.getUsage(serve) },
  connect: { name: "connect", usage: Command.getUsage(connect) }
}

/** Finds the faults of the rules file that a configuration file names. */
export const ofRules = ({ config: { rules }, path, text }: Origin) => {
  if (typeof rules !== "string") return Effect.succeed([])
  return Effect.matchEffect(readText(rules), {
    onFailure: ([fault]) => Effect.succeed([`${path}:${placeOf(text, "rules")}: rules: ${fault}`]),
    onSuccess: (text) =>
      Effect.succeed(Either.match(Rules.parse(text), {
        onLeft: (faults) => faults.map((fault) => `${rules}:${fault}`),
        onRight: (): ReadonlyArray<string> => []
      }))
  })
}

/**
 * Finds the faults of all values, and of options that are missing. The parser may stop at its first fault, so its
 * faults are taken out of the values, until the parser finds no more of them. Only its first answer tells of options
 * that are missing, and only where the file gives each value its type: one of the others may be that option.
 *
 * @param typed the arguments of the command line behind the name of the command
 */
export const ofValues = (
  name: keyof typeof subcommands,
  { faults, origin }: ReturnType<typeof survey>,
  typed: ReadonlyArray<string> = []
) =>
  Effect.gen(function*() {
    const others: Array<string> = []
    const found = [...faults]
    for (let config = origin.config;;) {
      const told = yield* parse(name, config, typed)
      const located = told.flatMap((fault) => locate(fault, { ...origin, config }) ?? [])
      if (found.length === 0) {
        others.push(...told.filter((fault) => locate(fault, { ...origin, config }) === undefined))
      }
      if (located.length === 0) break
      found.push(...located.map(({ place, told }) => `${place}: ${told}`))
      for (const { index, key } of located) config = without(config, key, index)
    }
    return {
      located: found.sort(Yaml.byPlace).map((fault) => `${origin.path}:${fault}`),
      others: others.map((fault) => `${origin.path}: ${fault}`)
    }
  })

/**
 * Completes with all faults of the file of `--config`, as `config check` finds them, but for values that the command
 * line replaces. Completes with none where the values of the file have no fault.
 */
export const ofCommandLine = ([name = "", ...typed]: ReadonlyArray<string>) =>
  Effect.gen(function*() {
    if ((name !== "serve" && name !== "connect") || typed.some((arg) => asks.test(arg))) return []
    const surveyed = yield* surveyTyped(subcommands[name], typed)
    if (surveyed === undefined) return []
    const { located } = yield* ofValues(name, surveyed, typed)
    return located.length === 0 ? [] : [...located, ...yield* ofRules(surveyed.origin)]
  })

/** The options that the parser answers itself, on the standard output. */
const asks = /^(-h|--(help|version|wizard|completions)(=.*)?)$/

/** Returns the faults of these values that the parser of their command tells. */
const parse = (name: keyof typeof subcommands, config: Config, typed: ReadonlyArray<string>) =>
  Either.match(Argv.prepare([subcommands[name]], [name, ...toArgs(kept(config)), ...typed]), {
    onLeft: (fault) => Effect.succeed([fault]),
    onRight: (args) =>
      withPlainOutput(run(["node", "wsmux", ...args])).pipe(
        Effect.as<ReadonlyArray<string>>([]),
        Effect.catchIf(ValidationError.isValidationError, ({ error }) => Effect.succeed(faultsOf(error)))
      )
  })

const without = (config: Config, key: string, index: number | undefined): Config => {
  const { [key]: value, ...others } = config
  return Array.isArray(value) && index !== undefined
    ? { ...config, [key]: value.map((part, i) => i === index ? removed : part) }
    : others
}

const kept = (config: Config): Config =>
  Object.fromEntries(
    Object.entries(config).map(([key, value]) => [
      key,
      typeof value === "object" ? value.filter((part) => part !== removed) : value
    ])
  )
