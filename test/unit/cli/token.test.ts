import { describe, expect, it } from "@effect/vitest"
import * as Token from "effect-wsmux/cli/token"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import Crypto, { createHash } from "node:crypto"
import { syncBuiltinESMExports } from "node:module"
import { afterAll, vi } from "vitest"

// Other suites of the worker may have loaded the module already, so a mock of its imports would come too late.
const compared = vi.spyOn(Crypto, "timingSafeEqual")
syncBuiltinESMExports()
afterAll(() => {
  compared.mockRestore()
  syncBuiltinESMExports()
})

const secret = "correct-horse-battery-staple"
const given = Option.some(Redacted.make(secret))
const authorize = Token.authorize(given)!
const digest = (text: string) => createHash("sha256").update(text).digest()

const verdict = (authorization: string | undefined) =>
  Effect.runSyncExit(authorize({ headers: authorization === undefined ? {} : { authorization } }))

const refused = Exit.fail({ status: 401, headers: { "www-authenticate": "Bearer" } })

describe("Token", () => {
  it.sequential("Token.authorize accepts the token, and refuses every other text of any length", () => {
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

  it.sequential("Token.authorize compares digests in constant time, once per request", () => {
    for (const shown of [`Bearer ${secret}`, "", "Bearer ", `Bearer ${secret.slice(1)}`, "x".repeat(100_000)]) {
      compared.mockClear()
      verdict(shown)
      expect(compared.mock.calls).toEqual([[digest(shown), digest(`Bearer ${secret}`)]])
    }
  })

  it.sequential("Token.authorize is undefined when there is no token", () => {
    expect(Token.authorize(Option.none())).toBeUndefined()
  })
})
