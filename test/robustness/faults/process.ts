import * as Effect from "effect/Effect"
import * as Queue from "effect/Queue"
import type * as Scope from "effect/Scope"
import { build } from "esbuild"
import { type ChildProcess, spawn } from "node:child_process"
import { fileURLToPath } from "node:url"
import { fromSources, inOneFile } from "../../support/bundle.js"
import { sendSignal } from "../../support/signals.js"
import { patience, within } from "../../support/within.js"

export interface Setting {
  readonly service: "echo" | "hold"
  readonly keepAliveInterval: number
}

/** A message to the process. */
export interface Command {
  readonly dial: string
}

/** A message of the process. */
export type Event =
  | { readonly event: "listening"; readonly url: string }
  | { readonly event: "dialled" }
  | { readonly event: "failed"; readonly tag: string; readonly reason: string; readonly code: string | undefined }
  | { readonly event: "ended"; readonly tag: string; readonly message: string }

export interface Peer {
  readonly pid: number
  readonly url: string
  readonly dial: (url: string) => Effect.Effect<void>
  /** Takes the next event of the peer, and dies when the event is of another kind. */
  readonly next: <K extends Event["event"]>(kind: K) => Effect.Effect<Extract<Event, { readonly event: K }>>
  readonly signal: (signal: "SIGKILL" | "SIGSTOP" | "SIGCONT") => Effect.Effect<void>
  /** Waits for the exit of the process. */
  readonly exit: Effect.Effect<void>
}

const here = (path: string): string => fileURLToPath(new URL(path, import.meta.url))

/** The program of the process, bundled from the sources. */
const program = Effect.runSync(Effect.cached(Effect.promise(async () => {
  const { outputFiles } = await build({
    ...inOneFile,
    alias: fromSources,
    entryPoints: [here("./peer.ts")],
    write: false
  })
  return outputFiles[0]!.text
})))

/** Starts a peer. The end of the scope, or of this process, ends the peer. */
export const startPeer = (setting: Setting): Effect.Effect<Peer, never, Scope.Scope> =>
  Effect.gen(function*() {
    const events = yield* Queue.unbounded<Event>()
    const source = yield* program
    const child = yield* Effect.acquireRelease(Effect.sync(() => launch(source, setting)), kill)
    child.on("message", (event: Event) => events.unsafeOffer(event))
    const next: Peer["next"] = (kind) =>
      Effect.flatMap(Queue.take(events).pipe(within(patience, `the event "${kind}" of the peer`)), (event) =>
        isOf(event, kind)
          ? Effect.succeed(event)
          : Effect.dieMessage(`the peer sent ${JSON.stringify(event)} instead of ${kind}`))
    const { url } = yield* next("listening")
    return {
      pid: child.pid!,
      url,
      dial: (url) =>
        Effect.sync(() =>
          child.send({ dial: url } satisfies Command)
        ),
      next,
      signal: (signal) => sendSignal(child, signal),
      exit: exitOf(child).pipe(within(patience, "the exit of the peer"))
    }
  })

/** Node reads the program from its standard input, so that the program finds the packages of this folder. */
const launch = (source: string, setting: Setting): ChildProcess => {
  const child = spawn(process.execPath, ["--input-type=module", "-", JSON.stringify(setting)], {
    cwd: here("../../.."),
    stdio: ["pipe", "inherit", "inherit", "ipc"]
  })
  child.stdin!.end(source)
  return child
}

const kill = (child: ChildProcess): Effect.Effect<void> =>
  Effect.zipRight(Effect.sync(() => child.kill("SIGKILL")), exitOf(child))

const exitOf = (child: ChildProcess): Effect.Effect<void> =>
  Effect.async((resume) => {
    if (child.exitCode !== null || child.signalCode !== null) return resume(Effect.void)
    child.once("exit", () => resume(Effect.void))
  })

const isOf = <K extends Event["event"]>(event: Event, kind: K): event is Extract<Event, { readonly event: K }> =>
  event.event === kind
