import * as Args from "@effect/cli/Args"
import * as Command from "@effect/cli/Command"
import * as ValidationError from "@effect/cli/ValidationError"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Argv from "../argv.js"
import { connect } from "../connect.js"
import { usage } from "../options.js"
import { plain, withPlainOutput } from "../plainText.js"
import { serve } from "../serve.js"
import { version } from "../version.js"
import { read, toArgs } from "./args.js"
import { place } from "./fault.js"

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

const file = Args.text({ name: "file" }).pipe(Args.withDescription("A file for --config."))

const check = Command.make("check", { file }, ({ file }) =>
  Effect.gen(function*() {
    const client = yield* Effect.either(read(file, subcommands.connect))
    const server = yield* Effect.either(read(file, subcommands.serve))
    // the command with fewer faults is meant
    const isOfClient = faultsOf(client) < faultsOf(server) || (Either.isRight(client) && "url" in client.right.config)
    const name = isOfClient ? "connect" : "serve"
    const origin = isOfClient ? client : server
    if (Either.isLeft(origin)) return yield* complainAll(origin.left)
    const complainOf = (fault: string) => {
      const placed = place(fault, origin.right)
      return complainAll([placed === fault ? `${file}: ${fault}` : placed])
    }
    const args = Argv.prepare([subcommands[name]], [name, ...toArgs(origin.right.config)])
    if (Either.isLeft(args)) return yield* complainOf(args.left)
    yield* withPlainOutput(run(["node", "wsmux", ...args.right])).pipe(
      Effect.catchIf(ValidationError.isValidationError, ({ error }) => complainOf(plain(error)))
    )
    yield* Console.log(`${file}: options of wsmux ${name}`)
  })).pipe(Command.withDescription("Check a configuration file. The exit code is 0 without a fault, else 2."))

const faultsOf = (content: Either.Either<unknown, ReadonlyArray<string>>): number =>
  Either.match(content, { onLeft: ({ length }) => length, onRight: () => 0 })

/** Prints a line for each fault. The last one is that of the command, whose effect `error` is silent. */
const complainAll = (faults: ReadonlyArray<string>) =>
  Effect.consoleWith(({ unsafe }) => {
    for (const fault of faults.slice(0, -1)) unsafe.error(`wsmux: ${fault}`)
    return usage(faults.at(-1) ?? "")
  })

/** The command of configuration files. */
export const config = Command.make("config").pipe(
  Command.withDescription("Check a configuration file: wsmux config check FILE."),
  Command.withSubcommands([check])
)
