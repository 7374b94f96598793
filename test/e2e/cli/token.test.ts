import { describe, expect, it } from "@effect/vitest"
import * as Title from "effect-wsmux/cli/title"
import * as Token from "effect-wsmux/cli/token"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import type * as Crypto from "node:crypto"
import { createHash, timingSafeEqual } from "node:crypto"
import { vi } from "vitest"

vi.mock("node:crypto", async (original) => {
  const crypto = await original<typeof Crypto>()
  return { ...crypto, timingSafeEqual: vi.fn(crypto.timingSafeEqual) }
})

const secret = "correct-horse-battery-staple"
const given = Option.some(Redacted.make(secret))
const authorize = Token.authorize(given)!
const digest = (text: string) => createHash("sha256").update(text).digest()

const verdict = (authorization: string | undefined) =>
  Effect.runSyncExit(authorize({ headers: authorization === undefined ? {} : { authorization } }))

const refused = Exit.fail({ status: 401, headers: { "www-authenticate": "Bearer" } })

describe("the token", () => {
  it.sequential("lets in who shows it, and nobody who shows another of whatever length", () => {
    expect(verdict(`Bearer ${secret}`)).toEqual(Exit.void)
    expect(verdict(undefined)).toEqual(refused)
    for (let length = 0; length <= 2 * secret.length; length++) {
      expect(verdict(`Bearer ${secret.repeat(2).slice(0, length)}`)).toEqual(
        length === secret.length ? Exit.void : refused
      )
      expect(verdict(`Bearer ${"x".repeat(length)}`)).toEqual(refused)
      expect(verdict(`Bearer ${secret.slice(0, length)}x${secret.slice(length + 1)}`)).toEqual(refused)
    }
    for (const other of [secret, `bearer ${secret}`, `Bearer  ${secret}`, `Bearer ${secret} `, `Basic ${secret}`, ""]) {
      expect(verdict(other)).toEqual(refused)
    }
  })

  it.sequential("is compared in constant time: a digest of what is shown with its own, once, whatever is shown", () => {
    const compared = vi.mocked(timingSafeEqual)
    for (const shown of [`Bearer ${secret}`, "", "Bearer ", `Bearer ${secret.slice(1)}`, "x".repeat(100_000)]) {
      compared.mockClear()
      verdict(shown)
      expect(compared.mock.calls).toEqual([[digest(shown), digest(`Bearer ${secret}`)]])
    }
  })

  it.sequential("is not asked for where there is none", () => {
    expect(Token.authorize(Option.none())).toBeUndefined()
  })
})

describe("the list of processes", () => {
  it("shows no token, no header, and no URL's user or query", () => {
    const shown = Title.withoutSecrets([
      ...["connect", "--token", secret, `--token=${secret}`, "ws://user:secret@relay.example:80/?token=secret"],
      ...["--header", `x-key: ${secret}`, `--header=x-key:${secret}`, "--listen", "[::1]:80", "--token"]
    ])
    expect(shown.join(" ")).toBe(
      "connect --token *** --token=*** ws://***@relay.example:80/?*** " +
        "--header *** --header=*** --listen [::1]:80 --token"
    )
  })
})
