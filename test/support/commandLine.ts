import * as ConfigProvider from "effect/ConfigProvider"
import type * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import { main } from "../../src/cli/main.js"

/** Runs the command line in this process, with these environment variables alone. */
export const run = (args: ReadonlyArray<string>, env: Readonly<Record<string, string>> = {}) =>
  Effect.gen(function*() {
    const [stdout, stderr]: [Array<string>, Array<string>] = [[], []]
    const print = (lines: Array<string>): Console.Console["log"] => (...texts) =>
      Effect.sync(() => void lines.push(`${texts.join(" ")}\n`))
    const code = yield* Effect.consoleWith((console) =>
      Effect.withConsole(main(["node", "wsmux", ...args]), { ...console, log: print(stdout), error: print(stderr) })
    ).pipe(Effect.withConfigProvider(ConfigProvider.fromMap(new Map(Object.entries(env)))))
    return { code, stdout: stdout.join(""), stderr: stderr.join("") }
  })
