import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { spawn } from "node:child_process"
import { fileURLToPath } from "node:url"
import { within } from "../../support/within.js"
import { makeWaits } from "./waits.js"

/** A process of the command line. */
export interface Wsmux {
  readonly pid: number
  /** The standard output so far. */
  readonly stdout: () => string
  readonly stderr: () => string
  /** Awaits the first whole line of either output that matches. Dies when the process ends without such a line. */
  readonly awaitLine: (pattern: RegExp) => Effect.Effect<RegExpExecArray>
  /** Awaits an output after which the condition holds. */
  readonly awaitOutput: (holds: () => boolean) => Effect.Effect<void>
  readonly signal: (name: NodeJS.Signals) => Effect.Effect<void>
  /** Closes the reading ends of both outputs. */
  readonly stopReading: Effect.Effect<void>
  /** Awaits the exit code. Completes after every process that inherited the outputs has closed them. */
  readonly exit: Effect.Effect<number | null>
}

export interface Options {
  readonly env?: Readonly<Record<string, string>>
  readonly cwd?: string
  /** A single executable in place of the built command. The process then has no environment but `env`. */
  readonly executable?: string
  /** The signal by which the scope ends the process. SIGTERM suits a command with child processes. */
  readonly last?: "SIGKILL" | "SIGTERM"
}

/** The ways to start the command, over a function that launches it. Scopes end it by the signal `last`. */
export const startsOf = (
  launch: (args: ReadonlyArray<string>, options: Options) => Wsmux,
  last: NonNullable<Options["last"]>
) => {
  /** Starts a command with these arguments. The scope ends the process. */
  const start = (args: ReadonlyArray<string>, options: Options = {}): Effect.Effect<Wsmux, never, Scope.Scope> =>
    Effect.acquireRelease(
      Effect.sync(() => launch(unresumed(args), options)),
      ({ exit, signal }) => Effect.zipRight(signal(options.last ?? last), exit)
    )

  /** Runs a command to its end. */
  const run = (args: ReadonlyArray<string>, options?: Options) =>
    Effect.scoped(Effect.gen(function*() {
      const wsmux = yield* start(args, options)
      const code = yield* wsmux.exit
      return { code, stdout: wsmux.stdout(), stderr: wsmux.stderr() }
    }))

  /** Starts `wsmux serve` on a free port. Succeeds with the URL, too. */
  const serve = (target: number, args: ReadonlyArray<string> = [], options?: Options) =>
    Effect.gen(function*() {
      const wsmux = yield* start(
        ["serve", ...args, "--listen", "127.0.0.1:0", "--target", `127.0.0.1:${target}`],
        options
      )
      const [, url] = yield* wsmux.awaitLine(/^listening on (wss?:\/\/\S+:\d+), forwarding to /)
      return { ...wsmux, url: url! }
    })

  /** Starts `wsmux connect` on a free port. Succeeds with the port, too. */
  const connect = (url: string, args: ReadonlyArray<string> = [], options?: Options) =>
    Effect.gen(function*() {
      const wsmux = yield* start(["connect", ...args, url, "--listen", "127.0.0.1:0"], options)
      const [, port] = yield* wsmux.awaitLine(/^listening on 127\.0\.0\.1:(\d+), forwarding through /)
      return { ...wsmux, port: Number(port) }
    })

  /** Starts both commands. The tunnel forwards connections to `client.port` to the target. */
  const tunnel = (
    target: number,
    args: { readonly connect?: ReadonlyArray<string>; readonly serve?: ReadonlyArray<string> } = {}
  ) =>
    Effect.gen(function*() {
      const server = yield* serve(target, args.serve)
      const client = yield* connect(server.url, args.connect)
      return { server, client }
    })

  return { start, run, serve, connect, tunnel }
}

/** What a running command prints, and how it ends, for those who wait for that. */
export const makeOutputs = (args: ReadonlyArray<string>) => {
  let stdout = ""
  let stderr = ""
  let ended: { readonly code: number | null } | undefined
  const { until, wake } = makeWaits()
  const ofOutputs: Pick<Wsmux, "awaitLine" | "awaitOutput" | "exit" | "stderr" | "stdout"> = {
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
      }).pipe(within("1 minute", `a line like ${pattern} of wsmux ${args.join(" ")}`)),
    awaitOutput: (holds) => until(() => holds() ? Effect.void : undefined),
    exit: until(() => ended && Effect.succeed(ended.code))
  }
  return {
    ofOutputs,
    stdout: (text: string) => {
      stdout += text
      wake()
    },
    stderr: (text: string) => {
      stderr += text
      wake()
    },
    ended: (code: number | null) => {
      ended = { code }
      wake()
    }
  }
}

/** The logged messages of a level. */
export const logged = (wsmux: Wsmux, level: "DEBUG" | "INFO" | "WARN"): ReadonlyArray<string> =>
  wsmux.stderr().split("\n").flatMap((line) => {
    const match = /level=(\S+) .*?message=(?:"(.*?)(?<!\\)"|(\S+))/.exec(line)
    return match !== null && match[1] === level ? [match[2] ?? match[3]!] : []
  })

const bin = fileURLToPath(new URL("../../../dist/cli/bin.js", import.meta.url))

/** Most suites mean a session that ends with its WebSocket. Those that mean the default say `--resume default`. */
const unresumed = (args: ReadonlyArray<string>): ReadonlyArray<string> => {
  if (args[0] !== "connect") return args
  const at = args.indexOf("--resume")
  if (at < 0) return ["connect", "--resume", "off", ...args.slice(1)]
  return args[at + 1] === "default" ? [...args.slice(0, at), ...args.slice(at + 2)] : args
}

const launch = (args: ReadonlyArray<string>, { cwd, env, executable }: Options): Wsmux => {
  const inherited = executable === undefined
    ? Object.entries(process.env).filter(([name]) => !name.startsWith("WSMUX_"))
    : []
  const [command, script] = executable === undefined ? [process.execPath, [bin]] : [executable, []]
  const child = spawn(command, [...script, ...args], {
    cwd,
    env: { ...Object.fromEntries(inherited), ...env },
    stdio: ["ignore", "pipe", "pipe"]
  })
  const { ended, ofOutputs, stderr, stdout } = makeOutputs(args)
  child.stdout.setEncoding("utf8").on("data", stdout)
  child.stderr.setEncoding("utf8").on("data", stderr)
  child.on("close", ended)
  return {
    ...ofOutputs,
    pid: child.pid!,
    signal: (name) => Effect.sync(() => child.kill(name)),
    stopReading: Effect.sync(() => {
      child.stdout.destroy()
      child.stderr.destroy()
    })
  }
}

export const { connect, run, serve, start, tunnel } = startsOf(launch, "SIGKILL")
