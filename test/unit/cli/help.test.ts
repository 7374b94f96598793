import { describe, expect, it } from "@effect/vitest"
import { compact } from "effect-wsmux/cli/help"

const page = `wsmux

wsmux 0.1.0

USAGE

$ connect (-L, --local [bind:]port)... [--reconnect] <url> <remote>...

DESCRIPTION

Accept connections.

ARGUMENTS

<url>

  A user-defined piece of text.

  URL of the server.

OPTIONS

(-L, --local [bind:]port)...

  A user-defined piece of text.

  Accept here.

  This option may be repeated zero or more times.

--reconnect

  A true or false value.

  Dial again.

  This setting is optional.

`

describe("compact", () => {
  it("compact sets each option of a page of help in one line", () => {
    expect(compact(page).split("\n")).toEqual([
      "$ wsmux connect [options] <url> <remote>...",
      "",
      "Accept connections.",
      "",
      "  <url>                       URL of the server.",
      "",
      "  -L, --local [bind:]port...  Accept here.",
      "  --reconnect                 Dial again.",
      ""
    ])
  })

  it("compact names a command of a group once when the page has both", () => {
    const commands = "USAGE\n\n$ wsmux\n\nCOMMANDS\n\n  - serve [--a text]     Serve.\n\n" +
      "  - config               Group.\n\n  - config check <file>  Check.\n\n  - status               Print."
    expect(compact(commands).split("\n").filter((line) => line !== "")).toEqual([
      "$ wsmux <command>",
      "  serve                       Serve.",
      "  config check                Check.",
      "  status                      Print."
    ])
  })

  it("compact names the group in the usage of a nested command", () => {
    const check = "USAGE\n\n$ check <file>\n\nDESCRIPTION\n\nCheck a file."
    expect(compact(check, ["config"]).split("\n")).toEqual([
      "$ wsmux config check [options] <file>",
      "",
      "Check a file.",
      ""
    ])
    expect(compact("USAGE\n\n$ config\n\nCOMMANDS\n\n  - check <file>  Check.").split("\n")[0]).toBe(
      "$ wsmux config <command>"
    )
  })

  it("compact keeps a text that is no page of help", () => {
    expect(compact("0.1.0")).toBe("0.1.0")
  })
})
