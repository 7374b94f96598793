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

  it("compact keeps a text that is no page of help", () => {
    expect(compact("0.1.0")).toBe("0.1.0")
  })
})
