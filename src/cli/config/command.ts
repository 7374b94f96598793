import * as Args from "@effect/cli/Args"
import * as Command from "@effect/cli/Command"
import * as ValidationError from "@effect/cli/ValidationError"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Argv from "../argv.js"
import { connect } from "../connect.js"
import { usage } from "../options.js"
import { faultsOf, withPlainOutput } from "../plainText.js"
import * as Rules from "../rules/file.js"
import { serve } from "../serve.js"
import { version } from "../version.js"
import * as Yaml from "../yaml.js"
import { readText, survey, toArgs } from "./args.js"
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

const subcommands = {
  serve: { name: "serve", usage: Command.getUsage(serve) },
  connect: { name: "connect", usage: Command.getUsage(connect) }
}

const file = Args.text({ name: "file" }).pipe(Args.withDescription("A file for --config, or for --rules."))

/** The command of the group that checks a file. */
export const checkFile = Command.make("check", { file }, ({ file }) =>
  Effect.gen(function*() {
    const text = yield* Effect.catchAll(readText(file), complainAll)
    if (Rules.isMeant(text)) {
      const rules = Either.mapLeft(Rules.parse(text), (faults) => faults.map((fault) => `${file}:${fault}`))
      const { users } = yield* Effect.catchAll(rules, complainAll)
      return yield* Console.log(`${file}: rules for ${Object.keys(users).length} users`)
    }
    const client = survey(file, text, subcommands.connect)
    const server = survey(file, text, subcommands.serve)
    // the command with fewer faults is meant
    const further = server.faults.length - client.faults.length
    const isOfClient = further > 0 || (client.faults.length === 0 && "url" in client.origin.config)
    const name = isOfClient ? "connect" : "serve"
    const meant = isOfClient ? client : server
    const faults = [...yield* faultsOfValues(name, meant), ...yield* faultsOfRules(meant.origin)]
    if (faults.length > 0) return yield* complainAll(faults)
    yield* Console.log(`${file}: options of wsmux ${name}`)
  })).pipe(
    Command.withDescription("Check a configuration file or a rules file. The exit code is 0 without a fault, else 2.")
  )

/** Finds the faults of the rules file that a configuration file names. */
const faultsOfRules = ({ config: { rules }, path, text }: Origin) => {
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
 * Finds the faults of all values. The parser may stop at its first fault, so its faults are taken out of the values,
 * until the parser finds no more of them. Only its first answer tells of options that are missing, and only where the
 * file gives each value its type: one of the others may be that option.
 */
const faultsOfValues = (name: keyof typeof subcommands, { faults, origin }: ReturnType<typeof survey>) =>
  Effect.gen(function*() {
    const others: Array<string> = []
    const found = [...faults]
    for (let config = origin.config;;) {
      const told = yield* parse(name, config)
      const located = told.flatMap((fault) => locate(fault, { ...origin, config }) ?? [])
      if (found.length === 0) {
        others.push(...told.filter((fault) => locate(fault, { ...origin, config }) === undefined))
      }
      if (located.length === 0) break
      found.push(...located.map(({ place, told }) => `${place}: ${told}`))
      for (const { index, key } of located) config = without(config, key, index)
    }
    return [
      ...found.sort(Yaml.byPlace).map((fault) => `${origin.path}:${fault}`),
      ...others.map((fault) => `${origin.path}: ${fault}`)
    ]
  })

/** Returns the faults of these values that the parser of their command tells. */
const parse = (name: keyof typeof subcommands, config: Config) =>
  Either.match(Argv.prepare([subcommands[name]], [name, ...toArgs(kept(config))]), {
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

/** Prints a line for each fault. The last one is that of the command, whose effect `error` is silent. */
const complainAll = (faults: ReadonlyArray<string>) =>
  Effect.consoleWith(({ unsafe }) => {
    for (const fault of faults.slice(0, -1)) unsafe.error(`wsmux: ${fault}`)
    return usage(faults.at(-1) ?? "")
  })

/** The command of configuration files. */
export const config = Command.make("config").pipe(
  Command.withDescription("Check a file: wsmux config check FILE."),
  Command.withSubcommands([checkFile])
)
