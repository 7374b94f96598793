import * as FileSystem from "@effect/platform/FileSystem"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Option from "effect/Option"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as Hangup from "../hangup.js"
import type { Rules } from "../policy/policy.js"
import * as Rule from "../policy/rule.js"
import * as Systemd from "../systemd.js"
import { type Config, parse } from "./file.js"

/** A configuration file of a server, with the options that its command declares. */
export const Source = Schema.Struct({
  path: Schema.String,
  options: Schema.Array(Schema.Struct({ name: Schema.String, kind: Schema.Literal("flag", "text", "texts") }))
})

export type Source = typeof Source.Type

/** How often the file is looked at, as a rules file is. */
const interval = "1 second"

/** The options that change at run time, with the rules that they hold. */
const changing = { allow: ["connect", Rule.parse], "allow-remote": ["listen", Rule.parseListen] } as const

/**
 * Reads the rules of a configuration file again when it changes and at SIGHUP. Sessions stay, and their next open is
 * judged by the new rules. A file with a fault changes nothing. Rules of the command line stay, since they win.
 */
export const follow = (
  { options, path }: Source,
  given: Rules
): Effect.Effect<() => Rules, never, FileSystem.FileSystem | Scope.Scope> =>
  Effect.gen(function*() {
    const files = yield* FileSystem.FileSystem
    let text = yield* Effect.orElseSucceed(files.readFileString(path), () => "")
    let config = Either.getOrElse(parse(text, options, false), (): Config => ({}))
    let rules = given
    const ofFile = (config: Config) => Option.all([rulesOf(config, "allow"), rulesOf(config, "allow-remote")])
    const first = Option.getOrElse(ofFile(config), () => [[], []] as const)
    const followed = (["allow", "allow-remote"] as const).filter((name, i) =>
      written(first[i]!) === written(given[changing[name][0]])
    )
    const use = (next: Config) => {
      const read = Option.all(
        followed.map((name) => Option.map(rulesOf(next, name), (rules) => [name, rules] as const))
      )
      if (Option.isNone(read)) return warn(`${path}: ${followed.join(", ")}: expected host:ports or a path`)
      for (const [name, of] of read.value) rules = { ...rules, [changing[name][0]]: of }
      const changed = [...new Set([...Object.keys(config), ...Object.keys(next)])].filter((name) =>
        !(name in changing) && JSON.stringify(config[name]) !== JSON.stringify(next[name])
      )
      config = next
      return Effect.zipRight(
        Effect.logInfo(`read ${path} again`),
        changed.length === 0
          ? Effect.void
          : Effect.logWarning(`${path}: ${changed.join(", ")}: changed at a restart only`)
      )
    }
    const warn = (fault: string) => Effect.logWarning(`${fault}; the former rules stay in force`)
    const reload = Effect.flatMap(files.readFileString(path), (current) => {
      if (current === text) return Effect.void
      text = current
      return Either.match(parse(current, options, false), {
        onLeft: ([fault]) => warn(`${path}:${fault}`),
        onRight: use
      })
    }).pipe(Effect.catchAll(() => Effect.void)) // an editor may be replacing the file
    yield* Effect.forkScoped(Effect.repeat(Effect.delay(reload, interval), Schedule.forever))
    yield* Hangup.handle(Systemd.reloading(reload))
    return () => rules
  })

const rulesOf = (config: Config, name: keyof typeof changing): Option.Option<ReadonlyArray<Rule.Rule>> =>
  Option.all([config[name] ?? []].flat().map((text) => changing[name][1](String(text))))

const written = (rules: ReadonlyArray<Rule.Rule>): string => rules.map(Rule.format).join(" ")
