import * as Command from "@effect/cli/Command"
import * as Options from "@effect/cli/Options"
import { describe, expect, it } from "@effect/vitest"
import * as Either from "effect/Either"
import { declared, prepare } from "../../../src/cli/argv.js"

const options = {
  local: Options.repeated(Options.withAlias(Options.text("local"), "L")),
  listen: Options.text("listen"),
  tries: Options.optional(Options.integer("tries")),
  header: Options.repeated(Options.text("header")),
  stats: Options.boolean("stats")
}

const subcommands = [{ name: "connect", usage: Command.getUsage(Command.make("connect", options)) }]

const arranged = (...args: ReadonlyArray<string>) => prepare(subcommands, args)

describe("declared", () => {
  it("declared returns the options of a command, and not the command itself", () => {
    expect([...declared(subcommands[0]!)].map(([name, option]) => [name, option.name, option.kind])).toEqual([
      ["-L", "local", "texts"],
      ["--local", "local", "texts"],
      ["--listen", "listen", "text"],
      ["--tries", "tries", "text"],
      ["--header", "header", "texts"],
      ["--stats", "stats", "flag"]
    ])
  })
})

describe("prepare", () => {
  it("prepare moves built-in options directly behind the name of the command", () => {
    expect(arranged("connect", "ws://a", "--listen", "1", "--log-level", "debug")).toEqual(
      Either.right(["connect", "--log-level", "debug", "ws://a", "--listen", "1"])
    )
  })

  it("prepare splits --name=value when the option may be repeated, and only then", () => {
    expect(arranged("connect", "--header=a:b=c", "--header", "d:e", "--listen=1", "ws://a")).toEqual(
      Either.right(["connect", "--header", "a:b=c", "--header", "d:e", "--listen=1", "ws://a"])
    )
  })

  it("prepare splits -Lvalue and -L=value as ssh does", () => {
    expect(arranged("connect", "-L80:a:80", "-L", "81:a:81", "-L=82:a:82", "ws://a")).toEqual(
      Either.right(["connect", "-L", "80:a:80", "-L", "81:a:81", "-L", "82:a:82", "ws://a"])
    )
  })

  it("prepare returns --help alone when help is asked for anywhere", () => {
    for (const help of ["--help", "-h"]) {
      expect(arranged("connect", "--unknown", help)).toEqual(Either.right(["connect", "--help"]))
    }
  })

  it("prepare keeps the name of a nested command when help is asked for", () => {
    const group = { ...subcommands[0]!, name: "config", subcommands: [{ ...subcommands[0]!, name: "check" }] }
    expect(prepare([group], ["config", "check", "a.yaml", "--help"])).toEqual(
      Either.right(["config", "check", "--help"])
    )
    expect(prepare([group], ["config", "--help", "check"])).toEqual(Either.right(["config", "--help"]))
  })

  it("prepare leaves arguments behind -- as they are", () => {
    expect(arranged("connect", "--listen", "1", "--", "--unknown")).toEqual(
      Either.right(["connect", "--listen", "1", "--", "--unknown"])
    )
  })

  const faults: ReadonlyArray<readonly [string, ReadonlyArray<string>, string]> = [
    ["an option is unknown", ["--unknown"], "Received unknown argument: '--unknown'"],
    ["a letter is unknown", ["-x1"], "Received unknown argument: '-x'"],
    [
      "an option is that of another tunnel",
      ["-v"],
      "Received unknown argument: '-v': give --log-level debug"
    ],
    ["an unknown option has a value", ["--unknown=secret"], "Received unknown argument: '--unknown'"],
    ["an option is given twice", ["--listen", "1", "--listen", "2"], "--listen: the option is given twice"],
    ["a value is missing", ["--listen"], "Expected a value following option: '--listen'"],
    ["a value is empty", ["--listen="], "Expected a value following option: '--listen'"],
    ["a repeated value is empty", ["--header", ""], "Expected a value following option: '--header'"],
    [
      "a level is unknown",
      ["--log-level", "loud"],
      "--log-level: expected one of all, trace, debug, info, warning, error, fatal, none, not loud"
    ]
  ]
  for (const [when, args, fault] of faults) {
    it(`prepare returns the first fault when ${when}`, () => {
      expect(arranged("connect", "ws://a", ...args)).toEqual(Either.left(fault))
    })
  }

  it("prepare knows the options of all commands when the command is missing", () => {
    expect(arranged("--listen", "1")).toEqual(Either.right(["--listen", "1"]))
    expect(arranged("--unknown")).toEqual(Either.left("Received unknown argument: '--unknown'"))
  })
})
