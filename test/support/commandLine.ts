import * as ConfigProvider from "effect/ConfigProvider"
import type * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import { main } from "../../src/cli/main.js"

/** Runs the command line in this process, with these environment variables alone. `print` takes what it prints. */
export const runPrinting = (
  args: ReadonlyArray<string>,
  env: Readonly<Record<string, string>>,
  print: Readonly<Record<"stderr" | "stdout", (text: string) => void>>
) => {
  const log = (...texts: ReadonlyArray<unknown>) => print.stdout(`${texts.join(" ")}\n`)
  const error = (...texts: ReadonlyArray<unknown>) => print.stderr(`${texts.join(" ")}\n`)
  return Effect.consoleWith((console) => {
    const printing: Console.Console = {
      ...console,
      log: (...texts) => Effect.sync(() => log(...texts)),
      error: (...texts) => Effect.sync(() => error(...texts)),
      unsafe: { ...console.unsafe, log, error }
    }
    return Effect.withConsole(main(["node", "wsmux", ...args]), printing)
  }).pipe(Effect.withConfigProvider(ConfigProvider.fromMap(new Map(Object.entries(env)))))
}

/** Runs the command line in this process to its end. */
export const run = (args: ReadonlyArray<string>, env: Readonly<Record<string, string>> = {}) =>
  Effect.suspend(() => {
    let [stdout, stderr] = ["", ""]
    const print = {
      stdout: (text: string) => void (stdout += text),
      stderr: (text: string) => void (stderr += text)
    }
    return Effect.map(runPrinting(args, env, print), (code) => ({ code, stdout, stderr }))
  })
