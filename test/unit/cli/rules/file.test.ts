import { describe, expect, it } from "@effect/vitest"
import { parse } from "effect-wsmux/cli/rules/file"
import * as Either from "effect/Either"

const hash = "sha256:9F86D081884C7D659A2FEAA0C55AD015A3BF4F1B2B0B822CD15D6C15B0F00A08"

const faults: ReadonlyArray<readonly [name: string, text: string, fault: string]> = [
  ["is no YAML", "users: [", "1:9: "],
  ["has a key twice", "users: {}\nusers: {}", "2:1: Map keys must be unique"],
  ["is a list", "- ada", "1:1: Expected"],
  ["has an unknown part", "user: {}", "1:1: user: "],
  ["has an unknown part of a user", "users: {ada: {allows: []}}", "1:15: users.ada.allows: "],
  ["names a user with a colon", "users: {\"jwt:ada\": {}}", "users.jwt:ada: "],
  ["has a token without a digest", "users: {ada: {tokens: [secret]}}", "1:24: users.ada.tokens.0: expected sha256:"],
  [
    "has a rule without a port",
    "users: {ada: {allow: [db]}}",
    "users.ada.allow.0: expected host:ports, udp:host:ports, or a path, not db"
  ],
  ["has a wrong listener", "users: {ada: {allow-remote: [x:y:z]}}", "users.ada.allow-remote.0: expected [bind:]ports"],
  ["has a secret and keys", "jwt: {secret: a, jwks: \"https://a\"}", "jwt: expected either secret or jwks"],
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
jwt: {secret: hidden, issuer: issuer.example}
default: {allow: ["*.example:443"]}
`))
    const digest = hash.slice(7).toLowerCase()
    expect(file.users["ada"]).toMatchObject({ tokens: [digest], certificates: [digest] })
    expect(file.users["ada"]!.allow).toMatchObject([
      { protocol: "tcp", ports: { from: 5432, to: 5432 } },
      { protocol: "udp", ports: { from: 53, to: 53 } }
    ])
    expect(file.jwt).toMatchObject({ issuer: "issuer.example", user: "sub" })
    expect(JSON.stringify(file.jwt)).not.toContain("hidden")
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
    const fault = Either.getLeft(parse("jwt: {secret: [hidden-secret]}"))
    expect(JSON.stringify(fault)).not.toContain("hidden-secret")
  })
})
