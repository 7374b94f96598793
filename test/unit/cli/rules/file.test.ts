import { describe, expect, it } from "@effect/vitest"
import { parse } from "effect-wsmux/cli/rules/file"
import * as Either from "effect/Either"

const hash = "sha256:9F86D081884C7D659A2FEAA0C55AD015A3BF4F1B2B0B822CD15D6C15B0F00A08"

const faults: ReadonlyArray<readonly [name: string, text: string, fault: string]> = [
  ["is no YAML", "users: [", "1:9: "],
  ["has a key twice", "users: {}\nusers: {}", "2:1: Map keys must be unique"],
  ["is a list", "- ada", "1:1: expected a map with users, jwt or default"],
  ["has an unknown part", "user: {}", "1:1: user: unknown key; did you mean 'users'?"],
  [
    "has an unknown part of a user",
    "users: {ada: {allows: []}}",
    "1:15: users.ada.allows: unknown key; did you mean 'allow'?"
  ],
  [
    "has another part of jwt",
    "jwt: {jwks: \"http://a\", leeway: 1}",
    "jwt.leeway: unknown key; expected secret, jwks, "
  ],
  [
    "has another part of a default",
    "default: {tokens: []}",
    "default.tokens: unknown key; expected allow or allow-remote"
  ],
  ["has users without names", "users: [ada]", "1:8: users: expected a map of users, such as {ada: "],
  [
    "has a number for a user",
    "users: {bob: 3}",
    "users.bob: expected a map with tokens, certificates, allow or allow-remote, such as {allow: [\"db:5432\"]}"
  ],
  ["has an empty default", "default:", "default: expected a map with allow or allow-remote, such as {allow: "],
  ["has an empty jwt", "jwt:", "jwt: expected a map with secret, jwks, issuer, audience or user"],
  [
    "has a digest without a list",
    "users: {ada: {tokens: a}}",
    "users.ada.tokens: expected a list of digests, such as "
  ],
  [
    "has a rule without a list",
    "users: {ada: {allow: a:1}}",
    "users.ada.allow: expected a list of host:ports, such as "
  ],
  ["has a number for a listener", "default: {allow-remote: [80]}", "default.allow-remote.0: expected a text in quotes"],
  ["has a number for an issuer", "jwt: {jwks: \"http://a\", issuer: 1}", "jwt.issuer: expected a text"],
  ["has a user without a name", "users: {\"\": {}}", "users.: expected a name of at most 64 letters"],
  ["has an empty name of a claim", "jwt: {jwks: \"http://a\", user: ''}", "jwt.user: expected a text"],
  ["has an empty secret", "jwt: {secret: ''}", "1:15: jwt.secret: expected 16 characters or more"],
  ["has a short secret", "jwt: {secret: fifteen-letters}", "1:15: jwt.secret: expected 16 characters or more"],
  [
    "has a token of two users",
    `users: {ada: {tokens: ["${hash}"]}, bob: {tokens: ["${hash.slice(7).toLowerCase()}"]}}`,
    "users.bob.tokens.0: expected a digest of one user, and ada has the same"
  ],
  [
    "has a certificate of two users",
    `users: {ada: {certificates: ["${hash}"]}, bob: {certificates: ["${hash}"]}}`,
    "users.bob.certificates.0: expected a digest of one user, and ada has the same"
  ],
  ["names a user with a colon", "users: {\"jwt:ada\": {}}", "users.jwt:ada: expected a name of at most 64 letters"],
  ["has a token without a digest", "users: {ada: {tokens: [secret]}}", "1:24: users.ada.tokens.0: expected sha256:"],
  [
    "has a rule without a port",
    "users: {ada: {allow: [db]}}",
    "users.ada.allow.0: expected host:ports, udp:host:ports, or a path, not db"
  ],
  [
    "has a path that is too long",
    `users: {ada: {allow: [/${"a".repeat(103)}]}}`,
    "users.ada.allow.0: expected a path of at most 103 bytes, not 104 in /a"
  ],
  [
    "has a port that is too large",
    "users: {ada: {allow: [\"db:99999\"]}}",
    "users.ada.allow.0: expected a port from 0 to 65535, not 99999 in db:99999"
  ],
  ["has a wrong listener", "users: {ada: {allow-remote: [x:y:z]}}", "users.ada.allow-remote.0: expected [bind:]ports"],
  [
    "has a secret and keys",
    "jwt: {secret: sixteen-letters-, jwks: \"https://a\"}",
    "jwt: expected either secret or jwks"
  ],
  ["has keys without an address", "jwt: {jwks: file}", "jwt.jwks: expected an http:// or https:// address"]
]

describe("RulesFile", () => {
  it("parse reads users, their digests and their rules", () => {
    const file = Either.getOrThrow(parse(`
users:
  ada:
    tokens: ["${hash}"]
    certificates: ["${hash.slice(7).replace(/..(?!$)/g, "$&:")}"]
    allow: ["db.example:5432", "udp:10.0.0.0/8:53"]
    allow-remote: ["8080-8090"]
jwt: {secret: hidden-from-logs, issuer: issuer.example}
default: {allow: ["*.example:443"]}
`))
    const digest = hash.slice(7).toLowerCase()
    expect(file.users["ada"]).toMatchObject({ tokens: [digest], certificates: [digest] })
    expect(file.users["ada"]!.allow).toMatchObject([
      { protocol: "tcp", ports: { from: 5432, to: 5432 } },
      { protocol: "udp", ports: { from: 53, to: 53 } }
    ])
    expect(file.jwt).toMatchObject({ issuer: "issuer.example", user: "sub" })
    expect(JSON.stringify(file.jwt)).not.toContain("hidden-from-logs")
    expect(file.default?.allow).toHaveLength(1)
  })

  it("parse reads an empty file as one without users", () => {
    expect(Either.getOrThrow(parse(""))).toEqual({ users: {} })
  })

  for (const [name, text, fault] of faults) {
    it(`parse tells the fault when the file ${name}`, () => {
      const found = Either.getOrThrow(Either.flip(parse(text)))
      expect(found).toEqual([expect.stringContaining(fault)])
      expect(found[0]).not.toContain("\n")
    })
  }

  it("parse tells each fault when the file has several", () => {
    const faults = Either.getOrThrow(Either.flip(parse("users:\n  ada: {allow: [db, \"db:1\", web]}\njwks: a")))
    expect(faults.map((fault) => fault.replace(/: .*/, ""))).toEqual(["2:17", "2:29", "3:1"])
  })

  it("parse shows no secret in a fault", () => {
    for (const jwt of ["[hidden-secret]", "{secret: [hidden-secret]}", "{secret: hidden-secret}"]) {
      const fault = Either.getOrThrow(Either.flip(parse(`jwt: ${jwt}`)))
      expect(JSON.stringify(fault)).not.toContain("hidden-secret")
    }
  })
})
