import { describe, expect, it } from "@effect/vitest"
import * as NodeTransport from "effect-wsmux/NodeTransport"
import * as Effect from "effect/Effect"
import { readdirSync, readFileSync } from "node:fs"
import { isBuiltin } from "node:module"
import { bytes, text } from "../../support/bytes.js"
import { dat, fin, syn } from "../../support/scriptedPeer.js"
import { rawAnswer, rejected, tcpServer, upgradeHeaders } from "../../support/transports.js"
import * as inProcess from "./inProcess.js"
import * as Tcp from "./tcp.js"
import * as Wire from "./wire.js"
import { connect, run, serve } from "./wsmux.js"

/** No process listens at port 1. */
const closedPort = "127.0.0.1:1"

const secret = "correct-horse-battery-staple"

describe("wsmux serve", () => {
  for (const address of ["[::ffff:0.0.0.0]:0", "localhost.:0"]) {
    it.live(`wsmux serve refuses to listen at ${address} when it has no token`, () =>
      Effect.gen(function*() {
        const { code, stderr, stdout } = yield* run(["serve", "--listen", address, "--target", closedPort])
        expect({ code, stderr, stdout }).toEqual({
          code: 2,
          stderr:
            `wsmux: --listen: other machines can reach ${address}, so give a --token, --rules or --allow-anonymous\n`,
          stdout: ""
        })
      }))
  }
})

describe("wsmux serve", () => {
  it.scopedLive("wsmux serve refuses a web page when the page has the token and any host name", () =>
    Effect.gen(function*() {
      for (const args of [[], ["--token", secret]]) {
        const { url } = yield* inProcess.serve(1, args)
        const { host } = new URL(url)
        for (const origin of [`http://${host}`, `https://${host}`, "http://evil.example", "null"]) {
          const headers = { origin, authorization: `Bearer ${secret}` }
          expect(yield* Effect.flip(NodeTransport.connect(url, { headers }))).toEqual(rejected(url, 403))
        }
        // After DNS rebinding, the page has the host of its own origin.
        const rebound = { host: "evil.example", origin: "http://evil.example" }
        expect(yield* Effect.flip(NodeTransport.connect(url, { headers: rebound }))).toEqual(rejected(url, 403))
      }
    }))
})

describe("wsmux serve", () => {
  it.scopedLive("wsmux serve connects every stream to its own target when clients ask for another", () =>
    Effect.gen(function*() {
      let intruders = 0
      const decoy = yield* tcpServer(() => intruders++)
      const elsewhere = `127.0.0.1:${decoy.port}`
      const target = yield* Tcp.listen
      const { url } = yield* serve(target.port)
      const asks = [
        `CONNECT ${elsewhere} HTTP/1.1\r\nhost: ${elsewhere}\r\n\r\n`,
        `GET http://${elsewhere}/ HTTP/1.1\r\nhost: ${elsewhere}\r\n\r\n`,
        `\x05\x01\x00\x05\x01\x00\x01\x7f\x00\x00\x01${String.fromCharCode(decoy.port >> 8, decoy.port & 255)}`,
        `PROXY TCP4 127.0.0.1 127.0.0.1 1 ${decoy.port}\r\n`,
        `${elsewhere}\n`
      ]
      // Some stream ids equal a port. The server must not dial that port.
      const ids = [1, 2 * decoy.port + 1, 0x7f00_0001, ...asks.map((_, i) => 5 + 2 * i)]
      const wire = yield* Wire.dial(`${url}/${elsewhere}?target=${elsewhere}`)
      for (const [i, ask] of asks.entries()) {
        yield* wire.send(syn(ids[i]!))
        yield* wire.next
        yield* wire.send(dat(ids[i]!, bytes(ask)))
        yield* wire.send(fin(ids[i]!))
        const reached = yield* target.accept
        expect(text((yield* reached.over).bytes)).toBe(text(bytes(ask)))
        yield* reached.end
        expect(yield* wire.next).toEqual(fin(ids[i]!))
      }
      const headers = [
        `x-target: ${elsewhere}`,
        `x-forwarded-host: ${elsewhere}`,
        `sec-websocket-protocol: ${decoy.port}`
      ]
      const request = ["GET / HTTP/1.1", `host: ${elsewhere}`, ...upgradeHeaders, ...headers, "", ""].join("\r\n")
      expect(yield* rawAnswer(Number(new URL(url).port), request)).toMatch(/^HTTP\/1\.1 101 /)
      expect(intruders).toBe(0)
    }))
})

describe("wsmux", () => {
  it("wsmux hides secrets in the process title when it has loaded no other module yet", () => {
    const cli = new URL("../../../src/cli/", import.meta.url)
    const imports = (path: string): ReadonlyArray<string> =>
      Array.from(readFileSync(new URL(path, cli), "utf8").matchAll(/^import .*?"(.+)"$/gm), ([, name]) => name!)
    expect(imports("bin.ts")).toEqual(["./title.js"])
    expect(imports("title.ts")).toEqual(["../Address.js"])
    expect(imports("../Address.ts")).toEqual([])
  })

  it("wsmux imports only modules of Node when it is bundled", () => {
    const bundle = readFileSync(new URL("../../../dist/cli/run.js", import.meta.url), "utf8")
    const imports = Array.from(bundle.matchAll(/^import .*?"(.+)";?$/gm), ([, name]) => name!)
    expect(imports).toContain("node:net")
    const rare = new URL("../../../dist/cli/rare/", import.meta.url)
    const required = readdirSync(rare).flatMap((file) =>
      Array.from(readFileSync(new URL(file, rare), "utf8").matchAll(/\brequire\("(.+?)"\)/g), ([, name]) => name!)
    )
    expect(required).toContain("tls")
    expect([...imports, ...required].filter((name) => !isBuiltin(name))).toEqual([])
  })
})

describe("wsmux", () => {
  /** Adds the secret to an address as password and in the query. */
  const secretive = (url: string) => `${url.replace("://", `://user:${secret}@`)}/?token=${secret}`
  const hidden = (...seen: ReadonlyArray<string>) => expect(seen.filter((text) => text.includes(secret))).toEqual([])
  const args = ["--log-level", "all", "--token", secret]
  const listening = ["--listen", "127.0.0.1:0"]
  const serving = ["serve", ...listening, "--target", closedPort]

  it.scopedLive("wsmux shows no secret in outputs and the list of processes when it logs all levels", () =>
    Effect.gen(function*() {
      const server = yield* serve(yield* Tcp.echo, [...args, "--stats", "50ms"])
      const client = yield* connect(secretive(server.url), [
        ...[...args, "--stats", "50ms", "--reconnect"],
        ...["--header", `x-key: ${secret}`, `--header=x-other: ${secret}`]
      ])
      const near = yield* Tcp.connect(client.port)
      yield* near.write("hello")
      yield* near.received(5)
      const listed = [server, client].map(({ pid }) => readFileSync(`/proc/${pid}/cmdline`, "utf8"))
      expect(listed[0]).toContain("--token ***")
      yield* rawAnswer(Number(new URL(server.url).port), "nonsense\r\n\r\n")
      yield* near.reset
      yield* server.signal("SIGTERM")
      yield* server.exit
      yield* client.awaitLine(/level=WARN.*cannot connect to /)
      hidden(...listed, ...[server, client].flatMap(({ stderr, stdout }) => [stdout(), stderr()]))
    }))

  it.scopedLive("wsmux shows a secret in no output when the server refuses the client", () =>
    Effect.gen(function*() {
      const server = yield* serve(1, ["--log-level", "all", "--token", `${secret}!`])
      const { code, stderr, stdout } = yield* run(["connect", secretive(server.url), ...listening, ...args])
      expect({ code, stderr, stdout }).toMatchObject({ code: 1, stderr: expect.stringContaining("answered 401") })
      hidden(stdout, stderr, server.stdout(), server.stderr())
    }))

  const faults: Readonly<Record<string, readonly [args: ReadonlyArray<string>, code: number]>> = {
    "an address of another scheme": [["connect", secretive("http://127.0.0.1:1"), ...listening], 2],
    "an address with a fragment": [["connect", secretive("ws://127.0.0.1:1#"), ...listening], 2],
    "an address without a scheme": [["connect", `user:${secret}@127.0.0.1:1`, ...listening], 2],
    "an address where no process listens": [["connect", secretive("ws://127.0.0.1:1"), ...listening], 1],
    "an unknown option": [[...serving, `--tokn=${secret}`], 2],
    "a malformed header": [["connect", "ws://127.0.0.1:1", ...listening, "--header", secret], 2],
    "a header that is given twice": [
      ["connect", "ws://127.0.0.1:1", ...listening, "--header", `a:${secret}`, "--header", `a:${secret}`],
      2
    ],
    "a token that is given twice": [[...serving, `--token=${secret}`, `--token=${secret}`], 2],
    "a wrong log level behind the address": [[
      "connect",
      secretive("ws://127.0.0.1:1"),
      ...listening,
      "--log-level=loud"
    ], 2],
    "a token with a space": [[...serving, "--token", `${secret} and more`], 2],
    "another fault": [[...serving, "--tls-cert", "/nowhere", "--token", secret], 2]
  }
  for (const [what, [args, code]] of Object.entries(faults)) {
    it.live(`wsmux shows no secret when its message is about ${what}`, () =>
      Effect.gen(function*() {
        const result = yield* run(args) // a process: secrets may reach its output by other ways than the console
        expect(result).toMatchObject({ code, stderr: expect.stringMatching(/^wsmux: .+\n$/) })
        hidden(result.stdout, result.stderr)
      }))
  }
})
