import * as HelpDoc from "@effect/cli/HelpDoc"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import { stripVTControlCharacters } from "node:util"
import { ListenFailure } from "../WsmuxError.js"
import { compact } from "./help.js"

/** Runs the parser without its own error output, and with help that fits a screen. `compact` explains `before`. */
export const withPlainOutput = <A, E, R>(
  effect: Effect.Effect<A, E, R>,
  before: ReadonlyArray<string> = []
): Effect.Effect<A, E, R> =>
  Effect.consoleWith((console) =>
    Effect.withConsole(effect, {
      ...console,
      error: () => Effect.void,
      log: (...args) => console.log(...args.map((arg) => typeof arg === "string" ? compact(arg, before) : arg))
    })
  )

/** Prints the only line of a failure. */
export const complain = (text: string): Effect.Effect<void> => Console.error(`wsmux: ${onOneLine(text)}`)

/** The message of a failure. Node repeats the address in that of a listener, with the name of the system call. */
export const messageOf = (error: unknown): string =>
  error instanceof ListenFailure
    ? error.message.replace(/: listen (E[A-Z]+): (.+) \S+$/, ": $2 ($1)")
    : error instanceof Error
    ? error.message
    : String(error)

/** The faults of a parser's error, which is a document of paragraphs with colors. */
export const faultsOf = (doc: HelpDoc.HelpDoc): ReadonlyArray<string> =>
  HelpDoc.isSequence(doc)
    ? [...faultsOf(doc.left), ...faultsOf(doc.right)]
    : [onOneLine(stripVTControlCharacters(HelpDoc.toAnsiText(doc)))]

/** The faults of a parser's error as one line. */
export const plain = (doc: HelpDoc.HelpDoc): string => faultsOf(doc).join("; ")

const onOneLine = (text: string): string => text.replace(/\s+/g, " ").trim()
