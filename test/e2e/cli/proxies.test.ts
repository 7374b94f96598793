import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Net from "node:net"
import { fileURLToPath } from "node:url"
import { listening, portOf } from "../../support/transports.js"
import { ask } from "./forwards/commands.js"
import * as Tcp from "./tcp.js"
import { connect, run, serve } from "./wsmux.js"

const fixture = (name: string): string => fileURLToPath(new URL(`../../fixtures/tls/${name}`, import.meta.url))

const hello = { how: "end", said: "hello" }

/** No variable of this machine names a proxy. */
const cleared = Object.fromEntries(
  ["http_proxy", "https_proxy", "all_proxy", "no_proxy"].flatMap((name) => [[name, ""], [name.toUpperCase(), ""]])
)

/** Joins two sockets. */
const join = (near: Net.Socket, far: Net.Socket) => {
  for (const [one, other] of [[near, far], [far, near]] as const) {
    one.on("error", () => {}).on("close", () => other.destroy())
  }
  near.pipe(far).pipe(near)
}

/** A proxy by CONNECT. Tells the requests that it got. */
const httpProxy = Effect.gen(function*() {
  const asked: Array<string> = []
  const server = yield* listening(Net.createServer((client) => {
    client.once("data", (request) => {
      const [, target, host, port] = /^CONNECT (([^:]+):(\d+)) /.exec(request.toString())!
      asked.push(target!)
      const far = Net.connect(Number(port), host, () => {
        client.write("HTTP/1.1 200 Connection established\r\n\r\n")
        join(client, far)
      })
    })
  }))
  return { port: portOf(server), asked: () => asked }
})

/** A proxy by SOCKS 5 (RFC 1928) that wants credentials (RFC 1929). Tells those that it got, and the targets. */
const socksProxy = Effect.gen(function*() {
  const asked: Array<string> = []
  const server = yield* listening(Net.createServer(async (client) => {
    client.on("error", () => {})
    const next = () => new Promise<Buffer>((resolve) => client.once("data", resolve))
    expect([...await next()].slice(2)).toContain(2) // the client offers credentials
    client.write(Buffer.of(5, 2))
    const login = await next()
    const user = login.subarray(2, 2 + login[1]!)
    asked.push(`${user}:${login.subarray(3 + user.length)}`)
    client.write(Buffer.of(1, 0))
    const request = await next()
    expect([...request.subarray(0, 4)]).toEqual([5, 1, 0, 3]) // CONNECT to a name
    const host = request.subarray(5, 5 + request[4]!).toString()
    const port = request.readUInt16BE(5 + host.length)
    asked.push(`${host}:${port}`)
    const far = Net.connect(port, "127.0.0.1", () => {
      client.write(Buffer.of(5, 0, 0, 1, 0, 0, 0, 0, 0, 0))
      join(client, far)
    })
  }))
  return { port: portOf(server), asked: () => asked }
})

describe("wsmux connect --proxy", () => {
  it.scopedLive("wsmux connect carries bytes through SOCKS 5 when the proxy wants credentials", () =>
    Effect.gen(function*() {
      const proxy = yield* socksProxy
      const server = yield* serve(yield* Tcp.echo)
      const url = server.url.replace("127.0.0.1", "localhost")
      const client = yield* connect(url, ["--proxy", `socks5://user:p%40ss@127.0.0.1:${proxy.port}`])
      expect(yield* ask(client.port, "hello")).toEqual(hello)
      expect(proxy.asked()).toEqual(["user:p@ss", new URL(url).host])
    }))

  for (const [name, scheme] of [["HTTPS_PROXY", "http://"], ["https_proxy", "http://"], ["HTTPS_PROXY", ""]] as const) {
    it.scopedLive(`wsmux connect dials wss:// through the proxy of ${name} when it is ${scheme}host:port`, () =>
      Effect.gen(function*() {
        const proxy = yield* httpProxy
        const tls = ["--tls-cert", fixture("cert.pem"), "--tls-key", fixture("key.pem")]
        const { url } = yield* serve(yield* Tcp.echo, tls)
        const env = { ...cleared, [name]: `${scheme}127.0.0.1:${proxy.port}` }
        const client = yield* connect(url, ["--tls-ca", fixture("cert.pem")], { env })
        expect(yield* ask(client.port, "hello")).toEqual(hello)
        expect(proxy.asked()).toEqual([new URL(url).host])
      }))
  }

  const refusals = {
    "401": ["user:wrong@", "the user or password in the address of the proxy is wrong"],
    "403": ["", "the rules of the proxy forbid this server or its port"],
    "407": ["", "the proxy asks for user:password@ in its address"],
    "503": ["", "the proxy does not reach the server"]
  } as const
  for (const [status, [credentials, advice]] of Object.entries(refusals)) {
    it.scopedLive(`wsmux connect and doctor tell what to do when the proxy answers ${status} to CONNECT`, () =>
      Effect.gen(function*() {
        const server = yield* listening(Net.createServer((client) => {
          const answer = `HTTP/1.1 ${status} No\r\ncontent-length: 0\r\n\r\n`
          client.on("error", () => {}).once("data", () => client.end(answer))
        }))
        const url = "ws://127.0.0.1:1"
        const proxy = ["--proxy", `http://${credentials}127.0.0.1:${portOf(server)}`]
        expect(yield* run(["connect", url, "--listen", "127.0.0.1:0", ...proxy])).toEqual({
          code: 1,
          stdout: "",
          stderr: `wsmux: cannot connect to ${url}: the proxy answered ${status}: ${advice}\n`
        })
        for (const [scheme, check] of [["ws", "upgrade"], ["wss", "tls"]]) {
          const { stdout } = yield* run(["doctor", `${scheme}://127.0.0.1:1`, ...proxy, "--json"])
          expect(JSON.parse(stdout.trim().split("\n").at(-1)!)).toEqual({
            check,
            verdict: "fail",
            detail: `the proxy answered ${status} to CONNECT`,
            advice
          })
        }
      }))
  }

  it.scopedLive("wsmux connect dials the fallback URL when the proxy answers 401 to CONNECT", () =>
    Effect.gen(function*() {
      const { url } = yield* serve(yield* Tcp.echo)
      const proxy = yield* listening(Net.createServer((client) => {
        client.on("error", () => {}).once("data", (request) => {
          if (!request.toString().includes(new URL(url).host)) {
            return client.end("HTTP/1.1 401 Unauthorized\r\ncontent-length: 0\r\n\r\n")
          }
          const far = Net.connect(Number(new URL(url).port), "127.0.0.1", () => {
            client.write("HTTP/1.1 200 Connection established\r\n\r\n")
            join(client, far)
          })
        })
      }))
      const args = ["--proxy", `http://127.0.0.1:${portOf(proxy)}`, "--fallback-url", url]
      const client = yield* connect("ws://127.0.0.1:1", args)
      expect(yield* ask(client.port, "hello")).toEqual(hello)
    }))

  const malformed = {
    HTTPS_PROXY: ["ftp://user:secret@host", "expected http://host:port, https://host:port or socks5://host:port"],
    all_proxy: ["host:99999", "expected a port from 0 to 65535, not 99999"]
  } as const
  for (const [name, [value, complaint]] of Object.entries(malformed)) {
    it.live(`wsmux connect exits with 2 and names ${name} when it is malformed`, () =>
      Effect.gen(function*() {
        const args = ["connect", "wss://127.0.0.1:1", "--listen", "127.0.0.1:0"]
        expect(yield* run(args, { env: { ...cleared, [name]: value } })).toEqual({
          code: 2,
          stdout: "",
          stderr: `wsmux: ${name}: ${complaint}\n`
        })
      }))
  }
})
