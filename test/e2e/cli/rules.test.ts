import { describe, expect, it } from "@effect/vitest"
import * as NodeTransport from "effect-wsmux/NodeTransport"
import * as Effect from "effect/Effect"
import { exportJWK, generateKeyPair, SignJWT } from "jose"
import { createHash, X509Certificate } from "node:crypto"
import { writeFileSync } from "node:fs"
import * as Http from "node:http"
import type { AddressInfo } from "node:net"
import { text } from "../../support/bytes.js"
import { makeAuthority } from "../../support/certificates.js"
import { freePort } from "../../support/freePort.js"
import { within } from "../../support/within.js"
import * as Process from "./forwards/commands.js"
import { ask, folder, freed, portFor } from "./forwards/commands.js"
import { connectWith, run, serveWith } from "./inProcess.js"
import * as Tcp from "./tcp.js"

/** Starts `wsmux serve` with this rules file, where the subjects of JWTs may reach the target. */
const serveFor = (target: number, jwt: string) =>
  Effect.gen(function*() {
    const path = `${yield* folder}/rules.yaml`
    writeFileSync(path, `jwt:\n  ${jwt}\ndefault:\n  allow: ["127.0.0.1:${target}"]\n`)
    return yield* serveWith(["--rules", path])
  })

/** Sends a word through the server, and completes with the answer. */
const reach = (url: string, target: number, token: string) =>
  Effect.scoped(Effect.gen(function*() {
    const client = yield* connectWith(url, ["-L", `0:127.0.0.1:${target}`], { env: { WSMUX_TOKEN: token } })
    return yield* ask(yield* portFor(client, `127.0.0.1:${target}`), "hello")
  }))

/** Dials in vain, and completes with the exit code and the complaint. */
const refused = (url: string, token: string) =>
  Effect.map(
    run(["connect", url, "-L", "0:127.0.0.1:1"], { env: { WSMUX_TOKEN: token } }),
    ({ code, stderr }) => ({ code, complaint: stderr.trim() })
  )

const refusal = (url: string) => ({
  code: 1,
  complaint: `wsmux: cannot connect to ${url}: the server answered 401: the token is wrong`
})

/** The status of the answer to an upgrade with this token. */
const dialled = (url: string, token: string) =>
  Effect.scoped(NodeTransport.connect(url, { headers: { authorization: `Bearer ${token}` } })).pipe(
    Effect.as(101),
    Effect.catchAll(({ status }) => Effect.succeed(status))
  )

const signed = (alg: string, key: Parameters<SignJWT["sign"]>[0], kid?: string, end = "5m") =>
  Effect.promise(() =>
    new SignJWT({ sub: "ada" }).setProtectedHeader({ alg, ...(kid === undefined ? {} : { kid }) })
      .setExpirationTime(end).sign(key)
  )

const digest = (token: string) => createHash("sha256").update(token).digest("hex")

/** An issuer with one key at a time, which it serves. */
const keys = (kid: string) =>
  Effect.gen(function*() {
    const make = (kid: string) =>
      Effect.promise(async () => {
        const { privateKey, publicKey } = await generateKeyPair("ES256")
        return { kid, privateKey, jwk: { ...await exportJWK(publicKey), kid, alg: "ES256" } }
      })
    let current = yield* make(kid)
    const server = yield* Effect.acquireRelease(
      Effect.async<Http.Server>((resume) => {
        const server = Http.createServer((_, response) => response.end(JSON.stringify({ keys: [current.jwk] })))
        server.listen(0, "127.0.0.1", () => resume(Effect.succeed(server)))
      }),
      (server) =>
        Effect.sync(() => {
          server.close()
          server.closeAllConnections()
        })
    )
    return {
      address: `http://127.0.0.1:${(server.address() as AddressInfo).port}/keys`,
      sign: Effect.suspend(() => signed("ES256", current.privateKey, current.kid)),
      rotate: (kid: string) =>
        Effect.map(make(kid), (next) => {
          current = next
        })
    }
  })

describe("wsmux serve --rules", () => {
  it.scopedLive("wsmux serve knows a client when its JWT is signed with the secret by HS256", () =>
    Effect.gen(function*() {
      const target = yield* Tcp.echo
      const { url } = yield* serveFor(target, "secret: a-secret-of-the-test-with-32-bytes")
      const secret = new TextEncoder().encode("a-secret-of-the-test-with-32-bytes")
      expect((yield* reach(url, target, yield* signed("HS256", secret))).said).toBe("hello")
      expect(yield* dialled(url, yield* signed("HS256", secret, undefined, "-1m"))).toBe(401)
      const other = new TextEncoder().encode("another-secret-of-the-test-32-by")
      expect(yield* refused(url, yield* signed("HS256", other))).toEqual(refusal(url))
    }))

  it.scopedLive("wsmux serve knows the keys of a JWKS address, and refuses others and none", () =>
    Effect.gen(function*() {
      const served = yield* keys("first")
      const target = yield* Tcp.echo
      const { url } = yield* serveFor(target, `jwks: ${served.address}`)
      expect((yield* reach(url, target, yield* served.sign)).said).toBe("hello")
      const others = yield* keys("first")
      expect(yield* dialled(url, yield* others.sign)).toBe(401)
      const away = yield* serveFor(target, "jwks: http://127.0.0.1:1/keys")
      for (let i = 0; i < 2; i++) expect(yield* dialled(away.url, yield* served.sign)).toBe(401)
    }))

  // the library asks for the keys again at most every 30 s
  it.scopedLive("wsmux serve takes a new key when the JWKS address has rotated it", () =>
    Effect.gen(function*() {
      const served = yield* keys("first")
      const { url } = yield* serveFor(1, `jwks: ${served.address}`)
      const first = yield* served.sign
      expect(yield* dialled(url, first)).toBe(101)
      yield* served.rotate("second")
      const second = yield* served.sign
      yield* Effect.repeat(Effect.delay(dialled(url, second), 500), { until: (status) => status === 101 }).pipe(
        within("90 seconds", "the new key")
      )
      expect(yield* dialled(url, first)).toBe(401)
    }))

  it.scopedLive("wsmux serve refuses the next open of a session when SIGHUP finds its user removed", () =>
    Effect.gen(function*() {
      const path = `${yield* folder}/rules.yaml`
      const target = yield* Tcp.echo
      const write = (...names: ReadonlyArray<string>) =>
        writeFileSync(
          path,
          `users:\n${
            names.map((name) => `  ${name}: {tokens: ["${digest(name)}"], allow: ["127.0.0.1:${target}"]}\n`).join("")
          }`
        )
      write("ada", "eve")
      const server = yield* Process.serveWith(["--rules", path])
      const begin = (name: string) =>
        Effect.gen(function*() {
          const args = ["-L", `0:127.0.0.1:${target}`]
          const client = yield* Process.connectWith(server.url, args, { env: { WSMUX_TOKEN: name } })
          return { client, port: yield* portFor(client, `127.0.0.1:${target}`) }
        })
      const [ada, eve] = [yield* begin("ada"), yield* begin("eve")]
      expect((yield* ask(eve.port, "hello")).said).toBe("hello")
      const open = yield* Tcp.connect(eve.port)
      yield* open.write("before")
      yield* open.received(6)

      write("ada")
      yield* server.signal("SIGHUP")
      yield* server.awaitLine(/read \S+rules\.yaml again: 1 users/)
      expect((yield* ask(eve.port, "hello")).how).toBe("ECONNRESET")
      yield* eve.client.awaitLine(/to 127\.0\.0\.1:\d+: the server does not allow it/)
      yield* open.write(" after") // connections go on
      expect(text(yield* open.received(12))).toBe("before after")
      expect((yield* ask(ada.port, "hello")).said).toBe("hello")
      expect(yield* dialled(server.url, "eve")).toBe(401)
    }))

  it.scopedLive("wsmux serve opens nothing more for a session when SIGHUP finds its token replaced", () =>
    Effect.gen(function*() {
      const path = `${yield* folder}/rules.yaml`
      const target = yield* Tcp.echo
      const rights = `allow: ["127.0.0.1:${target}"], allow-remote: ["*"]`
      const write = (token: string) => writeFileSync(path, `users: {ada: {tokens: ["${digest(token)}"], ${rights}}}`)
      write("old")
      const server = yield* Process.serveWith(["--rules", path, "--target", `127.0.0.1:${target}`])
      const listen = yield* freePort
      const args = ["--listen", `127.0.0.1:${listen}`, "-L", `0:127.0.0.1:${target}`, "--resume", "2m"]
      const client = yield* Process.connectWith(server.url, args, { env: { WSMUX_TOKEN: "old" } })
      const port = yield* portFor(client, `127.0.0.1:${target}`)
      const listening = yield* Process.connectWith(server.url, ["-R", `0:127.0.0.1:${target}`], {
        env: { WSMUX_TOKEN: "old" }
      })
      const remote = yield* portFor(listening, `127.0.0.1:${target}`)
      for (const each of [port, listen, remote]) expect((yield* ask(each, "hello")).said).toBe("hello")
      const open = yield* Tcp.connect(remote)
      yield* open.write("before")
      yield* open.received(6)
      write("new")
      yield* server.signal("SIGHUP")
      yield* server.awaitLine(/read \S+rules\.yaml again: 1 users/)
      for (const each of [port, listen]) expect((yield* ask(each, "hello")).how).toBe("ECONNRESET")
      yield* client.awaitLine(/to 127\.0\.0\.1:\d+: the server does not allow it/)
      yield* freed(remote)
      yield* open.write(" after") // connections go on
      expect(text(yield* open.received(12))).toBe("before after")
      expect((yield* reach(server.url, target, "new")).said).toBe("hello")
    }))

  it.scopedLive("wsmux serve knows a client by its certificate, and judges by the entry of that user", () =>
    Effect.gen(function*() {
      const path = yield* folder
      const target = yield* Tcp.echo
      const authority = makeAuthority("an authority of the test")
      const server = authority.issue("server")
      const ada = authority.issue("ada")
      const eve = makeAuthority("an authority of eve").issue("ada")
      const files = { "ca.pem": authority.cert, "cert.pem": server.cert, "key.pem": server.key }
      const clients = { "ada.pem": ada.cert, "ada.key": ada.key, "eve.pem": eve.cert, "eve.key": eve.key }
      const fingerprint = new X509Certificate(ada.cert).fingerprint256
      const rules = [
        "users:",
        "  ada:",
        `    certificates: ["sha256:${fingerprint}"]`,
        `    allow: ["127.0.0.1:${target}"]`
      ]
      for (const [name, content] of Object.entries({ ...files, ...clients, "rules.yaml": `${rules.join("\n")}\n` })) {
        writeFileSync(`${path}/${name}`, content)
      }
      const { url } = yield* serveWith([
        ...["--tls-cert", `${path}/cert.pem`, "--tls-key", `${path}/key.pem`],
        ...["--tls-client-ca", `${path}/ca.pem`, "--rules", `${path}/rules.yaml`]
      ])
      const shown = (name: string) => [
        ...["--tls-ca", `${path}/ca.pem`],
        ...["--tls-cert", `${path}/${name}.pem`, "--tls-key", `${path}/${name}.key`]
      ]
      const client = yield* connectWith(url, ["-L", `0:127.0.0.1:${target}`, "-L", "0:127.0.0.1:1", ...shown("ada")])
      expect((yield* ask(yield* portFor(client, `127.0.0.1:${target}`), "hello")).said).toBe("hello")
      yield* ask(yield* portFor(client, "127.0.0.1:1"), "hello")
      yield* client.awaitLine(/level=WARN.*to 127\.0\.0\.1:1: the server does not allow it/)
      const { code, stderr } = yield* run(["connect", url, "-L", "0:127.0.0.1:1", ...shown("eve")])
      expect({ code, stderr }).toEqual({
        code: 1,
        stderr: `wsmux: cannot connect to ${url}: the server answered 401: ` +
          "give the token by --token-file or WSMUX_TOKEN\n"
      })
    }))
})
