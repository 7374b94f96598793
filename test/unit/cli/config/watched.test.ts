import * as FileSystem from "@effect/platform/FileSystem"
import { describe, expect, it } from "@effect/vitest"
import { follow, type Source } from "effect-wsmux/cli/config/watched"
import * as Hangup from "effect-wsmux/cli/hangup"
import * as Rule from "effect-wsmux/cli/policy/rule"
import * as Effect from "effect/Effect"
import * as Logger from "effect/Logger"
import * as Option from "effect/Option"
import * as TestClock from "effect/TestClock"
import { settle } from "../../../support/sessions.js"

const source: Source = {
  path: "serve.yaml",
  options: [{ name: "listen", kind: "text" }, { name: "allow", kind: "texts" }, { name: "allow-remote", kind: "texts" }]
}

const rules = (...texts: ReadonlyArray<string>) => texts.map((text) => Option.getOrThrow(Rule.parse(text)))

/** The rules of a file in memory, whose content the test changes, beside those that the command has got. */
const followed = (content: { text: string }, connect?: ReadonlyArray<Rule.Rule>, hangup = new Hangup.Hangup()) =>
  follow(source, Option.map(Option.fromNullable(connect), (connect) => ({ connect, listen: [] }))).pipe(
    Effect.provideService(
      FileSystem.FileSystem,
      FileSystem.makeNoop({ readFileString: () => Effect.sync(() => content.text) })
    ),
    Effect.provideService(Hangup.Current, hangup),
    Effect.map((current) => () => current().connect.map(Rule.format))
  )

/** Gathers what an effect logs. */
const logging = <A, E, R>(effect: Effect.Effect<A, E, R>) => {
  const lines: Array<string> = []
  const logger = Logger.make(({ message }) => void lines.push(String(message)))
  return { lines, effect: Effect.provide(effect, Logger.replace(Logger.defaultLogger, logger)) }
}

describe("Config", () => {
  it.scoped("follow judges by the new rules when the file has changed", () =>
    Effect.gen(function*() {
      const content = { text: "allow: [\"db:1\"]" }
      const current = yield* followed(content, rules("db:1"))
      expect(current()).toEqual(["db:1"])
      content.text = "allow: [\"db:1\", \"web:2\"]\nlisten: 1"
      yield* TestClock.adjust("2 seconds")
      expect(current()).toEqual(["db:1", "web:2"])
    }))

  it.scoped("follow reads the file at SIGHUP", () =>
    Effect.gen(function*() {
      const content = { text: "allow: [\"db:1\"]" }
      const hangup = new Hangup.Hangup()
      const current = yield* followed(content, rules("db:1"), hangup)
      content.text = "listen: 1"
      expect(hangup.wasHandled()).toBe(true)
      yield* settle
      expect(current()).toEqual([])
    }))

  it.scoped("follow keeps the former rules when the file has a fault", () =>
    Effect.gen(function*() {
      const content = { text: "allow: [\"db:1\"]" }
      const { effect, lines } = logging(followed(content, rules("db:1")))
      const current = yield* effect
      for (const text of ["allow: [", "alow: [\"web:2\"]", "allow: [nonsense]", "allow: {a: 1}"]) {
        content.text = text
        yield* TestClock.adjust("2 seconds")
        expect(current()).toEqual(["db:1"])
      }
      expect(lines).toContain(
        "serve.yaml:1:9: allow: expected host:ports or a path; the former rules stay in force"
      )
      content.text = "allow: [\"web:2\"]"
      yield* TestClock.adjust("2 seconds")
      expect(current()).toEqual(["web:2"])
    }))

  it.scoped("follow keeps the rules of the command line when the file has others", () =>
    Effect.gen(function*() {
      const content = { text: "allow: [\"db:1\"]" }
      const current = yield* followed(content, rules("web:2"))
      content.text = "allow: [\"db:3\"]"
      yield* TestClock.adjust("2 seconds")
      expect(current()).toEqual(["web:2"])
    }))

  it.scoped("follow names what changes at a restart only when the rules have a file of their own", () =>
    Effect.gen(function*() {
      const content = { text: "listen: 1" }
      const { effect, lines } = logging(followed(content))
      const current = yield* effect
      content.text = "listen: 2\nallow: [\"db:1\"]"
      yield* TestClock.adjust("2 seconds")
      expect(current()).toEqual([])
      expect(lines.at(-1)).toBe("serve.yaml: listen, allow: changed at a restart only")
    }))
})
