import { describe, expect, it } from "@effect/vitest"
import * as ByteStream from "effect-wsmux/ByteStream"
import type { MuxStream } from "effect-wsmux/MuxStream"
import * as NodeTransport from "effect-wsmux/NodeTransport"
import * as ReconnectingSession from "effect-wsmux/ReconnectingSession"
import * as Session from "effect-wsmux/Session"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import { buildProgram, Child } from "../../support/child.js"
import { connect } from "../../support/rpc.js"
import { eventually } from "../../support/transports.js"
import { patience, within } from "../../support/within.js"
import type { Question } from "./server.js"

/**
 * A loopback address that no other process uses, so that the port stays free between two servers. Systems other than
 * Linux have one loopback address.
 */
const host = process.platform === "linux" ? "127.83.119.112" : "127.0.0.1"

const restarts = 3
const busyUsers = 8
const callers = 4
const slowUsers = 4

/** A slow stream lives for half a second: longer than the begin of a drain takes, and shorter than the grace. */
const pieces = 20
const pauseMillis = 25

const built = buildProgram(new URL("./server.ts", import.meta.url))

/** Starts a server process. Completes when the server listens. */
const startServer = (port: string) =>
  Effect.gen(function*() {
    const program = yield* Effect.promise(() => built)
    const child = yield* Effect.acquireRelease(
      Effect.sync(() => new Child(program, [host, port])),
      (child) => Effect.promise(() => child.stop())
    )
    const ask = (question: Question) =>
      Effect.promise(() => child.ask<string>(question)).pipe(within(patience, `the server's answer to ${question}`))
    return { address: yield* ask("address"), drain: ask("drain"), drained: ask("drained") }
  })

/** Sends a message and its end, and reads the message back. */
const exchange = (message: string) => (stream: MuxStream) =>
  Effect.zipRight(ByteStream.writeEnd(stream, message), ByteStream.readText(stream))

/** Sends numbers with pauses, then the end, and reads all of them back. */
const exchangeSlowly = (stream: MuxStream) =>
  Effect.gen(function*() {
    const answer = yield* Effect.fork(ByteStream.readText(stream))
    for (let i = 0; i < pieces; i++) {
      yield* stream.write(new TextEncoder().encode(`${i} `))
      yield* Effect.sleep(pauseMillis)
    }
    yield* stream.end
    return yield* Fiber.join(answer)
  })
const slowAnswer = Array.from({ length: pieces }, (_, i) => `${i} `).join("")

describe("a rolling restart", () => {
  it.scopedLive("ReconnectingSession fails no open and no call when its server restarts 3 times", () =>
    Effect.gen(function*() {
      let server = yield* startServer("0")
      const { address } = server
      const session = yield* ReconnectingSession.make({
        transport: NodeTransport.connect(`ws://${address}`),
        settings: { dialect: "auto" }
      })
      const faults: Array<string> = []
      const sessions = new Set<unknown>()
      let [exchanges, calls, slowExchanges] = [0, 0, 0]
      const api = yield* connect(session)
      /** Asks, and notes each failure and each wrong answer. */
      const use = <E>(expected: string, ask: Effect.Effect<string, E>) =>
        ask.pipe(
          Effect.map((answer) => answer === expected || faults.push(`${answer} in place of ${expected}`)),
          Effect.catchAllCause((cause) => Effect.sync(() => faults.push(Cause.pretty(cause))))
        )
      const over = (exchange: (stream: MuxStream) => Effect.Effect<string, unknown>) =>
        Session.withStream(session, exchange, { label: "echo" })
      const busy = Effect.suspend(() => use(`message ${exchanges}`, over(exchange(`message ${exchanges++}`))))
      const calling = Effect.suspend(() => use(`call ${calls}`, api.Echo({ text: `call ${calls++}` })))
      const slow = Effect.map(use(slowAnswer, over(exchangeSlowly)), () => slowExchanges++)
      const inTurn = Effect.sleep("2 millis") // leaves processor time to the server and to other suites
      yield* Effect.forEach(Array(busyUsers), () => Effect.forkScoped(Effect.forever(Effect.zip(busy, inTurn))))
      yield* Effect.forEach(Array(callers), () => Effect.forkScoped(Effect.forever(Effect.zip(calling, inTurn))))
      yield* Effect.forEach(Array(slowUsers), () => Effect.forkScoped(Effect.forever(slow)))

      for (let i = 0; i < restarts; i++) {
        yield* eventually(() => slowExchanges >= slowUsers * (i + 1))
        sessions.add(yield* session.current)
        const old = server
        yield* old.drain
        server = yield* startServer(address.split(":")[1]!)
        const [begun, called] = [exchanges, calls]
        yield* eventually(() => exchanges >= begun + 10 * busyUsers && calls >= called + 10 * callers)
        yield* old.drained
      }
      sessions.add(yield* session.current)
      expect(faults).toEqual([])
      expect(sessions.size).toBe(restarts + 1)
    }))
})
