import { describe, expect, it } from "@effect/vitest"
import * as Token from "effect-wsmux/relay/token"
import * as Effect from "effect/Effect"
import { jwtVerify, SignJWT } from "jose"

const secrets = ["the first secret", "the second secret"]
const key = (secret: string) => new TextEncoder().encode(secret)
const now = 1_800_000_000
const claims = { tid: "site", iat: now - 10, nbf: now - 10, exp: now + 10 }

const signed = (content: Readonly<Record<string, unknown>>, secret = secrets[1]!, alg = "HS256") =>
  Effect.promise(() => new SignJWT(content).setProtectedHeader({ alg }).sign(key(secret)))

describe("sign", () => {
  it.effect("sign makes a token that another library verifies", () =>
    Effect.gen(function*() {
      const token = Token.sign(claims, secrets[0]!)
      const { payload, protectedHeader } = yield* Effect.promise(() =>
        jwtVerify(token, key(secrets[0]!), { currentDate: new Date(now * 1000) })
      )
      expect([payload, protectedHeader.alg]).toEqual([claims, "HS256"])
    }))
})

describe("verify", () => {
  it.effect("verify returns the claims when another library has signed with either secret", () =>
    Effect.gen(function*() {
      for (const secret of secrets) {
        expect(Token.verify(yield* signed(claims, secret), secrets, now)).toEqual(claims)
      }
    }))

  it.effect("verify returns nothing when a token is foreign, altered, too early or too late", () =>
    Effect.gen(function*() {
      const token = yield* signed(claims)
      const [head, content, mac] = token.split(".") as [string, string, string]
      const other = Buffer.from(JSON.stringify({ ...claims, tid: "other" })).toString("base64url")
      const none = Buffer.from(JSON.stringify({ alg: "none" })).toString("base64url")
      const wrong = [
        yield* signed(claims, "a third secret"),
        yield* signed(claims, secrets[0]!.repeat(4), "HS512"),
        `${head}.${other}.${mac}`,
        `${none}.${content}.`,
        `${none}.${content}.${mac}`,
        `${head}.${content}`,
        `${token}.x`,
        `${token}${"A".repeat(10_000)}`,
        "",
        yield* signed({ tid: "site", nbf: now - 10 }),
        yield* signed({ tid: "site", exp: now + 10 }),
        yield* signed({ ...claims, exp: "later" }),
        yield* signed({ ...claims, nbf: now + 1 }),
        yield* signed({ ...claims, exp: now })
      ]
      expect(wrong.map((text) => Token.verify(text, secrets, now))).toEqual(wrong.map(() => undefined))
    }))
})

describe("madeAt", () => {
  it("madeAt returns iat, or nbf when a token has no iat", () => {
    expect(Token.madeAt({ iat: 2, nbf: 1 })).toBe(2)
    expect(Token.madeAt({ nbf: 1 })).toBe(1)
  })
})
