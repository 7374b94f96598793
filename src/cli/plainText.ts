import * as HelpDoc from "@effect/cli/HelpDoc"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import { stripVTControlCharacters } from "node:util"
import { ListenFailure } from "../WsmuxError.js"

/** Runs the parser without its own error output, and without colors unless the output is a terminal. */
export const withPlainOutput = <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  Effect.consoleWith((console) =>
    Effect.withConsole(effect, {
      ...console,
      error: () => Effect.void,
      log: (...args) => console.log(...args.map((arg) => typeof arg === "string" ? helpText(arg) : arg))
    })
  )

/** The parser leaves the name of the command out of the usage line of a subcommand. */
const helpText = (text: string): string =>
  (process.stdout.isTTY ? text : stripVTControlCharacters(text)).replace(usageLine, "$1wsmux $2")

const usageLine = /^((?:\x1b\[[\d;]*m)*\$ (?:\x1b\[[\d;]*m)*)((?:\x1b\[[\d;]*m)*(?:serve|connect|demo)\b)/gm

/** Prints the only line of a failure. */
export const complain = (text: string): Effect.Effect<void> => Console.error(`wsmux: ${onOneLine(text)}`)

/** The message of a failure. Node repeats the address in that of a listener, with the name of the system call. */
export const messageOf = (error: unknown): string =>
  error instanceof ListenFailure
    ? error.message.replace(/: listen (E[A-Z]+): (.+) \S+$/, ": $2 ($1)")
    : error instanceof Error
    ? error.message
    : String(error)

/** The text of a parser's error, which is a document of paragraphs with colors. */
export const plain = (doc: HelpDoc.HelpDoc): string =>
  HelpDoc.isSequence(doc)
    ? `${plain(doc.left)}; ${plain(doc.right)}`
    : onOneLine(stripVTControlCharacters(HelpDoc.toAnsiText(doc)))

const onOneLine = (text: string): string => text.replace(/\s+/g, " ").trim()
