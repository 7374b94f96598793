import { describe as suite, expect, it } from "@effect/vitest"
import * as ConfigError from "effect/ConfigError"
import { describe } from "../../../../src/internal/text/describe.js"

suite("describe", () => {
  const causes: ReadonlyArray<readonly [name: string, cause: unknown, text: string]> = [
    ["an Error", new Error("lost"), "lost"],
    ["a text", "lost", "lost"],
    ["several failures", new AggregateError([new Error("a"), "b"]), "a, b"],
    ["a ConfigError", ConfigError.MissingData(["TOKEN"], "no value"), `Missing data at TOKEN: "no value"`],
    ["an object with a tag", { _tag: "Lost" }, "Lost"],
    ["an object that tells nothing", {}, ""],
    ["an object without a prototype", Object.create(null), ""],
    ["an object whose toString throws", {
      toString: () => {
        throw new Error("no")
      }
    }, ""]
  ]
  for (const [name, cause, text] of causes) {
    it(`describe tells what it can when the cause is ${name}`, () => expect(describe(cause)).toBe(text))
  }
})
