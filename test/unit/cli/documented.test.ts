import * as Command from "@effect/cli/Command"
import { describe, expect, it } from "@effect/vitest"
import * as Argv from "effect-wsmux/cli/argv"
import { parse } from "effect-wsmux/cli/config/file"
import { connect } from "effect-wsmux/cli/connect"
import * as Rules from "effect-wsmux/cli/rules/file"
import * as Either from "effect/Either"
import { readFileSync } from "node:fs"

const page = readFileSync(new URL("../../../src/cli/README.md", import.meta.url), "utf8")
const examples = [...page.matchAll(/^```yaml\n(.*?)^```$/gms)].map(([, text]) => text!)

const options = [...new Set(Argv.declared({ name: "connect", usage: Command.getUsage(connect) }).values())]

describe("the examples of the tunnel's page", () => {
  it("the page shows a rules file and a configuration file", () => {
    expect(examples.map(Rules.isMeant)).toEqual([true, false])
  })

  for (const [i, text] of examples.entries()) {
    it(`the page's example ${i + 1} of YAML loads as it is`, () => {
      const loaded: Either.Either<unknown, ReadonlyArray<string>> = Rules.isMeant(text)
        ? Rules.parse(text)
        : parse(text, options, true)
      expect(Either.isLeft(loaded) ? loaded.left : []).toEqual([])
    })
  }
})
