import { describe, expect, it } from "@effect/vitest"
import * as NodeTransport from "effect-wsmux/NodeTransport"
import * as Session from "effect-wsmux/Session"
import { Transport } from "effect-wsmux/Transport"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { pattern } from "../../support/bytes.js"
import { buildInOneFile, Child } from "../../support/child.js"
import { signal, webSocket } from "../../support/transports.js"
import type { Kind, Options, Question } from "./flooder.js"
import { full, isFull, makeVictim, patience, report } from "./support.js"

const programs = Promise.all([
  buildInOneFile(new URL("./flooder.ts", import.meta.url)),
  buildInOneFile(new URL("./bare.ts", import.meta.url))
])

const sockets = 16

/** How long each server is measured, in milliseconds. */
const measured = full(10_000, 2000)

/**
 * Half of the round trips take at most this long in milliseconds, on a busy machine, too. A server takes seconds when
 * one turn of its event loop handles all bytes that have come.
 */
const bound = 500

const makeChild = (program: string, args: ReadonlyArray<string> = []) =>
  Effect.acquireRelease(
    Effect.sync(() => new Child(program, args)),
    (child) => Effect.promise(() => child.stop())
  )

/** Floods a server while the scope is open, and answers with the number of frames that the server has taken. */
const flooding = (options: Options) =>
  Effect.gen(function*() {
    const [flooder] = yield* Effect.promise(() => programs)
    const child = yield* makeChild(flooder, [JSON.stringify(options)])
    return Effect.promise(() => child.ask<{ readonly frames: number }>({ ask: "sent" } satisfies Question))
  })

/** Measures round trips one after the other, and counts the frames that the server takes in this time. */
const measure = <E, R>(roundTrip: Effect.Effect<unknown, E, R>, sent: Effect.Effect<{ readonly frames: number }>) =>
  Effect.gen(function*() {
    const times: Array<number> = []
    yield* Effect.sleep(500) // the flood has begun
    const began = performance.now()
    const { frames: before } = yield* sent
    while (performance.now() - began < measured) {
      const asked = performance.now()
      yield* roundTrip.pipe(
        Effect.timeoutFail({ duration: "20 seconds", onTimeout: () => new Error("no round trip within 20 s") })
      )
      times.push(performance.now() - asked)
    }
    const { frames } = yield* sent
    times.sort((a, b) => a - b)
    const at = (quantile: number) => times[Math.min(times.length - 1, Math.floor(times.length * quantile))]!
    const perSecond = Math.round((frames - before) / (performance.now() - began) * 1000)
    return { "round trips": times.length, "ms p50": at(0.5), "ms p99": at(0.99), "frames a second": perSecond }
  })

const message = pattern(64)

const kinds: ReadonlyArray<Kind> = [
  "bytes",
  "frames of unknown streams",
  "opens",
  "opens that end at once",
  "pings"
]

/** At full length, a server of the package `ws` is measured, too: the test only prints its figures. */
describe.sequential("a server under a flood", () => {
  for (const kind of kinds) {
    it.scopedLive(
      `server answers another client within ${bound} ms when 16 clients flood it with ${kind}`,
      () =>
        Effect.gen(function*() {
          const [, bare] = yield* Effect.promise(() => programs)
          // few streams: the test measures the time that frames take, and not the memory of handlers
          const settings = { keepAliveInterval: 5000, maxStreams: 100, streamBufferSize: 64 * 1024 }
          const victim = yield* makeVictim({ settings })
          const ours = yield* Effect.scoped(Effect.gen(function*() {
            const transport = yield* NodeTransport.connect(`ws://127.0.0.1:${victim.port}/neighbour`)
            const session = yield* Effect.provideService(
              Session.makeClient({ keepAliveInterval: "5 seconds", streamBufferSize: 64 * 1024 }),
              Transport,
              transport
            )
            const stream = yield* session.open()
            const sent = yield* flooding({ port: victim.port, path: "/drain", sockets, kind })
            if (kind !== "pings") yield* victim.until(({ sessions }) => sessions === sockets)
            const figures = yield* measure(
              Effect.zipRight(
                stream.write(message),
                Effect.iterate(0, {
                  while: (got) => got < message.byteLength,
                  body: (got) => Effect.map(stream.read, (chunk) => got + Option.getOrThrow(chunk).byteLength)
                })
              ),
              kind === "pings" ? sent : victim.condition
            )
            expect(yield* session.isClosed).toBe(false)
            return figures
          }))
          yield* report(`a flood of ${kind}`, ours)
          expect(ours["ms p50"]).toBeLessThan(bound)
          if (!isFull) return
          const plain = yield* Effect.scoped(Effect.gen(function*() {
            const child = yield* makeChild(bare)
            const { port } = yield* Effect.promise(() => child.ask<{ readonly port: number }>({ ask: "port" }))
            const ws = yield* webSocket(`ws://127.0.0.1:${port}`)
            yield* signal(ws, "open")
            const sent = yield* flooding({ port, path: "/", sockets, kind })
            return yield* measure(
              Effect.async<void>((resume) => {
                ws.once("message", () => resume(Effect.void))
                ws.send(message)
              }),
              sent
            )
          }))
          yield* report(`a flood of ${kind}, of a server of the package ws`, plain)
        }),
      patience
    )
  }
})
