import { describe, expect, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import { Forks } from "../../../../src/internal/sync/forkInterruptibly.js"
import { expectWaiting, start } from "../../../support/observe.js"

const makeForks = Effect.map(Effect.runtime<never>(), (runtime) => new Forks(runtime))

describe("Forks", () => {
  it.effect("Forks.end interrupts the fibers, also where an uninterruptible region made them", () =>
    Effect.gen(function*() {
      const forks = yield* Effect.uninterruptible(makeForks)
      const ends: Array<string> = []
      const fiber = forks.fork(Effect.onInterrupt(Effect.never, () => Effect.sync(() => ends.push("interrupted"))))
      yield* forks.end()
      expect(ends).toEqual(["interrupted"])
      expect(fiber.unsafePoll()?._tag).toBe("Failure")
    }))

  it.effect("Forks.end waits for a fiber that is forked behind the end of another one", () =>
    Effect.gen(function*() {
      const forks = yield* makeForks
      const gate = yield* Deferred.make<void>()
      forks.add(yield* Effect.forkDaemon(Effect.never), () => {
        forks.fork(Effect.uninterruptible(Deferred.await(gate)))
      })
      const ending = yield* start(forks.end())
      yield* expectWaiting(ending)
      yield* Deferred.succeed(gate, undefined)
      yield* Fiber.join(ending)
    }))

  it.effect("Forks.fork interrupts a fiber when the end has come before", () =>
    Effect.gen(function*() {
      const forks = yield* makeForks
      yield* forks.end()
      expect((yield* Fiber.await(forks.fork(Effect.never)))._tag).toBe("Failure")
    }))
})
