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
import { originOf, readText, toArgs } from "./args.js"
import { locate, type Origin, placeOf } from "./fault.js"
import type { Config } from "./file.js"

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
    const client = originOf(file, text, subcommands.connect)
    const server = originOf(file, text, subcommands.serve)
    // the command with fewer faults is meant
    const isOfClient = countOf(client) < countOf(server) || (Either.isRight(client) && "url" in client.right.config)
    const name = isOfClient ? "connect" : "serve"
    const origin = yield* Effect.catchAll(isOfClient ? client : server, complainAll)
    const faults = [...yield* faultsOfValues(name, origin), ...yield* faultsOfRules(origin)]
    if (faults.length > 0) return yield* complainAll(faults)
    yield* Console.log(`${file}: options of wsmux ${name}`)
  })).pipe(
    Command.withDescription("Check a configuration file or a rules file. The exit code is 0 without a fault, else 2.")
  )

const countOf = (content: Either.Either<unknown, ReadonlyArray<string>>): number =>
  Either.match(content, { onLeft: ({ length }) => length, onRight: () => 0 })

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
 * until the parser finds no more of them. Only its first answer tells of options that are missing.
 */
const faultsOfValues = (name: keyof typeof subcommands, origin: Origin) =>
  Effect.gen(function*() {
    const others: Array<string> = []
    const found: Array<string> = []
    for (let config = origin.config;;) {
      const faults = yield* parse(name, config)
      const located = faults.flatMap((fault) => locate(fault, { ...origin, config }) ?? [])
      if (found.length === 0) {
        others.push(...faults.filter((fault) => locate(fault, { ...origin, config }) === undefined))
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

/** Takes the place of a part of a list, so that the others keep their places. No command line can hold it. */
const removed = "\0"

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
