import * as ValidationError from "@effect/cli/ValidationError"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type { Subcommand } from "../argv.js"
import * as Followed from "../followed.js"
import { plain } from "../plainText.js"
import { expand, type Expanded, placing } from "./args.js"
import * as Changes from "./changes.js"

/** The command line of the running command, with its configuration file. */
export class Typed extends Context.Reference<Typed>()("effect-wsmux/cli/Typed", {
  defaultValue: (): Expanded | undefined => undefined
}) {}

/** How a command takes its configuration file when the file has changed. */
export interface Reload<A, R> {
  readonly subcommand: Subcommand
  /** The keys whose values change at run time. */
  readonly changing: ReadonlyArray<string>
  /** Parses arguments, which begin with the name of the command. */
  readonly parse: (args: ReadonlyArray<string>) => Effect.Effect<A, unknown, R>
  /** Takes the options of the new file. Fails, and changes nothing, when they have a fault. */
  readonly change: (given: A) => Effect.Effect<void, ValidationError.ValidationError>
}

/**
 * Reads the configuration file again when it changes and at SIGHUP, until the scope closes. The command line still
 * wins. A file with a fault changes nothing, and the log tells the fault in one line.
 */
export const follow = <A, R>({ change, changing, parse, subcommand }: Reload<A, R>) =>
  Effect.gen(function*() {
    const typed = yield* Typed
    if (typed?.origin === undefined) return
    const { path, text } = typed.origin
    let { config } = typed.origin
    const reload = (text: string) =>
      Effect.gen(function*() {
        const expanded = yield* expand([subcommand], typed.typed, text)
        yield* placing(expanded)(Effect.flatMap(parse(expanded.args), change))
        const next = expanded.origin?.config ?? {}
        yield* Changes.tell(path, config, next, changing)
        config = next
      })
    yield* Followed.follow(path, text, (text) =>
      Effect.catchAll(reload(text), (error) => {
        const fault = ValidationError.isValidationError(error) ? plain(error.error) : String(error)
        return Effect.logWarning(`${fault.replace(/^--config: /, "")}; the former forwards stay`)
      }))
  })
