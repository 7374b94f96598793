import { describe, expect, it } from "@effect/vitest"
import * as NodeTransport from "effect-wsmux/NodeTransport"
import * as Effect from "effect/Effect"
import { writeFileSync } from "node:fs"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { text } from "../../support/bytes.js"
import { ack, syn } from "../../support/scriptedPeer.js"
import { folder } from "./forwards/commands.js"
import * as inProcess from "./inProcess.js"
import { connect, run, serve, start } from "./inProcess.js"
import * as Tcp from "./tcp.js"
import * as Wire from "./wire.js"
import * as Process from "./wsmux.js"
import { logged } from "./wsmux.js"

const fixture = (name: string): string => fileURLToPath(new URL(`../../fixtures/tls/${name}`, import.meta.url))

/** The answer of an echo target through the tunnel, and the end of the connection. */
const ask = (port: number, words: string) =>
  Effect.scoped(Effect.gen(function*() {
    const peer = yield* Tcp.connect(port)
    yield* peer.write(words)
    yield* peer.end
    const { bytes, how } = yield* peer.over
    return { how, said: text(bytes) }
  }))

describe("wsmux", () => {
  const given = {
    "--token": { args: ["--token", "secret"] },
    "--token-file": { args: ["--token-file", fixture("../cli/token.txt")] },
    "WSMUX_TOKEN": { args: [], env: { WSMUX_TOKEN: "secret" } },
    "--token beside another WSMUX_TOKEN": { args: ["--token", "secret"], env: { WSMUX_TOKEN: "other" } }
  }
  for (const [name, { args, ...options }] of Object.entries(given)) {
    it.scopedLive(`wsmux serve accepts only its token when ${name} gives the token`, () =>
      Effect.gen(function*() {
        const { connect, run, serve } = "env" in options ? Process : inProcess
        const server = yield* serve(yield* Tcp.echo, args, options)
        const client = yield* connect(server.url, args, options)
        expect(yield* ask(client.port, "hello")).toEqual({ how: "end", said: "hello" })
        // The server accepts the same token by another option, and refuses another token.
        yield* connect(server.url, ["--token", "secret"])
        const { code } = yield* run(["connect", server.url, "--listen", "127.0.0.1:0", "--token", "other"])
        expect(code).toBe(1)
      }))
  }
})

describe("wsmux serve", () => {
  it.scopedLive("wsmux serve logs address and reason once a second when it refuses clients", () =>
    Effect.gen(function*() {
      const server = yield* serve(1, ["--token", "secret"])
      yield* Effect.flip(NodeTransport.connect(server.url))
      yield* server.awaitLine(/level=WARN message="refused 127\.0\.0\.1:\d+: 401, no token"/)
      for (let i = 0; i < 3; i++) yield* Effect.flip(NodeTransport.connect(server.url))
      yield* Effect.sleep("1 seconds") // A second of the server's clock.
      yield* Effect.flip(NodeTransport.connect(server.url, { headers: { authorization: "Bearer guess" } }))
      yield* server.awaitLine(/ 401, wrong token/)
      const counts = logged(server, "WARN").map((line) => 1 + Number(/\((\d) more before\)/.exec(line)?.[1] ?? 0))
      expect(counts.reduce((sum, count) => sum + count)).toBe(5) // slow dials have lines of their own
      yield* Effect.flip(NodeTransport.connect(server.url, { headers: { origin: "https://evil.example" } }))
    }))
})

describe("wsmux connect", () => {
  it.scopedLive("wsmux connect sends all headers and the token when --header occurs twice", () =>
    Effect.gen(function*() {
      const { accept, url } = yield* Wire.listen
      yield* connect(url, ["--header", "X-Key: a b: c ", "--header=x-empty:", "--token", "secret"])
      expect((yield* accept).headers).toMatchObject({
        "x-key": "a b: c",
        "x-empty": "",
        authorization: "Bearer secret"
      })
    }))

  it.scopedLive("wsmux connect sends the headers of a file when --header names it by @", () =>
    Effect.gen(function*() {
      const { accept, url } = yield* Wire.listen
      const path = join(yield* folder, "headers")
      writeFileSync(path, "X-Key: a b: c\r\n\nauthorization: Basic abc")
      yield* connect(url, ["--header", `@${path}`, "--header", "x-other: 1"])
      expect((yield* accept).headers).toMatchObject({ "x-key": "a b: c", authorization: "Basic abc", "x-other": "1" })
    }))

  it.scopedLive("wsmux connect sends the authorization of --header when it has no token", () =>
    Effect.gen(function*() {
      const { accept, url } = yield* Wire.listen
      yield* connect(url, ["--header", "Authorization: Basic abc"])
      expect((yield* accept).headers.authorization).toBe("Basic abc")
    }))
})

describe("wsmux", () => {
  const withTls = ["--tls-cert", fixture("cert.pem"), "--tls-key", fixture("key.pem")]

  it.scopedLive("wsmux carries bytes over TLS when the client trusts the certificate", () =>
    Effect.gen(function*() {
      const server = yield* serve(yield* Tcp.echo, withTls)
      const client = yield* connect(server.url, ["--tls-ca", fixture("cert.pem")])
      expect(server.url).toMatch(/^wss:\/\/127\.0\.0\.1:\d+$/)
      expect(yield* ask(client.port, "hello")).toEqual({ how: "end", said: "hello" })
    }))

  // the certificate is for localhost and 127.0.0.1, and only Linux has further loopback addresses
  it.scopedLive.skipIf(process.platform !== "linux")(
    "wsmux carries bytes over TLS when --sni gives the name",
    () =>
      Effect.gen(function*() {
        const target = `127.0.0.1:${yield* Tcp.echo}`
        const server = yield* start(["serve", "--listen", "127.0.0.2:0", "--target", target, ...withTls])
        const [, url] = yield* server.awaitLine(/^listening on (wss:\S+),/)
        const trusting = ["--tls-ca", fixture("cert.pem")]
        const { code, stderr } = yield* run(["connect", url!, "--listen", "127.0.0.1:0", ...trusting])
        expect([code, stderr]).toEqual([1, expect.stringMatching(/: Hostname\/IP does not match .*\n$/)])
        const client = yield* connect(url!, [...trusting, "--sni", "localhost"])
        expect(yield* ask(client.port, "hello")).toEqual({ how: "end", said: "hello" })
      })
  )

  it.scopedLive("wsmux connect exits with 1 when it does not trust the certificate", () =>
    Effect.gen(function*() {
      const { url } = yield* Process.serve(1, withTls)
      expect(yield* Process.run(["connect", url, "--listen", "127.0.0.1:0"])).toEqual({
        code: 1,
        stdout: "",
        stderr: `wsmux: cannot connect to ${url}: self-signed certificate: name the authority by --tls-ca\n`
      })
    }))
})

describe("wsmux", () => {
  const sizes = { "": 1_048_576, "1": 1, "65536": 65_536, "4KiB": 4096, "256K": 262_144, "2mib": 2_097_152 }
  for (const [size, window] of Object.entries(sizes)) {
    const args = size === "" ? [] : ["--buffer-size", size]

    it.scopedLive(`wsmux serve gives a window of ${window} bytes when --buffer-size is ${size || "missing"}`, () =>
      Effect.gen(function*() {
        const wire = yield* Wire.dial((yield* serve(yield* Tcp.echo, args)).url)
        yield* wire.send(syn(1))
        expect(yield* wire.next).toEqual(ack(1, window))
      }))
  }

  it.scopedLive("wsmux connect raises a smaller window to --buffer-size when its peer accepts a stream", () =>
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

describe("wsmux", () => {
  /** Opens a stream of each command. The first ping precedes the open. */
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
    it.scopedLive(`wsmux ${command} pings at once when it has no --keep-alive`, () =>
      Effect.gen(function*() {
        expect((yield* reach([])).pings()).toBe(1)
      }))

    it.scopedLive(`wsmux ${command} sends no ping when --keep-alive is off`, () =>
      Effect.gen(function*() {
        expect((yield* reach(["--keep-alive", "off"])).pings()).toBe(0)
      }))

    // 2 s are long enough for a busy machine to answer, and far shorter than the default interval.
    it.scopedLive(`wsmux ${command} pings every 2 s when --keep-alive is 2s`, () =>
      Effect.gen(function*() {
        const wire = yield* reach(["--keep-alive", "2s"])
        expect(yield* wire.pinged(5)).toBe(5)
      }))
  }

  it.scopedLive("wsmux connect exits with 1 when --keep-alive finds the server frozen", () =>
    Effect.gen(function*() {
      const server = yield* Process.serve(1)
      const client = yield* Process.connect(server.url, ["--log-level", "warning", "--keep-alive", "2s"])
      yield* server.signal("SIGSTOP")
      expect(yield* client.exit).toBe(1)
      expect(client.stderr()).toMatch(/^wsmux: keep alive expired: .+\n$/)
    }))
})

describe("wsmux", () => {
  it.scopedLive("wsmux prints the counters of a session as lines of JSON when it has --stats", () =>
    Effect.gen(function*() {
      const stats = ["--stats", "100ms"]
      const server = yield* serve(yield* Tcp.echo, stats)
      const client = yield* connect(server.url, stats)
      yield* client.awaitLine(/"framesIn":\{[^}]*"record":1\}/) // the server's HELLO: until then, a SYN opens a stream
      yield* ask(client.port, "hello")
      const [ofClient] = yield* client.awaitLine(/^\{.*"streams":0,.*"opened":1,.*\}$/)
      const [ofServer] = yield* server.awaitLine(/^\{.*"streams":0,.*"accepted":1,.*\}$/)

      const there = { syn: 0, dat: 1, ack: 0, fin: 1, record: 2 } // HELLO and OPEN
      const back = { syn: 0, dat: 1, ack: 1, fin: 1, record: 1 }
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

  it.scopedLive("wsmux prints its last counters at the end when --stats is 1h", () =>
    Effect.gen(function*() {
      const server = yield* Process.serve(yield* Tcp.echo, ["--stats", "1h"])
      const client = yield* Process.connect(server.url, ["--stats", "1h"])
      yield* ask(client.port, "hello")
      yield* client.signal("SIGINT")
      yield* client.exit
      yield* server.awaitLine(/^\{.*"streams":0,.*"bytesIn":5,"bytesOut":5,.*\}$/)
      expect(client.stdout()).toMatch(/\n\{.*"streams":0,.*"bytesIn":5,"bytesOut":5,.*\}\n$/)
    }))

  it.scopedLive("wsmux prints no counters when they have not changed or --stats is missing", () =>
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

describe("wsmux", () => {
  const levels = {
    warning: { DEBUG: false, INFO: false },
    info: { DEBUG: false, INFO: true },
    debug: { DEBUG: true, INFO: true }
  }
  for (const [level, expected] of Object.entries(levels)) {
    it.scopedLive(`wsmux logs only ${JSON.stringify(expected)} when --log-level is ${level}`, () =>
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

  it.scopedLive("wsmux logs connects and disconnects when it has no --log-level", () =>
    Effect.gen(function*() {
      const server = yield* Process.serve(yield* Tcp.echo)
      const client = yield* Process.connect(server.url)
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

describe("wsmux serve", () => {
  it.scopedLive("wsmux serve resets each connection and warns once a second when the target refuses", () =>
    Effect.gen(function*() {
      const server = yield* serve(1, ["--log-level", "debug"])
      const client = yield* connect(server.url, ["--log-level", "warning"])
      const asks = Array.from({ length: 10 }, () => ask(client.port, "anybody there?"))
      const answers = yield* Effect.all(asks, { concurrency: "unbounded" })
      expect(answers).toEqual(asks.map(() => ({ how: "ECONNRESET", said: "" })))
      yield* server.signal("SIGINT")
      expect(yield* server.exit).toBe(0)
      const lines = (level: "DEBUG" | "WARN") =>
        logged(server, level).filter((line) => line.startsWith("cannot reach 127.0.0.1:1: connect ECONNREFUSED"))
      expect(lines("WARN").length).toBeLessThan(10)
      expect(lines("WARN").length + lines("DEBUG").length).toBe(10)
    }))
})
