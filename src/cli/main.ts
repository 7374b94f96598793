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
import { ListenFailure } from "../WsmuxError.js"
import { connect } from "./connect.js"
import { demo } from "./demo.js"
import { usage } from "./options.js"
import { serve } from "./serve.js"

const { version } = createRequire(import.meta.url)("../../package.json") as { readonly version: string }

const wsmux = Command.make("wsmux").pipe(
  Command.withDescription("TCP connections through one WebSocket, each a stream with its own flow control."),
  Command.withSubcommands([serve, connect, demo])
)

/** Runs the command line, and answers with the exit code: 0, 1 for a failure, 2 for a fault of the command line. */
export const main = (argv: ReadonlyArray<string>): Effect.Effect<number> => {
  const fault = unseenIn(argv)
  const running = Command.run(wsmux, { name: "wsmux", version })(builtInsFirst(argv))
  return (fault === undefined ? quietly(running) : usage(fault)).pipe(
    Effect.as(0),
    Effect.catchAllCause((cause) => {
      if (Cause.isInterruptedOnly(cause)) return Effect.interrupt
      const error = Cause.squash(cause)
      return ValidationError.isValidationError(error)
        ? Effect.as(complain(fault ?? strangerIn(argv) ?? plain(error.error)), 2)
        : Effect.as(complain(error instanceof Error ? inOneVoice(error) : String(error)), 1)
    }),
    Effect.provide(layer)
  )
}

/**
 * What the parser does not see: a wizard that nothing can answer, an empty value, and a repeatable option without one.
 */
const unseenIn = (argv: ReadonlyArray<string>): string | undefined => {
  if (argv.includes("--wizard") && !process.stdin.isTTY) return "--wizard wants a terminal to ask its questions"
  const unfilled = argv.find((arg, i) =>
    /^--[a-z-]+=$/.test(arg) || (isRepeatable(arg) && !arg.includes("=") && !argv[i + 1])
  )
  return unfilled === undefined ? undefined : `Expected a value following option: '${nameOf(unfilled)}'`
}

/** Without what the parser itself prints of its errors, and without colours where nobody sees them. */
const quietly = <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  Effect.consoleWith((console) =>
    Effect.withConsole(effect, {
      ...console,
      error: () => Effect.void,
      log: (...args) => console.log(...args.map((arg) => typeof arg === "string" ? ofHelp(arg) : arg))
    })
  )

/** The usage of a subcommand as it is typed; the parser leaves out what it is a command of. */
const ofHelp = (text: string): string =>
  (process.stdout.isTTY ? text : stripVTControlCharacters(text)).replace(usageLine, "$1wsmux $2")

const usageLine = /^((?:\x1b\[[\d;]*m)*\$ (?:\x1b\[[\d;]*m)*)((?:\x1b\[[\d;]*m)*(?:serve|connect|demo)\b)/gm

const complain = (text: string) => Effect.sync(() => process.stderr.write(`wsmux: ${onOneLine(text)}\n`))

/** Node tells the address once more, and the name of the system call. */
const inOneVoice = (error: Error): string =>
  error instanceof ListenFailure
    ? error.message.replace(/: listen (E[A-Z]+): (.+) \S+$/, ": $2 ($1)")
    : error.message

const onOneLine = (text: string): string => text.replace(/\s+/g, " ").trim()

/** The parser takes its built-in options right behind the command only; people write them anywhere. */
const builtInsFirst = (argv: ReadonlyArray<string>): ReadonlyArray<string> => {
  const [node = "", script = "", command, ...given] = argv
  const args = given.flatMap((arg) => isRepeatable(arg) && arg.includes("=") ? splitAt(arg, arg.indexOf("=")) : [arg])
  if (command === undefined || command.startsWith("-")) return argv
  const isBuiltIn = (arg: string | undefined, i: number) =>
    arg === "--help" || arg === "-h" || arg?.startsWith("--log-level") === true || args[i - 1] === "--log-level"
  return [node, script, command, ...args.filter(isBuiltIn), ...args.filter((arg, i) => !isBuiltIn(arg, i))]
}

/** The parser takes no `--name=value` of an option that may be repeated. */
const splitAt = (arg: string, index: number): ReadonlyArray<string> => [arg.slice(0, index), arg.slice(index + 1)]

/** What is wrong with an option makes the parser complain of whatever else it then does not find. */
const strangerIn = (argv: ReadonlyArray<string>): string | undefined => {
  const help = plain(Command.getHelp(wsmux, CliConfig.defaultConfig))
  const known: ReadonlyArray<string> = help.match(/--[a-z-]+/g) ?? []
  const stranger = argv.slice(2).find((arg) => arg.startsWith("--") && !known.includes(nameOf(arg)))
  if (stranger !== undefined) return `Received unknown argument: '${nameOf(stranger)}'`
  const twice = argv.find((arg, i) => arg.startsWith("--") && !isRepeatable(arg) && argv.indexOf(arg) < i)
  if (twice !== undefined) return `${nameOf(twice)} is given twice`
  const at = argv.findIndex((arg) => arg.startsWith("--log-level"))
  const level = argv[at]?.split("=", 2)[1] ?? argv[at + 1]
  return at !== -1 && !(level !== undefined && logLevels.includes(level))
    ? `--log-level wants one of ${logLevels.join(", ")}${level === undefined ? "" : `, not ${level}`}`
    : unfilledIn(argv, help)
}

/** The parser takes an option without its value at the end, unless it must be there, for one that it does not know. */
const unfilledIn = (argv: ReadonlyArray<string>, help: string): string | undefined => {
  const last = argv.at(-1) ?? ""
  const usage = help.split(" - ").find((text) => text.startsWith(`${argv[2]} `)) ?? ""
  return last.startsWith("--") && usage.includes(`[${last} `)
    ? `Expected a value following option: '${last}'`
    : undefined
}

const isRepeatable = (arg: string): boolean => nameOf(arg) === "--header"

/** Without its value, which may be a secret. */
const nameOf = (option: string): string => option.split("=", 1)[0]!

const logLevels = ["all", "trace", "debug", "info", "warning", "error", "fatal", "none"]

/** The parser's errors are paragraphs in colour; one plain line is what scripts and people read. */
const plain = (doc: HelpDoc.HelpDoc): string =>
  HelpDoc.isSequence(doc)
    ? `${plain(doc.left)}; ${plain(doc.right)}`
    : onOneLine(stripVTControlCharacters(HelpDoc.toAnsiText(doc)))

/** The number of a fiber tells an operator nothing. */
const logfmt = Logger.map(Logger.logfmtLogger, (line) => line.replace(/ fiber=\S*/, ""))

const layer = Layer.mergeAll(
  NodeContext.layer,
  CliConfig.layer({ isCaseSensitive: true }),
  Logger.replace(Logger.defaultLogger, Logger.withConsoleError(logfmt))
)
