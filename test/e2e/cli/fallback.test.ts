import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { createServer } from "node:http"
import { fileURLToPath } from "node:url"
import { listening, portOf } from "../../support/transports.js"
import { ask } from "./forwards/commands.js"
import * as Tcp from "./tcp.js"
import { connect, logged, run, serve, start, type Wsmux } from "./wsmux.js"

const fixture = (name: string): string => fileURLToPath(new URL(`../../fixtures/tls/${name}`, import.meta.url))

/** A loopback address that no other process uses, so that the port of a killed server stays free. */
const host = process.platform === "linux" ? "127.83.119.111" : "127.0.0.1"

const hello = { how: "end", said: "hello" }

const serveAt = (address: string, target: number) =>
  Effect.gen(function*() {
    const wsmux = yield* start(["serve", "--listen", address, "--target", `127.0.0.1:${target}`])
    const [, url] = yield* wsmux.awaitLine(/^listening on (\S+),/)
    return { ...wsmux, url: url! }
  })

const kill = (wsmux: Wsmux) => Effect.zipRight(wsmux.signal("SIGKILL"), wsmux.exit)

describe("wsmux connect --fallback-url", () => {
  it.scopedLive("wsmux connect names the fallback, and returns to the first URL when the session is lost", () =>
    Effect.gen(function*() {
      const target = yield* Tcp.echo
      const past = yield* serveAt(`${host}:0`, target)
      yield* kill(past)
      const second = yield* serveAt("127.0.0.1:0", target)
      const client = yield* connect(past.url, [
        ...["--fallback-url", second.url, "--reconnect", "--max-reconnect-interval", "500ms"],
        ...["--admin", "127.0.0.1:0"]
      ])
      const [, page] = yield* client.awaitLine(/status page: (http:\/\/\S+)\//)
      const shown = Effect.promise(async () => (await (await fetch(`${page}/status.json`)).json() as Shown).address)
      yield* client.awaitLine(new RegExp(`^listening on .* through ${second.url}$`))
      expect(logged(client, "INFO")).toContain(`connected to ${second.url}`)
      expect(yield* shown).toBe(second.url)
      expect(yield* ask(client.port, "hello")).toEqual(hello)

      yield* serveAt(new URL(past.url).host, target)
      yield* kill(second)
      yield* client.awaitLine(new RegExp(`connected to ${past.url}`))
      expect(yield* shown).toBe(past.url)
      expect(yield* ask(client.port, "hello")).toEqual(hello)
    }))

  it.scopedLive("wsmux connect takes the options of TLS when only a fallback is of wss://", () =>
    Effect.gen(function*() {
      const tls = ["--tls-cert", fixture("cert.pem"), "--tls-key", fixture("key.pem")]
      const { url } = yield* serve(yield* Tcp.echo, tls)
      const trusting = ["--tls-ca", fixture("cert.pem"), "--sni", "localhost"]
      const client = yield* connect("ws://127.0.0.1:1", ["--fallback-url", url, ...trusting])
      expect(yield* ask(client.port, "hello")).toEqual(hello)
    }))

  it.scopedLive("wsmux connect shows a token to no fallback when the first server answers 401", () =>
    Effect.gen(function*() {
      const first = yield* serve(1, ["--token", "other"])
      const second = yield* serve(1, ["--token", "secret"])
      const args = ["--listen", "127.0.0.1:0", "--token", "secret", "--fallback-url", second.url]
      expect(yield* run(["connect", first.url, ...args])).toEqual({
        code: 1,
        stdout: "",
        stderr: `wsmux: cannot connect to ${first.url}: the server answered 401: the token is wrong\n`
      })
      expect(logged(second, "INFO")).toEqual([])
    }))

  it.scopedLive("wsmux connect uses the fallback when the proxy of the first server answers 503", () =>
    Effect.gen(function*() {
      const away = yield* listening(createServer((_, response) => response.writeHead(503).end()))
      const { url } = yield* serve(yield* Tcp.echo)
      const client = yield* connect(`ws://127.0.0.1:${portOf(away)}`, ["--fallback-url", url])
      expect(yield* ask(client.port, "hello")).toEqual(hello)
    }))
})

interface Shown {
  readonly address: string
}
