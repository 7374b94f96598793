import * as FileSystem from "@effect/platform/FileSystem"
import { describe, expect, it } from "@effect/vitest"
import * as Hangup from "effect-wsmux/cli/hangup"
import type { Target } from "effect-wsmux/cli/policy/policy"
import { watch } from "effect-wsmux/cli/rules/watched"
import * as Effect from "effect/Effect"
import * as TestClock from "effect/TestClock"
import { settle } from "../../../support/sessions.js"

const target: Target = { _tag: "Host", protocol: "tcp", host: "db.example", port: 5432 }
const allowing = "users: {ada: {allow: [\"db.example:5432\"]}}"

/** The users of a file in memory, whose content the test changes. */
const watched = (content: { text: string }, hangup = new Hangup.Hangup()) =>
  watch("rules.yaml").pipe(
    Effect.provideService(
      FileSystem.FileSystem,
      FileSystem.makeNoop({ readFileString: () => Effect.sync(() => content.text) })
    ),
    Effect.provideService(Hangup.Current, hangup)
  )

describe("Rules", () => {
  it.scoped("watch judges by the new rules when the file has changed", () =>
    Effect.gen(function*() {
      const content = { text: allowing }
      const users = yield* watched(content)
      expect(users.decide("ada", target)._tag).toBe("Allowed")
      content.text = "users: {}"
      yield* TestClock.adjust("2 seconds")
      expect(users.decide("ada", target)._tag).toBe("Refused")
    }))

  it.scoped("watch keeps the former rules when the new ones have a fault", () =>
    Effect.gen(function*() {
      const content = { text: allowing }
      const users = yield* watched(content)
      content.text = "users: ["
      yield* TestClock.adjust("2 seconds")
      expect(users.decide("ada", target)._tag).toBe("Allowed")
      content.text = "users: {}"
      yield* TestClock.adjust("2 seconds")
      expect(users.decide("ada", target)._tag).toBe("Refused")
    }))

  it.effect("watch reads the file at SIGHUP, until its scope closes", () =>
    Effect.gen(function*() {
      const content = { text: allowing }
      const hangup = new Hangup.Hangup()
      yield* Effect.scoped(Effect.gen(function*() {
        const users = yield* watched(content, hangup)
        content.text = "users: {}"
        expect(hangup.wasHandled()).toBe(true)
        yield* settle
        expect(users.decide("ada", target)._tag).toBe("Refused")
      }))
      expect(hangup.wasHandled()).toBe(false)
    }))

  it.scoped("watch fails with the fault of the first file", () =>
    Effect.gen(function*() {
      const failure = yield* Effect.flip(watched({ text: "user: {}" }))
      expect(JSON.stringify(failure)).toContain("--rules: rules.yaml:1:1: user: ")
    }))
})
