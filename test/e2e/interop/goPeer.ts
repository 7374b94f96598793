import { describe } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Queue from "effect/Queue"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import { type ChildProcess, spawn } from "node:child_process"
import { createInterface } from "node:readline"
import { inject, type TestOptions } from "vitest"
import { sendSignal } from "../../support/signals.js"
import { within } from "../../support/within.js"
import type {} from "./build.js"

const built = inject("goPeer")

/** A suite whose name tells which Go peer ran. Vitest skips the suite on a machine without Go. */
export const describeGo = (name: string, suite: () => void, options: TestOptions = {}): void => {
  describe.runIf(built !== null)(`${name} (${built?.kind ?? "no Go"})`, options, suite)
}

/** Whether the peer is the stand-in, whose scheduling a test can choose. */
export const isStandIn = built?.kind === "stand-in"

/** The peer's command line, which the README of the peer explains. */
export interface Flags {
  readonly listen?: string
  readonly dial?: string
  readonly proxy?: string
  readonly tunnel?: string
  readonly token?: string
  readonly redial?: string
  readonly role?: "client" | "server"
  readonly buffer?: number
  readonly keepalive?: string
  readonly "accept-deadline"?: string
  readonly overrun?: "fail" | "hole" | "any"
  readonly serve?: "echo" | "sink" | "source" | "http" | "hold" | "none"
  readonly open?: "echo" | "sink" | "source" | "http" | "none"
  readonly streams?: number
  readonly opening?: number
  readonly bytes?: number
  readonly "repeat-for"?: string
  readonly close?: boolean
}

const Line = Schema.parseJson(Schema.Union(
  Schema.Struct({ event: Schema.Literal("listening"), address: Schema.String }),
  Schema.Struct({
    event: Schema.Literal("result"),
    streams: Schema.Number,
    bytes: Schema.Number,
    ok: Schema.Boolean,
    failed: Schema.Number,
    errors: Schema.Array(Schema.String),
    seconds: Schema.Number,
    rounds: Schema.Number
  }),
  Schema.Struct({ event: Schema.Literal("closed") }),
  Schema.Struct({ event: Schema.Literal("error"), message: Schema.String })
))

type Event = typeof Line.Type | { readonly event: "exited"; readonly code: number | null }

export interface GoProcess {
  /** Takes the next event of the peer, and dies when the event is of another kind. */
  readonly next: <K extends Event["event"]>(kind: K) => Effect.Effect<Extract<Event, { readonly event: K }>>
  readonly signal: (signal: "SIGKILL" | "SIGSTOP" | "SIGCONT") => Effect.Effect<void>
}

/** Starts a peer. The end of the scope, or of this process, ends the peer. */
export const start = (flags: Flags): Effect.Effect<GoProcess, never, Scope.Scope> =>
  Effect.gen(function*() {
    const events = yield* Queue.unbounded<Event>()
    const child = yield* Effect.acquireRelease(Effect.sync(() => launch(flags)), kill)
    let complaints = ""
    child.stderr.on("data", (text) => {
      complaints += text
    })
    createInterface(child.stdout).on("line", (line) => events.unsafeOffer(Schema.decodeSync(Line)(line)))
    child.on("close", (code) => events.unsafeOffer({ event: "exited", code }))

    const next: GoProcess["next"] = (kind) =>
      Effect.flatMap(
        // a load of 64 MiB is the longest work of a peer
        Queue.take(events).pipe(within("90 seconds", `the event "${kind}" of the Go peer`)),
        (event) =>
          isOf(event, kind)
            ? Effect.succeed(event)
            : Effect.dieMessage(`the Go peer sent ${JSON.stringify(event)} instead of ${kind}; ${complaints}`)
      )
    return { next, signal: (signal) => sendSignal(child, signal) }
  })

const launch = (flags: Flags) => {
  const args = Object.entries(flags).map(([flag, value]) => `-${flag}=${value}`)
  return spawn(built!.path, ["-stdin", ...args], { stdio: ["pipe", "pipe", "pipe"] })
}

const kill = (child: ChildProcess): Effect.Effect<void> =>
  Effect.async((resume) => {
    if (child.exitCode !== null || child.signalCode !== null) return resume(Effect.void)
    child.once("exit", () => resume(Effect.void))
    child.kill("SIGKILL")
  })

const isOf = <K extends Event["event"]>(event: Event, kind: K): event is Extract<Event, { readonly event: K }> =>
  event.event === kind
