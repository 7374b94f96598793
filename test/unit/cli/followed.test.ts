import * as FileSystem from "@effect/platform/FileSystem"
import { describe, expect, it } from "@effect/vitest"
import { follow } from "effect-wsmux/cli/followed"
import * as Hangup from "effect-wsmux/cli/hangup"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as TestClock from "effect/TestClock"
import { settle } from "../../support/sessions.js"

/** A process with two files in memory, whose contents the test changes. */
const make = () => {
  const hangup = new Hangup.Hangup()
  const contents: Record<string, string> = { a: "a1", b: "b1" }
  const used: Array<string> = []
  const followed = (path: string, then: Effect.Effect<void> = Effect.void) =>
    follow(path, contents[path]!, (text) => Effect.zipRight(Effect.sync(() => used.push(text)), then)).pipe(
      Effect.provideService(
        FileSystem.FileSystem,
        FileSystem.makeNoop({ readFileString: (path) => Effect.sync(() => contents[path]!) })
      ),
      Effect.provideService(Hangup.Current, hangup)
    )
  return { hangup, contents, used, followed }
}

describe("Followed", () => {
  it.scoped("follow uses a content once when it has changed", () =>
    Effect.gen(function*() {
      const { contents, followed, used } = make()
      yield* followed("a")
      yield* TestClock.adjust("3 seconds")
      expect(used).toEqual([])
      contents.a = "a2"
      yield* TestClock.adjust("3 seconds")
      expect(used).toEqual(["a2"])
    }))

  it.scoped("follow reads every file at one SIGHUP, without waiting for the next second", () =>
    Effect.gen(function*() {
      const { contents, followed, hangup, used } = make()
      yield* followed("a")
      yield* followed("b")
      Object.assign(contents, { a: "a2", b: "b2" })
      expect(hangup.wasHandled()).toBe(true)
      yield* settle
      expect(used.sort()).toEqual(["a2", "b2"])
    }))

  it.scoped("follow uses the last content only when the file changes while one is used", () =>
    Effect.gen(function*() {
      const { contents, followed, hangup, used } = make()
      const gate = yield* Deferred.make<void>()
      yield* followed("a", Deferred.await(gate))
      for (const content of ["a2", "a3", "a4"]) {
        contents.a = content
        hangup.wasHandled()
        yield* settle
      }
      expect(used).toEqual(["a2"])
      yield* Deferred.succeed(gate, undefined)
      yield* settle
      expect(used).toEqual(["a2", "a4"])
    }))

  it.effect("follow ends with its scope", () =>
    Effect.gen(function*() {
      const { contents, followed, hangup, used } = make()
      yield* Effect.scoped(followed("a"))
      contents.a = "a2"
      expect(hangup.wasHandled()).toBe(false)
      yield* TestClock.adjust("3 seconds")
      expect(used).toEqual([])
    }))
})
