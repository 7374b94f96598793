import * as Args from "@effect/cli/Args"
import * as Command from "@effect/cli/Command"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import { usage } from "../options.js"
import * as Rules from "../rules/file.js"
import { readText, survey } from "./args.js"
import * as Faults from "./faults.js"

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
    const client = survey(file, text, Faults.subcommands.connect)
    const server = survey(file, text, Faults.subcommands.serve)
    // the command with fewer faults is meant
    const further = server.faults.length - client.faults.length
    const isOfClient = further > 0 || (client.faults.length === 0 && "url" in client.origin.config)
    const name = isOfClient ? "connect" : "serve"
    const meant = isOfClient ? client : server
    const { located, others } = yield* Faults.ofValues(name, meant)
    const faults = [...located, ...others, ...yield* Faults.ofRules(meant.origin)]
    if (faults.length > 0) return yield* complainAll(faults)
    yield* Console.log(`${file}: options of wsmux ${name}`)
  })).pipe(
    Command.withDescription("Check a configuration file or a rules file. The exit code is 0 without a fault, else 2.")
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
