import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { createServer } from "node:http"
import type { Socket } from "node:net"
import { text } from "../../support/bytes.js"
import { listening, portOf } from "../../support/transports.js"
import * as Tcp from "./tcp.js"
import { connect, logged, run, serve, start, type Wsmux } from "./wsmux.js"

/**
 * A loopback address that no other process uses, so that a server's port stays free between two servers. Systems other
 * than Linux have one loopback address.
 */
const host = process.platform === "linux" ? "127.83.119.109" : "127.0.0.1"

const serveAt = (address: string, target: number) =>
  Effect.gen(function*() {
    const wsmux = yield* start(["serve", "--listen", address, "--target", `127.0.0.1:${target}`])
    const [, url] = yield* wsmux.awaitLine(/^listening on (\S+),/)
    return { ...wsmux, address: url!.slice("ws://".length) }
  })

const kill = (wsmux: Wsmux) => Effect.zipRight(wsmux.signal("SIGKILL"), wsmux.exit)

/** The end of a connection, and the text before the end. */
const fate = (peer: Tcp.Tcp) => Effect.map(peer.over, ({ bytes, how }) => ({ how, said: text(bytes) }))

/** The answer of an echo target, and the end of the connection. */
const ask = (port: number, words: string) =>
  Effect.scoped(Effect.gen(function*() {
    const peer = yield* Tcp.connect(port)
    yield* peer.write(words)
    yield* peer.end
    return yield* fate(peer)
  }))

/** The kernel resets the connection of a killed process that has unread bytes. */
const lost = /^the connection was lost \(code 1006(: read ECONNRESET)?\)$/

describe("wsmux connect", () => {
  it.scopedLive("wsmux connect --reconnect keeps its port when the server is lost and comes back", () =>
    Effect.gen(function*() {
      const target = yield* Tcp.echo
      const first = yield* serveAt(`${host}:0`, target)
      const client = yield* connect(`ws://${first.address}`, ["--reconnect"])
      const open = yield* Tcp.connect(client.port)
      yield* open.write("before")
      yield* open.received(6)

      yield* kill(first)
      expect(yield* fate(open)).toEqual({ how: "ECONNRESET", said: "before" })
      yield* client.awaitLine(/cannot connect to/)
      const early = yield* Tcp.connect(client.port)
      yield* early.write("while no server runs")
      yield* early.end

      yield* serveAt(first.address, target)
      expect(yield* fate(early)).toEqual({ how: "end", said: "while no server runs" })
      expect(yield* ask(client.port, "after")).toEqual({ how: "end", said: "after" })
      yield* client.awaitOutput(() => logged(client, "INFO").length >= 2)
      expect(logged(client, "INFO")).toEqual(Array(2).fill(`connected to ws://${first.address}`))
      const [reason, ...attempts] = logged(client, "WARN").map((line) =>
        line.split(/; the next attempt is in \d+\.\d s$/)
      )
      expect(reason![0]).toMatch(lost)
      expect(new Set(attempts.map(([why]) => why))).toEqual(
        new Set([`cannot connect to ws://${first.address}: connect ECONNREFUSED ${first.address}`])
      )
      expect(new Set([reason!, ...attempts].map((parts) => parts.length))).toEqual(new Set([2]))
    }))

  it.scopedLive("wsmux connect --reconnect waits when no server runs yet", () =>
    Effect.gen(function*() {
      const target = yield* Tcp.echo
      const past = yield* serveAt(`${host}:0`, target)
      yield* kill(past)
      const client = yield* start(["connect", `ws://${past.address}`, "--listen", "127.0.0.1:0", "--reconnect"])
      yield* client.awaitLine(/cannot connect to/)
      expect(client.stdout()).toBe("")
      yield* serveAt(past.address, target)
      const [, port] = yield* client.awaitLine(/^listening on 127\.0\.0\.1:(\d+),/)
      expect(yield* ask(Number(port), "hello")).toEqual({ how: "end", said: "hello" })
    }))

  it.scopedLive("wsmux connect --reconnect dials again when the server has closed the session", () =>
    Effect.gen(function*() {
      const target = yield* Tcp.echo
      const first = yield* serveAt(`${host}:0`, target)
      const client = yield* connect(`ws://${first.address}`, ["--reconnect"])
      yield* first.signal("SIGINT")
      expect(yield* first.exit).toBe(0)
      yield* client.awaitLine(/the session was closed by the peer|cannot connect to/)
      yield* serveAt(first.address, target)
      expect(yield* ask(client.port, "hello again")).toEqual({ how: "end", said: "hello again" })
    }))

  it.scopedLive("wsmux connect --reconnect waits as long as retry-after when the server answers 429", () =>
    Effect.gen(function*() {
      const answers: Array<number> = []
      const server = yield* listening(createServer())
      server.on("upgrade", (_request, socket: Socket) => {
        answers.push(Date.now())
        const [status, header] = answers.length === 1
          ? ["429 Too Many Requests", "retry-after: 1\r\n"]
          : ["403 Forbidden", ""]
        socket.end(`HTTP/1.1 ${status}\r\n${header}content-length: 0\r\nconnection: close\r\n\r\n`)
      })
      const url = `ws://127.0.0.1:${portOf(server)}`
      const { code, stderr } = yield* run(["connect", url, "--listen", "127.0.0.1:0", "--reconnect"])
      expect(code).toBe(1)
      expect(stderr).toContain(`cannot connect to ${url}: the server answered 429; the next attempt is in 1.`)
      expect(stderr).toContain(`wsmux: cannot connect to ${url}: the server answered 403\n`)
      expect(answers[1]! - answers[0]!).toBeGreaterThanOrEqual(1000)
    }))

  it.scopedLive("wsmux connect --reconnect exits when it is refused or its address is malformed", () =>
    Effect.gen(function*() {
      const { url } = yield* serve(1, ["--token", "secret"])
      for (
        const [where, why, exit] of [
          [url, "the server answered 401: give the token by --token-file or WSMUX_TOKEN", 1],
          ["nonsense", "not a ws:// or wss:// address", 2]
        ] as const
      ) {
        const { code, stderr } = yield* run(["connect", where, "--listen", "127.0.0.1:0", "--reconnect"])
        expect(code).toBe(exit)
        expect(stderr).toContain(`wsmux: cannot connect to ${where}: ${why}\n`)
      }
    }))

  it.scopedLive("wsmux connect --reconnect exits with 0 when SIGINT comes while no server runs", () =>
    Effect.gen(function*() {
      const server = yield* serve(1)
      const client = yield* connect(server.url, ["--reconnect"])
      const waiting = yield* Tcp.connect(client.port)
      yield* kill(server)
      yield* client.awaitLine(/cannot connect to/)
      yield* client.signal("SIGINT")
      expect(yield* client.exit).toBe(0)
      expect((yield* waiting.over).how).toBe("ECONNRESET")
    }))
})

describe("wsmux connect", () => {
  const ends = {
    "is killed": { signal: "SIGKILL", complaint: lost },
    "goes away": {
      signal: "SIGINT",
      complaint:
        /^(the session was closed by the peer \(code 1001: drained\)|cannot connect to .*: connect ECONNREFUSED .*)$/
    }
  } as const
  for (const [name, { complaint, signal }] of Object.entries(ends)) {
    it.scopedLive(`wsmux connect exits with 1 and logs one line when the server ${name}`, () =>
      Effect.gen(function*() {
        const server = yield* serve(1)
        const client = yield* connect(server.url, ["--log-level", "warning"])
        yield* server.signal(signal)
        expect(yield* client.exit).toBe(1)
        const [line, ...others] = client.stderr().split(/(?<=\n)/)
        expect(line).toMatch(/^wsmux: .*\n$/)
        expect(line!.slice("wsmux: ".length, -1)).toMatch(complaint)
        expect(others).toEqual([])
      }))
  }
})
