import { describe, expect, it } from "@effect/vitest"
import * as WsTransport from "effect-wsmux/WsTransport"
import * as Effect from "effect/Effect"
import { readFileSync } from "node:fs"
import { bytes, text } from "../support/bytes.js"
import { dat, fin, syn } from "../support/scriptedPeer.js"
import { rawAnswer, rejected, tcpServer, upgradeHeaders } from "../support/transports.js"
import * as Tcp from "./tcp.js"
import * as Wire from "./wire.js"
import { connect, run, serve } from "./wsmux.js"

/** Nobody listens at port 1. */
const nobody = "127.0.0.1:1"

const secret = "correct-horse-battery-staple"

describe("listening where others may reach it", () => {
  for (const address of ["[::]:0", "[::ffff:0.0.0.0]:0", "localhost.:0"]) {
    it.live(`is refused without a token: ${address}`, () =>
      Effect.gen(function*() {
        const { code, stderr, stdout } = yield* run(["serve", "--listen", address, "--target", nobody])
        const advice = "give a --token, or --allow-anonymous to let everybody in"
        expect({ code, stderr, stdout }).toEqual({
          code: 2,
          stderr: `wsmux: ${address} can be reached by others: ${advice}\n`,
          stdout: ""
        })
      }))
  }
})

describe("a web page", () => {
  it.scopedLive("does not get into the tunnel, wherever its name points to, not even with the token", () =>
    Effect.gen(function*() {
      for (const args of [[], ["--token", secret]]) {
        const { url } = yield* serve(1, args)
        const { host } = new URL(url)
        for (const origin of [`http://${host}`, `https://${host}`, "http://evil.example", "null"]) {
          const headers = { origin, authorization: `Bearer ${secret}` }
          expect(yield* Effect.flip(WsTransport.connect(url, { headers }))).toEqual(rejected(url, 403))
        }
        // Its name made to point here: the host is its own.
        const rebound = { host: "evil.example", origin: "http://evil.example" }
        expect(yield* Effect.flip(WsTransport.connect(url, { headers: rebound }))).toEqual(rejected(url, 403))
      }
    }))
})

describe("the target", () => {
  it.scopedLive("is the one that was named, whatever a client asks for", () =>
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
      // An id of the stream that looks like the port is nothing but an id.
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

describe("a secret", () => {
  /** Everything that can be seen of a run in which much goes wrong. */
  it.scopedLive("is in no output of either command, at any level, and not in the list of processes", () =>
    Effect.gen(function*() {
      const args = ["--log-level", "all", "--stats", "50ms"]
      const target = yield* Tcp.echo
      const server = yield* serve(target, [...args, "--token", secret])
      const secretive = (url: string) => `${url.replace("ws://", `ws://user:${secret}@`)}/?token=${secret}`
      const client = yield* connect(secretive(server.url), [...args, "--token", secret, "--reconnect"])
      const near = yield* Tcp.connect(client.port)
      yield* near.write("hello")
      yield* near.received(5)
      const listed = [server, client].map(({ pid }) => readFileSync(`/proc/${pid}/cmdline`, "utf8"))
      expect(listed[0]).toContain("--token ***")

      // Strangers, a target that resets, and a server that is gone.
      yield* rawAnswer(Number(new URL(server.url).port), "nonsense\r\n\r\n")
      const stranger = yield* run(["connect", secretive(server.url), "--listen", "127.0.0.1:0", ...args])
      const guessing = yield* run(["connect", server.url, "--listen", "127.0.0.1:0", "--token", `${secret}!`, ...args])
      yield* near.reset
      yield* server.signal("SIGTERM")
      yield* server.exit
      yield* client.awaitLine(/level=WARN.*cannot connect to /)
      const typos = [
        ["connect", secretive("http://127.0.0.1:1"), "--listen", "127.0.0.1:0"],
        ["connect", secretive("ws://127.0.0.1:1#"), "--listen", "127.0.0.1:0"],
        ["connect", `user:${secret}@127.0.0.1:1`, "--listen", "127.0.0.1:0"],
        ["serve", "--listen", "127.0.0.1:0", "--target", nobody, `--tokn=${secret}`],
        ["serve", "--listen", "127.0.0.1:0", "--target", nobody, "--token", `${secret} and a space`],
        ["serve", "--listen", "127.0.0.1:0", "--target", nobody, "--tls-cert", "/nowhere", "--token", secret]
      ]
      const faults = yield* Effect.forEach(typos, (args) => run(args))
      const outputs = [stranger, guessing, ...faults].flatMap(({ stderr, stdout }) => [stdout, stderr])
      const seen = [...listed, ...[server, client].flatMap(({ stderr, stdout }) => [stdout(), stderr()]), ...outputs]
      expect(seen.filter((text) => text.includes(secret))).toEqual([])
      expect([stranger.code, guessing.code, ...faults.map(({ code }) => code)]).toEqual([1, 1, 1, 1, 1, 2, 2, 2])
    }))
})
