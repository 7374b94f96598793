import * as CliConfig from "@effect/cli/CliConfig"
import * as Command from "@effect/cli/Command"
import * as ValidationError from "@effect/cli/ValidationError"
import * as NodeContext from "@effect/platform-node/NodeContext"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import { agent } from "./agent.js"
import * as Argv from "./argv.js"
import { check } from "./check.js"
import * as ConfigArgs from "./config/args.js"
import { checkFile, config } from "./config/command.js"
import * as Faults from "./config/faults.js"
import * as Reload from "./config/reload.js"
import { connect } from "./connect.js"
import { demo } from "./demo.js"
import { doctor } from "./doctor.js"
import { usage } from "./options.js"
import { complain, messageOf, plain, withPlainOutput } from "./plainText.js"
import { relay } from "./relay.js"
import { serve } from "./serve.js"
import { status } from "./status/command.js"
import { version } from "./version.js"
import * as Worker from "./worker.js"

const wsmux = Command.make("wsmux").pipe(
  Command.withDescription("Carries TCP connections through one WebSocket, each as a stream with its own flow control."),
  Command.withSubcommands([serve, connect, relay, agent, check, config, status, doctor, demo])
)

const subcommands: ReadonlyArray<Argv.Subcommand> = [
  { name: "serve", usage: Command.getUsage(serve) },
  { name: "connect", usage: Command.getUsage(connect) },
  { name: "relay", usage: Command.getUsage(relay) },
  { name: "agent", usage: Command.getUsage(agent) },
  { name: "check", usage: Command.getUsage(check) },
  {
    name: "config",
    usage: Command.getUsage(config),
    subcommands: [{ name: "check", usage: Command.getUsage(checkFile) }]
  },
  { name: "status", usage: Command.getUsage(status) },
  { name: "doctor", usage: Command.getUsage(doctor) },
  { name: "demo", usage: Command.getUsage(demo) }
]

const run = Command.run(wsmux, { name: "wsmux", version })

/** Runs the command line. Completes with the exit code: 0, 1 after a failure, 2 after a fault of the arguments. */
export const main = ([node = "", script = "", ...args]: ReadonlyArray<string>): Effect.Effect<number> =>
  coded(
    Effect.catchIf(
      running(node, script, args),
      ValidationError.isValidationError,
      (error) =>
        Effect.flatMap(Faults.ofCommandLine(args), (faults) =>
          faults.length > 1 ? usage(`--config: ${faults.join("; ")}`) : Effect.fail(error))
    )
  )

const running = (node: string, script: string, args: ReadonlyArray<string>) =>
  Effect.flatMap(
    ConfigArgs.expand(subcommands, args),
    (expanded) =>
      Either.match(Argv.prepare(subcommands, expanded.args), {
        onLeft: usage,
        onRight: (prepared) =>
          withPlainOutput(
            run([node, script, ...prepared]),
            prepared.at(-1) === "--help" ? prepared.slice(0, -2) : []
          )
      }).pipe(Effect.provideService(Reload.Typed, expanded), ConfigArgs.placing(expanded))
  )

/** Runs a worker of `serve --workers`. Completes with the exit code: 0, or 1 after a failure. */
export const work = (number: string): Effect.Effect<number> => coded(Worker.work(number))

const coded = <E>(effect: Effect.Effect<unknown, E, Layer.Layer.Success<typeof layer>>): Effect.Effect<number> =>
  effect.pipe(
    Effect.as(0),
    Effect.catchAllCause((cause) => {
      if (Cause.isInterruptedOnly(cause)) return Effect.interrupt
      const error = Cause.squash(cause)
      return ValidationError.isValidationError(error)
        ? Effect.as(complain(plain(error.error)), 2)
        : Effect.as(complain(messageOf(error)), 1)
    }),
    Effect.provide(layer)
  )

/** The number of a fiber tells an operator nothing. */
const logfmt = Logger.map(Logger.logfmtLogger, (line) => line.replace(/ fiber=\S*/, ""))

const layer = Layer.mergeAll(
  NodeContext.layer,
  CliConfig.layer({ isCaseSensitive: true }),
  Logger.replace(Logger.defaultLogger, Logger.withConsoleError(logfmt))
)
