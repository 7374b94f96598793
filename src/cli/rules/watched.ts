import * as FileSystem from "@effect/platform/FileSystem"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import type * as Scope from "effect/Scope"
import * as Followed from "../followed.js"
import { expectedPath, usage } from "../options.js"
import { parse, type RulesFile } from "./file.js"
import { make, type Users } from "./users.js"

/** Reads a rules file. Fails with a fault of the command line. */
export const read = (path: string) =>
  Effect.gen(function*() {
    if (path === "") return yield* usage(`--rules: ${expectedPath}`)
    const files = yield* FileSystem.FileSystem
    const text = yield* Effect.catchAll(files.readFileString(path), () => usage(`--rules: ${path} cannot be read`))
    return yield* Either.match(parse(text), {
      onLeft: (faults) => usage(`--rules: ${faults.map((fault) => `${path}:${fault}`).join("; ")}`),
      onRight: (file) => Effect.succeed({ file, text })
    })
  })

/**
 * Reads a rules file, and again when it changes and at SIGHUP. A file with a fault changes nothing, and is logged.
 * Sessions that run stay; their next open is judged by the new rules.
 */
export const watch = (path: string): Effect.Effect<
  Users,
  Effect.Effect.Error<ReturnType<typeof read>>,
  FileSystem.FileSystem | Scope.Scope
> =>
  Effect.gen(function*() {
    const first = yield* read(path)
    let users = make(first.file)
    const use = (file: RulesFile) => {
      users = make(file)
      return Effect.logInfo(`read ${path} again: ${Object.keys(file.users).length} users`)
    }
    yield* Followed.follow(path, first.text, (text) =>
      Either.match(parse(text), {
        onLeft: (faults) => Effect.logWarning(`${path}:${faults.join("; ")}; the former rules stay in force`),
        onRight: use
      }))
    return {
      authenticate: (request) => users.authenticate(request),
      isCurrent: (client) => users.isCurrent(client),
      decide: (user, target) => users.decide(user, target)
    }
  })
