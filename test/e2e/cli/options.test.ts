import { describe, expect, it } from "@effect/vitest"
import * as NodeTransport from "effect-wsmux/NodeTransport"
import * as Effect from "effect/Effect"
import { fileURLToPath } from "node:url"
import { text } from "../../support/bytes.js"
import { ack, syn } from "../../support/scriptedPeer.js"
import * as Tcp from "./tcp.js"
import * as Wire from "./wire.js"
import { connect, logged, run, serve } from "./wsmux.js"

const fixture = (name: string): string => fileURLToPath(new URL(`../../fixtures/tls/${name}`, import.meta.url))

/** What an echo answers through the tunnel, and how that ends. */
const ask = (port: number, words: string) =>
  Effect.scoped(Effect.gen(function*() {
    const peer = yield* Tcp.connect(port)
    yield* peer.write(words)
    yield* peer.end
    const { bytes, how } = yield* peer.over
    return { how, said: text(bytes) }
  }))

describe("the token", () => {
  const given = {
    "by --token": { args: ["--token", "secret"] },
    "by --token-file": { args: ["--token-file", fixture("../cli/token.txt")] },
    "by WSMUX_TOKEN": { args: [], env: { WSMUX_TOKEN: "secret" } },
    "by --token, which comes before WSMUX_TOKEN": { args: ["--token", "secret"], env: { WSMUX_TOKEN: "other" } }
  }
  for (const [name, { args, ...options }] of Object.entries(given)) {
    it.scopedLive(`is given ${name}`, () =>
      Effect.gen(function*() {
        const server = yield* serve(yield* Tcp.echo, args, options)
        const client = yield* connect(server.url, args, options)
        expect(yield* ask(client.port, "hello")).toEqual({ how: "end", said: "hello" })
        // The same token by the other way is the same, and another one is not.
        yield* connect(server.url, ["--token", "secret"])
        const { code } = yield* run(["connect", server.url, "--listen", "127.0.0.1:0", "--token", "other"])
        expect(code).toBe(1)
      }))
  }
})

describe("a client that is refused", () => {
  it.scopedLive("leaves a line with its address and the reason, at most once a second", () =>
    Effect.gen(function*() {
      const server = yield* serve(1, ["--token", "secret"])
      yield* Effect.flip(NodeTransport.connect(server.url))
      yield* server.awaitLine(/level=WARN message="refused 127\.0\.0\.1:\d+: 401, no token"/)
      for (let i = 0; i < 3; i++) yield* Effect.flip(NodeTransport.connect(server.url))
      yield* Effect.sleep("1 seconds") // of the clock of the other process
      yield* Effect.flip(NodeTransport.connect(server.url, { headers: { authorization: "Bearer guess" } }))
      const [, more] = yield* server.awaitLine(/ 401, wrong token(?: \((\d) more before\))?/)
      expect(Number(more ?? 0) + logged(server, "WARN").length).toBe(5)
      yield* Effect.flip(NodeTransport.connect(server.url, { headers: { origin: "https://evil.example" } }))
    }))
})

describe("--header", () => {
  it.scopedLive("is sent with the request, beside others and the token", () =>
    Effect.gen(function*() {
      const { accept, url } = yield* Wire.listen
      yield* connect(url, ["--header", "X-Key: a b: c ", "--header=x-empty:", "--token", "secret"])
      expect((yield* accept).headers).toMatchObject({
        "x-key": "a b: c",
        "x-empty": "",
        authorization: "Bearer secret"
      })
    }))

  it.scopedLive("may be the authorization, where there is no token", () =>
    Effect.gen(function*() {
      const { accept, url } = yield* Wire.listen
      yield* connect(url, ["--header", "Authorization: Basic abc"])
      expect((yield* accept).headers.authorization).toBe("Basic abc")
    }))
})

describe("tls", () => {
  const withTls = ["--tls-cert", fixture("cert.pem"), "--tls-key", fixture("key.pem")]

  it.scopedLive("is spoken by both, when the client trusts the certificate", () =>
    Effect.gen(function*() {
      const server = yield* serve(yield* Tcp.echo, withTls)
      const client = yield* connect(server.url, ["--tls-ca", fixture("cert.pem")])
      expect(server.url).toMatch(/^wss:\/\/127\.0\.0\.1:\d+$/)
      expect(yield* ask(client.port, "hello")).toEqual({ how: "end", said: "hello" })
    }))

  it.scopedLive("is refused by a client that does not", () =>
    Effect.gen(function*() {
      const { url } = yield* serve(1, withTls)
      expect(yield* run(["connect", url, "--listen", "127.0.0.1:0"])).toEqual({
        code: 1,
        stdout: "",
        stderr: `wsmux: cannot connect to ${url}: self-signed certificate: name the authority by --tls-ca\n`
      })
    }))
})

describe("--buffer-size", () => {
  const sizes = { "": 262_144, "1": 1, "65536": 65_536, "4KiB": 4096, "256K": 262_144, "2mib": 2_097_152 }
  for (const [size, window] of Object.entries(sizes)) {
    const args = size === "" ? [] : ["--buffer-size", size]

    it.scopedLive(`${size || "when not given"} is a window of ${window} bytes for streams that serve accepts`, () =>
      Effect.gen(function*() {
        const wire = yield* Wire.dial((yield* serve(yield* Tcp.echo, args)).url)
        yield* wire.send(syn(1))
        expect(yield* wire.next).toEqual(ack(1, window))
      }))
  }

  it.scopedLive("is the window of streams that connect opens, which tops up what the other end believes", () =>
    Effect.gen(function*() {
      const { accept, url } = yield* Wire.listen
      const { port } = yield* connect(url, ["--buffer-size", "64KiB"])
      const wire = yield* accept
      yield* Tcp.connect(port)
      expect(yield* wire.next).toEqual(syn(1))
      yield* wire.send(ack(1, 1024))
      expect(yield* wire.next).toEqual(ack(1, 64 * 1024 - 1024))
    }))
})

describe("--keep-alive", () => {
  /** A stream of one of the commands is open, which is after its first ping. */
  const reached = {
    serve: (args: ReadonlyArray<string>) =>
      Effect.gen(function*() {
        const wire = yield* Wire.dial((yield* serve(yield* Tcp.echo, args)).url)
        yield* wire.send(syn(1))
        yield* wire.next
        return wire
      }),
    connect: (args: ReadonlyArray<string>) =>
      Effect.gen(function*() {
        const { accept, url } = yield* Wire.listen
        const { port } = yield* connect(url, args)
        const wire = yield* accept
        yield* Tcp.connect(port)
        yield* wire.next
        return wire
      })
  }
  for (const [command, reach] of Object.entries(reached)) {
    it.scopedLive(`of ${command} pings at once, unless told otherwise`, () =>
      Effect.gen(function*() {
        expect((yield* reach([])).pings()).toBe(1)
      }))

    it.scopedLive(`off: ${command} never pings`, () =>
      Effect.gen(function*() {
        expect((yield* reach(["--keep-alive", "off"])).pings()).toBe(0)
      }))

    // Long enough for a busy machine to answer in time, and too often for the interval that it has otherwise.
    it.scopedLive(`2s: ${command} pings that often`, () =>
      Effect.gen(function*() {
        const wire = yield* reach(["--keep-alive", "2s"])
        expect(yield* wire.pinged(5)).toBe(5)
      }))
  }

  it.scopedLive("finds out about a server that has frozen", () =>
    Effect.gen(function*() {
      const server = yield* serve(1)
      const client = yield* connect(server.url, ["--log-level", "warning", "--keep-alive", "2s"])
      yield* server.signal("SIGSTOP")
      expect(yield* client.exit).toBe(1)
      expect(client.stderr()).toMatch(/^wsmux: keep alive expired: .+\n$/)
    }))
})

describe("--stats", () => {
  it.scopedLive("prints the counters of a session as lines of JSON", () =>
    Effect.gen(function*() {
      const stats = ["--stats", "100ms"]
      const server = yield* serve(yield* Tcp.echo, stats)
      const client = yield* connect(server.url, stats)
      yield* ask(client.port, "hello")
      const [ofClient] = yield* client.awaitLine(/^\{.*"streams":0,.*"opened":1,.*\}$/)
      const [ofServer] = yield* server.awaitLine(/^\{.*"streams":0,.*"accepted":1,.*\}$/)

      const there = { syn: 1, dat: 1, ack: 0, fin: 1 }
      const back = { syn: 0, dat: 1, ack: 1, fin: 1 }
      const counters = {
        streams: 0,
        bytesIn: 5,
        bytesOut: 5,
        refused: 0,
        duplicateSyns: 0,
        ignoredFrames: 0,
        windowOverruns: 0
      }
      expect(JSON.parse(ofClient)).toEqual({
        ...counters,
        creditOverflows: 0,
        creditStalls: 0,
        peer: server.url.slice("ws://".length),
        opened: 1,
        accepted: 0,
        framesOut: there,
        framesIn: back
      })
      expect(JSON.parse(ofServer)).toEqual({
        ...counters,
        creditOverflows: 0,
        creditStalls: 0,
        peer: expect.stringMatching(/^127\.0\.0\.1:\d+$/),
        opened: 0,
        accepted: 1,
        framesOut: back,
        framesIn: there
      })
    }))

  it.scopedLive("prints the last of them at the end, however seldom it prints", () =>
    Effect.gen(function*() {
      const server = yield* serve(yield* Tcp.echo, ["--stats", "1h"])
      const client = yield* connect(server.url, ["--stats", "1h"])
      yield* ask(client.port, "hello")
      yield* client.signal("SIGINT")
      yield* client.exit
      yield* server.awaitLine(/^\{.*"streams":0,.*"bytesIn":5,"bytesOut":5,.*\}$/)
      expect(client.stdout()).toMatch(/\n\{.*"streams":0,.*"bytesIn":5,"bytesOut":5,.*\}\n$/)
    }))

  it.scopedLive("is silent about what has not changed, and unless it is asked for", () =>
    Effect.gen(function*() {
      const server = yield* serve(yield* Tcp.echo)
      const client = yield* connect(server.url, ["--stats", "1ms"])
      yield* ask(client.port, "hello")
      yield* client.awaitLine(/^\{.*"streams":0,.*"opened":1,.*\}$/)
      yield* ask(client.port, "and again")
      yield* client.awaitLine(/^\{.*"streams":0,.*"opened":2,.*\}$/)
      const lines = client.stdout().split("\n")
      expect(new Set(lines).size).toBe(lines.length)
      expect(server.stdout()).toMatch(/^listening on .*\n$/)
    }))
})

describe("--log-level", () => {
  const levels = {
    warning: { DEBUG: false, INFO: false },
    info: { DEBUG: false, INFO: true },
    debug: { DEBUG: true, INFO: true }
  }
  for (const [level, expected] of Object.entries(levels)) {
    it.scopedLive(`${level} shows ${JSON.stringify(expected)}`, () =>
      Effect.gen(function*() {
        const args = ["--log-level", level]
        const server = yield* serve(yield* Tcp.echo, args)
        const client = yield* connect(server.url, args)
        yield* ask(client.port, "hello")
        yield* client.signal("SIGINT")
        yield* client.exit
        yield* server.signal("SIGINT")
        yield* server.exit
        for (const wsmux of [client, server]) {
          expect({ DEBUG: logged(wsmux, "DEBUG").length > 0, INFO: logged(wsmux, "INFO").length > 0 }).toEqual(expected)
          expect(wsmux.stderr()).not.toContain("unhandled")
        }
      }))
  }

  it.scopedLive("is info unless told otherwise, and tells who comes and goes", () =>
    Effect.gen(function*() {
      const server = yield* serve(yield* Tcp.echo)
      const client = yield* connect(server.url)
      yield* ask(client.port, "hello")
      yield* client.signal("SIGINT")
      yield* server.awaitLine(/client disconnected/)
      expect(logged(server, "INFO")).toEqual([
        "client connected",
        "client disconnected: the session was closed by the peer (code 1000)"
      ])
      yield* client.exit
      expect(client.stderr()).toMatch(/^\S+ level=INFO message="connected to ws:\S+"\n$/)
    }))
})

describe("a target that refuses", () => {
  it.scopedLive("ends each connection, and is a warning at most once a second; the rest lives on", () =>
    Effect.gen(function*() {
      const server = yield* serve(1, ["--log-level", "debug"])
      const client = yield* connect(server.url, ["--log-level", "warning"])
      const asks = Array.from({ length: 10 }, () => ask(client.port, "anybody there?"))
      const answers = yield* Effect.all(asks, { concurrency: "unbounded" })
      expect(answers).toEqual(asks.map(() => ({ how: "end", said: "" })))
      yield* server.signal("SIGINT")
      expect(yield* server.exit).toBe(0)
      const lines = (level: "DEBUG" | "WARN") =>
        logged(server, level).filter((line) => line.startsWith("cannot reach 127.0.0.1:1: connect ECONNREFUSED"))
      expect(lines("WARN").length).toBeLessThan(10)
      expect(lines("WARN").length + lines("DEBUG").length).toBe(10)
    }))
})
