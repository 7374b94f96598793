import * as NodeTransport from "effect-wsmux/NodeTransport"
import * as ReconnectingSession from "effect-wsmux/ReconnectingSession"
import * as Session from "effect-wsmux/Session"
import { Transport } from "effect-wsmux/Transport"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Schedule from "effect/Schedule"
import { answering, memory } from "../../support/answering.js"
import type { Question, Report } from "./main.js"
import { settings } from "./server.js"
import { random, type Tally, work } from "./tasks.js"

export interface ClientOptions {
  readonly url: string
  readonly workers: number
  readonly seed: number
}

/** The number of sessions that the workers of a process share. */
const sessions = 3

const schedule = Schedule.spaced("100 millis")

/** Runs reconnecting sessions and workers that use them, until the parent sends `finish`. */
export const client = ({ seed, url, workers }: ClientOptions): void => {
  const tally: Tally = { streams: 0, bytes: 0, broken: 0, mismatches: [] }
  const connect = NodeTransport.connect(url)
  const dial = Effect.flatMap(
    connect,
    (transport) => Effect.provideService(Session.makeClient(settings), Transport, transport)
  )

  const program = Effect.gen(function*() {
    const shared = yield* Effect.replicateEffect(
      ReconnectingSession.make({ transport: connect, schedule, settings }),
      sessions
    )
    yield* Effect.forEach(
      Array.from({ length: workers }, (_, i) => i),
      (i) => work(tally, { session: shared[i % sessions]!, dial }, random(seed * 1000 + i)),
      { concurrency: "unbounded" }
    )
  })
  const fiber = Effect.runFork(Effect.scoped(program))

  answering(async ({ ask }: Question): Promise<Report> => {
    if (ask === "finish") await Effect.runPromise(Fiber.interrupt(fiber))
    const { broken, bytes, mismatches, streams } = tally
    return {
      ...await memory(),
      streams,
      bytes,
      broken,
      mismatches: mismatches.splice(0),
      left: process.getActiveResourcesInfo().filter((name) => name === "TCPSocketWrap").length
    }
  })
}
