import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { spawn } from "node:child_process"
import { fileURLToPath } from "node:url"
import { makeWaits } from "./waits.js"

/** The command line as a process of its own. */
export interface Wsmux {
  readonly pid: number
  /** What it has printed so far. */
  readonly stdout: () => string
  readonly stderr: () => string
  /** The first whole line of either output that matches, there or still to come. A defect if it ends without one. */
  readonly awaitLine: (pattern: RegExp) => Effect.Effect<RegExpExecArray>
  readonly signal: (name: NodeJS.Signals) => Effect.Effect<void>
  /** Stops reading its outputs, as a pipe's reader that ends does. */
  readonly stopReading: Effect.Effect<void>
  /** Its exit code, once its outputs are closed too: by it, and by every process that inherited them. */
  readonly exit: Effect.Effect<number | null>
}

export interface Options {
  readonly env?: Readonly<Record<string, string>>
  readonly cwd?: string
  /** How the scope ends it. Gently, for a command that has processes of its own to end. */
  readonly last?: "SIGKILL" | "SIGTERM"
}

/** Starts a command with these arguments; the scope ends it. */
export const start = (args: ReadonlyArray<string>, options: Options = {}): Effect.Effect<Wsmux, never, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.sync(() => launch(args, options)),
    ({ exit, signal }) => Effect.zipRight(signal(options.last ?? "SIGKILL"), exit)
  )

/** Runs a command to its end. */
export const run = (args: ReadonlyArray<string>, options?: Options) =>
  Effect.scoped(Effect.gen(function*() {
    const wsmux = yield* start(args, options)
    const code = yield* wsmux.exit
    return { code, stdout: wsmux.stdout(), stderr: wsmux.stderr() }
  }))

/** `wsmux serve` on a free port, and the URL where it listens. */
export const serve = (target: number, args: ReadonlyArray<string> = [], options?: Options) =>
  Effect.gen(function*() {
    const wsmux = yield* start(
      ["serve", ...args, "--listen", "127.0.0.1:0", "--target", `127.0.0.1:${target}`],
      options
    )
    const [, url] = yield* wsmux.awaitLine(/^listening on (wss?:\/\/\S+:\d+), forwarding to /)
    return { ...wsmux, url: url! }
  })

/** `wsmux connect` on a free port, and the port. */
export const connect = (url: string, args: ReadonlyArray<string> = [], options?: Options) =>
  Effect.gen(function*() {
    const wsmux = yield* start(["connect", ...args, url, "--listen", "127.0.0.1:0"], options)
    const [, port] = yield* wsmux.awaitLine(/^listening on 127\.0\.0\.1:(\d+), forwarding through /)
    return { ...wsmux, port: Number(port) }
  })

/** Both: what connects to `client.port` is forwarded to the target. */
export const tunnel = (target: number, args: { readonly connect?: ReadonlyArray<string> } = {}) =>
  Effect.gen(function*() {
    const server = yield* serve(target)
    const client = yield* connect(server.url, args.connect)
    return { server, client }
  })

/** The messages that were logged at a level. */
export const logged = (wsmux: Wsmux, level: "DEBUG" | "INFO" | "WARN"): ReadonlyArray<string> =>
  wsmux.stderr().split("\n").flatMap((line) => {
    const match = /level=(\S+) .*?message=(?:"(.*?)(?<!\\)"|(\S+))/.exec(line)
    return match !== null && match[1] === level ? [match[2] ?? match[3]!] : []
  })

const bin = fileURLToPath(new URL("../../../dist/cli/bin.js", import.meta.url))

const launch = (args: ReadonlyArray<string>, { cwd, env }: Options): Wsmux => {
  const inherited = Object.entries(process.env).filter(([name]) => !name.startsWith("WSMUX_"))
  const child = spawn(process.execPath, [bin, ...args], {
    cwd,
    env: { ...Object.fromEntries(inherited), ...env },
    stdio: ["ignore", "pipe", "pipe"]
  })
  let stdout = ""
  let stderr = ""
  let ended: { readonly code: number | null } | undefined
  const { until, wake } = makeWaits()
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    stdout += text
    wake()
  })
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    stderr += text
    wake()
  })
  child.on("close", (code) => {
    ended = { code }
    wake()
  })

  return {
    pid: child.pid!,
    stdout: () => stdout,
    stderr: () => stderr,
    awaitLine: (pattern) =>
      until(() => {
        for (const output of [stdout, stderr]) {
          for (const line of output.split("\n").slice(0, -1)) {
            const match = pattern.exec(line)
            if (match !== null) return Effect.succeed(match)
          }
        }
        return ended && Effect.dieMessage(`wsmux ${args.join(" ")} ended without ${pattern}: ${stdout}${stderr}`)
      }),
    signal: (name) => Effect.sync(() => child.kill(name)),
    stopReading: Effect.sync(() => {
      child.stdout.destroy()
      child.stderr.destroy()
    }),
    exit: until(() => ended && Effect.succeed(ended.code))
  }
}
