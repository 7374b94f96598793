import * as CliConfig from "@effect/cli/CliConfig"
import * as Command from "@effect/cli/Command"
import * as HelpDoc from "@effect/cli/HelpDoc"
import * as ValidationError from "@effect/cli/ValidationError"
import * as NodeContext from "@effect/platform-node/NodeContext"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import { createRequire } from "node:module"
import { stripVTControlCharacters } from "node:util"
import { connect } from "./connect.js"
import { demo } from "./demo.js"
import { serve } from "./serve.js"

const { version } = createRequire(import.meta.url)("../../package.json") as { readonly version: string }

const wsmux = Command.make("wsmux").pipe(
  Command.withDescription("TCP connections through one WebSocket, each a stream with its own flow control."),
  Command.withSubcommands([serve, connect, demo])
)

/** Runs the command line, and answers with the exit code: 0, 1 for a failure, 2 for a fault of the command line. */
export const main = (argv: ReadonlyArray<string>): Effect.Effect<number> =>
  quietly(Command.run(wsmux, { name: "wsmux", version })(argv)).pipe(
    Effect.as(0),
    Effect.catchAllCause((cause) => {
      if (Cause.isInterruptedOnly(cause)) return Effect.interrupt
      const error = Cause.squash(cause)
      return ValidationError.isValidationError(error)
        ? Effect.as(complain(plain(error.error)), 2)
        : Effect.as(complain(error instanceof Error ? error.message : String(error)), 1)
    }),
    Effect.provide(layer)
  )

/** Without what the parser itself prints of its errors. */
const quietly = <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  Effect.consoleWith((console) => Effect.withConsole(effect, { ...console, error: () => Effect.void }))

const complain = (text: string) => Effect.sync(() => process.stderr.write(`wsmux: ${text}\n`))

/** The parser's errors are paragraphs in colour; one plain line is what scripts and people read. */
const plain = (doc: HelpDoc.HelpDoc): string =>
  stripVTControlCharacters(HelpDoc.toAnsiText(doc)).replace(/\s+/g, " ").trim()

const layer = Layer.mergeAll(
  NodeContext.layer,
  CliConfig.layer({ isCaseSensitive: true }),
  Logger.replace(Logger.defaultLogger, Logger.withConsoleError(Logger.logfmtLogger))
)
