import { expect } from "@effect/vitest"
import * as NodeTransport from "effect-wsmux/NodeTransport"
import * as Session from "effect-wsmux/Session"
import { Transport } from "effect-wsmux/Transport"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import type { Memory } from "../../support/answering.js"
import { pattern } from "../../support/bytes.js"
import { buildInOneFile, Child } from "../../support/child.js"
import { readAll } from "../../support/sessions.js"
import { within } from "../../support/within.js"
import type { Condition, Options, Question } from "./victim.js"

/** Whether attacks run at their whole length, which `WSMUX_ATTACKS=full` asks for. */
export const isFull = process.env.WSMUX_ATTACKS === "full"
export const full = (whole: number, bounded: number): number => isFull ? whole : bounded

export const mebibyte = 1 << 20

/** Bytes that a server holds for its own reasons: pools of buffers, compiled code. */
export const slack = 4 * mebibyte

/** Bytes of a stream whose handler waits: the fiber, its scope, and the stages of an Effect `Stream`. */
export const perHandler = { plain: 12 * 1024, stream: 48 * 1024 }

/** Bytes of an idle session: its sockets and its few fibers. */
export const perSession = 104 * 1024

/** How long one attack may take in milliseconds. */
export const patience = full(600_000, 120_000)

const built = buildInOneFile(new URL("./victim.ts", import.meta.url))

/** Starts a server in a process of its own, with further flags for Node. */
export const makeVictim = (options: Options = {}, flags: ReadonlyArray<string> = []) =>
  Effect.gen(function*() {
    const program = yield* Effect.promise(() => built)
    const child = yield* Effect.acquireRelease(
      Effect.sync(() => new Child(program, [JSON.stringify(options)], flags)),
      (child) => Effect.promise(() => child.stop())
    )
    const ask = <A>(what: Question["ask"]) => Effect.promise(() => child.ask<A>({ ask: what }))
    const { port } = yield* ask<{ readonly port: number }>("port")
    const condition = ask<Condition>("condition")
    return {
      port,
      condition,
      /** Bytes in use, of the heap and beside the heap, after a collection of garbage. */
      memory: Effect.map(ask<Memory>("memory"), ({ external, heap }) => heap + external),
      /** Asks until the condition holds, and completes with that condition. */
      until: (holds: (condition: Condition) => boolean) =>
        Effect.repeat(condition, { until: holds }).pipe(
          within(full(500, 100) * 1000, `the condition ${String(holds)} of the server`)
        )
    }
  })

export type Victim = Effect.Effect.Success<ReturnType<typeof makeVictim>>

/**
 * Runs an attack while another client of the victim has stream after stream echoed. Each echo must succeed. The attack
 * gets the memory that the victim used before.
 */
export const attacking = <A, E, R>(victim: Victim, attack: (before: number) => Effect.Effect<A, E, R>) =>
  Effect.gen(function*() {
    const transport = yield* NodeTransport.connect(`ws://127.0.0.1:${victim.port}/neighbour`)
    const session = yield* Effect.provideService(
      Session.makeClient({ keepAliveInterval: "1 minute" }),
      Transport,
      transport
    )
    const content = pattern(3000)
    let served = 0
    const exchange = Effect.scoped(Effect.gen(function*() {
      const stream = yield* session.open()
      const [back] = yield* Effect.all([
        readAll(stream),
        Effect.zipRight(stream.write(content), stream.end)
      ], { concurrency: 2 })
      expect(back).toEqual(content)
      served++
    }))
    yield* Effect.repeatN(exchange, 20) // compiles the code and fills the pools that every run needs
    const before = yield* victim.memory
    const neighbour = yield* Effect.fork(Effect.forever(exchange))
    const beforehand = served
    const answer = yield* attack(before)
    expect(served).toBeGreaterThan(beforehand)
    expect(neighbour.unsafePoll()).toBe(null)
    yield* Fiber.interrupt(neighbour)
    yield* exchange
    return answer
  })

/** Prints the figures of an attack. */
export const report = (attack: string, figures: Readonly<Record<string, number | string>>): Effect.Effect<void> =>
  Effect.sync(() => {
    const texts = Object.entries(figures).map(([name, value]) => {
      const rounded = typeof value === "number" ? Math.round(value * 100) / 100 : value
      return `${typeof rounded === "number" ? rounded.toLocaleString("en") : rounded} ${name}`
    })
    console.log(`${attack}: ${texts.join(", ")}`)
  })
