import { describe, expect, it } from "@effect/vitest"
import * as Title from "effect-wsmux/cli/title"

const secret = "correct-horse-battery-staple"

describe("Title", () => {
  it("Title.withoutSecrets hides tokens, headers, and the user and query of a URL", () => {
    const shown = Title.withoutSecrets([
      ...["connect", "--token", secret, `--token=${secret}`, "ws://user:secret@relay.example:80/?token=secret"],
      ...["--auth", `ada:${secret}`, "-H", `x-key: ${secret}`],
      ...["--header", `x-key: ${secret}`, `--header=x-key:${secret}`, "--listen", "[::1]:80", "--token"]
    ])
    expect(shown.join(" ")).toBe(
      "connect --token *** --token=*** ws://***@relay.example:80/?*** " +
        "--auth *** -H *** --header *** --header=*** --listen [::1]:80 --token"
    )
  })
})
