import { describe, expect, it } from "@effect/vitest"
import type { Target } from "effect-wsmux/cli/policy/policy"
import { parse } from "effect-wsmux/cli/rules/file"
import { make } from "effect-wsmux/cli/rules/users"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import { SignJWT, UnsecuredJWT } from "jose"
import { createHash } from "node:crypto"
import type { IncomingMessage } from "node:http"

const secret = "a secret that is long enough for HS256"
const sha256 = (text: string) => createHash("sha256").update(text).digest("hex")

const users = (text: string) => make(Either.getOrThrow(parse(text)))

const everything = `
users:
  ada:
    tokens: ["${sha256("token-of-ada")}", "${sha256("other-token")}"]
    allow: ["db.example:5432"]
  deploy:
    certificates: ["${"ab".repeat(32)}"]
    allow-remote: ["8080"]
jwt: {secret: "${secret}", issuer: issuer.example, audience: wsmux}
default: {allow: ["*:443"]}
`

/** A request with this header, and with this certificate over TLS. */
const request = (authorization?: string, certificate?: { authorized: boolean; fingerprint256?: string }) =>
  ({
    headers: authorization === undefined ? {} : { authorization },
    socket: certificate === undefined
      ? {}
      : { authorized: certificate.authorized, getPeerCertificate: () => certificate }
  }) as unknown as IncomingMessage

const jwt = (change: (token: SignJWT) => SignJWT = (token) => token, key = secret, alg = "HS256") =>
  Effect.promise(() =>
    change(
      new SignJWT({}).setProtectedHeader({ alg }).setSubject("grace").setIssuer("issuer.example")
        .setAudience("wsmux").setExpirationTime("1h")
    ).sign(new TextEncoder().encode(key))
  )

const refusal = { _tag: "Left", left: { status: 401 } }
const tcp = (host: string, port: number): Target => ({ _tag: "Host", protocol: "tcp", host, port })

describe("Users", () => {
  it.effect("Users.authenticate names the user of a token", () =>
    Effect.gen(function*() {
      const { authenticate } = users(everything)
      expect(yield* authenticate(request("Bearer token-of-ada"))).toMatchObject({ user: "ada" })
      expect(yield* authenticate(request("Bearer other-token"))).toMatchObject({ user: "ada" })
      for (const header of [undefined, "", "Bearer wrong", "token-of-ada", "Basic token-of-ada", "Bearer a b"]) {
        expect(yield* Effect.either(authenticate(request(header)))).toMatchObject(refusal)
      }
    }))

  it.effect("Users.authenticate names the user of a certificate that TLS has verified", () =>
    Effect.gen(function*() {
      const { authenticate } = users(everything)
      const fingerprint256 = "AB:".repeat(31) + "AB"
      expect(yield* authenticate(request(undefined, { authorized: true, fingerprint256 }))).toMatchObject({
        user: "deploy"
      })
      for (const certificate of [{ authorized: false, fingerprint256 }, { authorized: true }]) {
        expect(yield* Effect.either(authenticate(request(undefined, certificate)))).toMatchObject(refusal)
      }
    }))

  it.live("Users.authenticate names the subject of a JWT behind jwt:", () =>
    Effect.gen(function*() {
      const { authenticate } = users(everything)
      expect(yield* authenticate(request(`Bearer ${yield* jwt()}`))).toEqual(
        expect.objectContaining({ user: "jwt:grace" })
      )
    }))

  const wrong: ReadonlyArray<readonly [why: string, token: Effect.Effect<string>]> = [
    ["has expired", jwt((token) => token.setExpirationTime("-1h"))],
    ["is of another issuer", jwt((token) => token.setIssuer("other.example"))],
    ["is for another audience", jwt((token) => token.setAudience("other"))],
    ["is signed by another secret", jwt(undefined, `${secret}!`)],
    ["names its user with a space", jwt((token) => token.setSubject("a b"))],
    ["is signed by HS512", jwt(undefined, secret + secret, "HS512")],
    ["is unsigned", Effect.sync(() => new UnsecuredJWT({}).setSubject("grace").setExpirationTime("1h").encode())],
    [
      "never expires",
      Effect.promise(() =>
        new SignJWT({ iss: "issuer.example", aud: "wsmux", sub: "grace" }).setProtectedHeader({ alg: "HS256" })
          .sign(new TextEncoder().encode(secret))
      )
    ]
  ]
  for (const [why, token] of wrong) {
    it.live(`Users.authenticate refuses a JWT that ${why}`, () =>
      Effect.gen(function*() {
        const { authenticate } = users(everything)
        expect(yield* Effect.either(authenticate(request(`Bearer ${yield* token}`)))).toMatchObject(refusal)
      }))
  }

  it.live("Users.isCurrent forgets a token, a certificate and JWTs when the file has them no more", () =>
    Effect.gen(function*() {
      const fingerprint256 = "AB:".repeat(31) + "AB"
      const { authenticate, isCurrent } = users(everything)
      const clients = yield* Effect.all([
        authenticate(request("Bearer token-of-ada")),
        authenticate(request("Bearer other-token")),
        authenticate(request(undefined, { authorized: true, fingerprint256 })),
        authenticate(request(`Bearer ${yield* jwt()}`))
      ])
      expect(clients.map(isCurrent)).toEqual([true, true, true, true])
      const ada = (tokens: string) => `users: {ada: {tokens: [${tokens}]}, deploy: {}}`
      expect(clients.map(users(ada(`"${sha256("other-token")}"`)).isCurrent)).toEqual([false, true, false, false])
      const rotated = everything.replace(secret, `${secret}!`)
      expect(clients.map(users(rotated).isCurrent)).toEqual([true, true, true, false])
      const moved = `users: {ada: {}, eve: {tokens: ["${sha256("other-token")}"]}}`
      expect(clients.map(users(moved).isCurrent)).toEqual([false, false, false, false])
    }))

  it("Users.decide judges by the entry of the user", () => {
    const { decide } = users(everything)
    expect(decide("ada", tcp("db.example", 5432))._tag).toBe("Allowed")
    expect(decide("ada", tcp("db.example", 443))._tag).toBe("Refused")
    expect(decide("deploy", tcp("db.example", 5432))._tag).toBe("Refused")
    expect(decide("deploy", { _tag: "Listen", protocol: "tcp", host: "localhost", port: 8080 })._tag).toBe("Allowed")
  })

  it("Users.decide judges a user by JWT by the entry of the name, else by default", () => {
    const { decide } = users(everything)
    expect(decide("jwt:ada", tcp("db.example", 5432))._tag).toBe("Allowed")
    expect(decide("jwt:ada", tcp("db.example", 443))._tag).toBe("Refused")
    expect(decide("jwt:grace", tcp("any.example", 443))._tag).toBe("Allowed")
  })

  it("Users.decide refuses a user who is no longer in the file", () => {
    const { decide } = users("default: {allow: [\"*:*\"]}")
    for (const user of ["ada", undefined, "constructor", "__proto__"]) {
      expect(decide(user, tcp("db.example", 5432))._tag).toBe("Refused")
    }
  })
})
