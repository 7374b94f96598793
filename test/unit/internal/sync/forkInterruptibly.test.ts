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

  it.effect("Forks.fork runs an effect when an interrupted fiber made the forks uninterruptibly", () =>
    Effect.gen(function*() {
      const begun = yield* Deferred.make<void>()
      const gate = yield* Deferred.make<void>()
      let forked: Fiber.RuntimeFiber<void> | undefined
      const making = Effect.gen(function*() {
        yield* Deferred.succeed(begun, undefined)
        yield* Deferred.await(gate)
        forked = (yield* makeForks).fork(Effect.void)
      })
      const maker = yield* Effect.fork(Effect.uninterruptible(making))
      yield* Deferred.await(begun)
      yield* Fiber.interruptFork(maker)
      yield* Effect.yieldNow()
      yield* Deferred.succeed(gate, undefined)
      yield* Fiber.await(maker)
      expect((yield* Fiber.await(forked!))._tag).toBe("Success")
    }))

  it.effect("Forks.end waits for a fiber that is forked behind the end of another one", () =>
    Effect.gen(function*() {
      const forks = yield* makeForks
      const gate = yield* Deferred.make<void>()
      const first = forks.add(yield* Effect.forkDaemon(Effect.never))
      first.addObserver(() => {
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
