import * as FileSystem from "@effect/platform/FileSystem"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as Followed from "../followed.js"
import type { Rules } from "../policy/policy.js"
import * as Rule from "../policy/rule.js"
import * as Changes from "./changes.js"
import { placeOf } from "./fault.js"
import { type Config, parse } from "./file.js"

/** A configuration file of a server, with the options that its command declares. */
export const Source = Schema.Struct({
  path: Schema.String,
  options: Schema.Array(Schema.Struct({ name: Schema.String, kind: Schema.Literal("flag", "text", "texts") }))
})

export type Source = typeof Source.Type

/** The options that change at run time, with the rules that they hold. */
const changing = { allow: ["connect", Rule.parse], "allow-remote": ["listen", Rule.parseListen] } as const

/**
 * Reads the rules of a configuration file again when it changes and at SIGHUP. Sessions stay, and their next open is
 * judged by the new rules. A file with a fault changes nothing. Rules of the command line stay, since they win. Without
 * `given`, the rules stand in a file of their own, and nothing changes at run time but that file.
 */
export const follow = (
  { options, path }: Source,
  given: Option.Option<Rules>
): Effect.Effect<() => Rules, never, FileSystem.FileSystem | Scope.Scope> =>
  Effect.gen(function*() {
    const files = yield* FileSystem.FileSystem
    const text = yield* Effect.orElseSucceed(files.readFileString(path), () => "")
    let config = Either.getOrElse(parse(text, options, false), (): Config => ({}))
    let rules = Option.getOrElse(given, (): Rules => ({ connect: [], listen: [] }))
    const names = Option.isSome(given) ? ["allow", "allow-remote"] as const : []
    // those that the command line has not
    const followed = names.filter((name) =>
      Option.exists(rulesOf(config, name), (first) => written(first) === written(rules[changing[name][0]]))
    )
    const use = (next: Config, text: string) => {
      const read = Option.all(
        followed.map((name) => Option.map(rulesOf(next, name), (rules) => [name, rules] as const))
      )
      if (Option.isNone(read)) {
        const name = followed.find((name) => Option.isNone(rulesOf(next, name)))!
        const index = textsOf(next, name).findIndex((text) => Option.isNone(changing[name][1](text)))
        return warn(`${path}:${placeOf(text, name, index)}: ${name}: expected host:ports or a path`)
      }
      for (const [name, of] of read.value) rules = { ...rules, [changing[name][0]]: of }
      const telling = Changes.tell(path, config, next, names)
      config = next
      return telling
    }
    const warn = (fault: string) => Effect.logWarning(`${fault}; the former rules stay in force`)
    yield* Followed.follow(path, text, (current) =>
      Either.match(parse(current, options, false), {
        onLeft: (faults) => warn(`${path}:${faults.join("; ")}`),
        onRight: (next) => use(next, current)
      }))
    return () => rules
  })

const rulesOf = (config: Config, name: keyof typeof changing): Option.Option<ReadonlyArray<Rule.Rule>> =>
  Option.all(textsOf(config, name).map((text) => changing[name][1](text)))

const textsOf = (config: Config, name: keyof typeof changing): ReadonlyArray<string> =>
  [config[name] ?? []].flat().map(String)

const written = (rules: ReadonlyArray<Rule.Rule>): string => rules.map(Rule.format).join(" ")
