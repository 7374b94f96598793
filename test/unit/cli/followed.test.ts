import { SystemError } from "@effect/platform/Error"
import * as FileSystem from "@effect/platform/FileSystem"
import { describe, expect, it } from "@effect/vitest"
import { follow } from "effect-wsmux/cli/followed"
import * as Hangup from "effect-wsmux/cli/hangup"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Logger from "effect/Logger"
import * as TestClock from "effect/TestClock"
import { settle } from "../../support/sessions.js"

const missing = new SystemError({ reason: "NotFound", module: "FileSystem", method: "readFileString" })

/** A process with two files in memory, whose contents the test changes. */
const make = () => {
  const hangup = new Hangup.Hangup()
  const contents: Record<string, string | undefined> = { a: "a1", b: "b1" }
  const used: Array<string> = []
  const followed = (path: string, then: Effect.Effect<void> = Effect.void) =>
    follow(path, contents[path]!, (text) => Effect.zipRight(Effect.sync(() => used.push(text)), then)).pipe(
      Effect.provideService(
        FileSystem.FileSystem,
        FileSystem.makeNoop({
          readFileString: (path) =>
            Effect.suspend(() => Effect.mapError(Effect.fromNullable(contents[path]), () => missing))
        })
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

  it.scoped("follow uses a content once the file has stayed the same for 250 ms", () =>
    Effect.gen(function*() {
      const { contents, followed, used } = make()
      yield* followed("a")
      contents.a = "" // an editor empties the file first
      yield* TestClock.adjust("1 second")
      contents.a = "a"
      yield* TestClock.adjust("250 millis")
      contents.a = "a2"
      yield* TestClock.adjust("250 millis")
      expect(used).toEqual([])
      yield* TestClock.adjust("250 millis")
      expect(used).toEqual(["a2"])
    }))

  it.scoped("follow tells once that the file is gone, and uses the content of the next one", () =>
    Effect.gen(function*() {
      const { contents, followed, used } = make()
      const lines: Array<string> = []
      const logger = Logger.make(({ logLevel, message }) => void lines.push(`${logLevel.label} ${String(message)}`))
      yield* Effect.provide(followed("a"), Logger.replace(Logger.defaultLogger, logger))
      contents.a = undefined
      yield* TestClock.adjust("10 seconds")
      const gone = "WARN a cannot be read any more; its last content stays in force"
      expect({ lines, used }).toEqual({ lines: [gone], used: [] })
      contents.a = "a1"
      yield* TestClock.adjust("10 seconds")
      expect(lines).toEqual([gone, "INFO a can be read again, and is unchanged"])
      contents.a = undefined
      yield* TestClock.adjust("10 seconds")
      contents.a = "a2"
      yield* TestClock.adjust("10 seconds")
      expect({ warned: lines.filter((line) => line === gone).length, used }).toEqual({ warned: 2, used: ["a2"] })
    }))

  it.scoped("follow tells nothing when an editor removes the file and writes it anew", () =>
    Effect.gen(function*() {
      const { contents, followed, used } = make()
      const lines: Array<unknown> = []
      const logger = Logger.make(({ message }) => void lines.push(message))
      yield* Effect.provide(followed("a"), Logger.replace(Logger.defaultLogger, logger))
      contents.a = undefined
      yield* TestClock.adjust("1 second")
      contents.a = "a2"
      yield* TestClock.adjust("2 seconds")
      expect({ lines, used }).toEqual({ lines: [], used: ["a2"] })
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

  it.scoped("follow uses a content within 12 s when the file changes all the time", () =>
    Effect.gen(function*() {
      const { contents, followed, used } = make()
      yield* followed("a")
      for (let change = 0; change < 120; change++) {
        contents.a = `a${change}`
        yield* TestClock.adjust("100 millis")
      }
      expect(used).toHaveLength(1)
    }))
})
