import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Logger from "effect/Logger"
import * as TestClock from "effect/TestClock"
import { repeatedly } from "../../../src/cli/workers.js"

/** Runs lives of a worker one after the other. Completes with the line of the log after each. */
const linesOf = (lives: ReadonlyArray<number>) =>
  Effect.gen(function*() {
    const lines: Array<string> = []
    let begun = 0
    const life = Effect.suspend(() => Effect.sleep(lives[begun++] ?? "1000 days")).pipe(Effect.as("exited with code 1"))
    const logger = Logger.make(({ message }) => void lines.push(String(message)))
    const fiber = yield* Effect.fork(
      life.pipe(repeatedly(1), Effect.provide(Logger.replace(Logger.defaultLogger, logger)))
    )
    yield* TestClock.adjust("1 day")
    yield* Fiber.interrupt(fiber)
    return lines.map((line) => /^worker 1 exited with code 1; the next one starts in (\S+) s$/.exec(line)?.[1])
  })

describe("Workers.repeatedly", () => {
  it.effect("Workers.repeatedly doubles its waits up to 30 s when each worker dies at once", () =>
    Effect.gen(function*() {
      expect(yield* linesOf(new Array(10).fill(0))).toEqual(
        ["0.25", "0.5", "1", "2", "4", "8", "16", "30", "30", "30"]
      )
    }))

  it.effect("Workers.repeatedly waits 0.25 s again when a worker has lived for 30 s", () =>
    Effect.gen(function*() {
      expect(yield* linesOf([0, 29_999, 30_000, 0])).toEqual(["0.25", "0.5", "0.25", "0.5"])
    }))
})
