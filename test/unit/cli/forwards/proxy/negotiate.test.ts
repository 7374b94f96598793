import { describe, expect, it } from "@effect/vitest"
import * as ByteStream from "effect-wsmux/ByteStream"
import * as Codes from "effect-wsmux/cli/forwards/codes"
import * as Place from "effect-wsmux/cli/forwards/place"
import { negotiate } from "effect-wsmux/cli/forwards/proxy/negotiate"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as TestClock from "effect/TestClock"
import { bytes, concat, text } from "../../../../support/bytes.js"
import { settle } from "../../../../support/sessions.js"

/** A connection whose client sends these chunks and then ends, or with `isOpen` says nothing more. */
const makeClient = (chunks: ReadonlyArray<Uint8Array | string>, isOpen = false) => {
  const sent = chunks.map((chunk) => typeof chunk === "string" ? Buffer.from(chunk, "latin1") : chunk)
  const answered: Array<Uint8Array> = []
  let hasEnded = false
  const connection = ByteStream.make<never>({
    read: Effect.suspend(() => {
      const next = sent.shift()
      return next === undefined && isOpen ? Effect.never : Effect.succeed(Option.fromNullable(next))
    }),
    write: (chunk) => Effect.sync(() => void answered.push(Uint8Array.from(chunk))),
    end: Effect.sync(() => {
      hasEnded = true
    })
  })
  return { connection, answer: () => Buffer.from(concat(answered)), hasEnded: () => hasEnded }
}

/** Serves a client whose targets are all reached, or refused with a code. */
const serve = (chunks: ReadonlyArray<Uint8Array | string>, code?: Codes.Code) =>
  Effect.gen(function*() {
    const client = makeClient(chunks)
    const targets: Array<string> = []
    const forwarded: Array<Uint8Array> = []
    const other = { write: (chunk: Uint8Array) => Effect.sync(() => void forwarded.push(Uint8Array.from(chunk))) }
    const exit = yield* Effect.exit(negotiate(client.connection, (target) => {
      targets.push(Place.format(target))
      return code === undefined
        ? Effect.succeed({ other, write: other.write, first: bytes("welcome") })
        : Effect.fail({ code, reason: "no way" })
    }))
    return {
      isServed: Exit.isSuccess(exit),
      targets,
      answer: client.answer(),
      forwarded: text(concat(forwarded)),
      hasEnded: client.hasEnded()
    }
  })

const greeting = [5, 1, 0]
const name = (host: string, port: number) => [3, host.length, ...Buffer.from(host), port >> 8, port & 255]
const socks5 = (...address: ReadonlyArray<number>) => Buffer.from([...greeting, 5, 1, 0, ...address])
const success5 = "050005000001000000000000"

describe("negotiate", () => {
  const addresses: ReadonlyArray<readonly [string, ReadonlyArray<number>]> = [
    ["db.example:5432", name("db.example", 5432)],
    ["10.0.0.7:80", [1, 10, 0, 0, 7, 0, 80]],
    ["[2a00::7]:80", [4, 0x2a, ...Array.from({ length: 14 }, () => 0), 7, 0, 80]],
    ["10.0.0.7:80", name("10.0.0.7", 80)],
    ["[2a00::7]:80", name("2a00::7", 80)]
  ]
  for (const [target, address] of addresses) {
    it.effect(`negotiate reaches ${target} for a client of SOCKS 5 when it sends ${address.slice(0, 2)}`, () =>
      Effect.gen(function*() {
        const served = yield* serve([socks5(...address)])
        expect({ ...served, answer: served.answer.toString("hex") }).toEqual({
          isServed: true,
          targets: [target],
          answer: success5 + Buffer.from("welcome").toString("hex"),
          forwarded: "",
          hasEnded: false
        })
      }))
  }

  it.effect("negotiate understands SOCKS 5 when each byte comes alone, and keeps the rest", () =>
    Effect.gen(function*() {
      const all = Buffer.concat([socks5(...name("db", 80)), Buffer.from("hello")])
      const served = yield* serve([...Array.from(all.subarray(0, -5), (byte) => Uint8Array.of(byte)), all.subarray(-5)])
      expect([served.targets, served.answer.subarray(-7).toString()]).toEqual([["db:80"], "welcome"])
      const atOnce = yield* serve([all])
      expect([atOnce.targets, atOnce.forwarded]).toEqual([["db:80"], "hello"])
    }))

  const socks4: ReadonlyArray<readonly [string, ReadonlyArray<number>]> = [
    ["10.0.0.7:80", [4, 1, 0, 80, 10, 0, 0, 7, ...Buffer.from("me"), 0]],
    ["db:80", [4, 1, 0, 80, 0, 0, 0, 1, 0, ...Buffer.from("db"), 0]]
  ]
  for (const [target, request] of socks4) {
    it.effect(`negotiate reaches ${target} for a client of SOCKS 4`, () =>
      Effect.gen(function*() {
        const { answer, targets } = yield* serve([Uint8Array.from(request)])
        expect([targets, answer.subarray(0, 2).toString("hex")]).toEqual([[target], "005a"])
      }))
  }

  const replies: ReadonlyArray<readonly [keyof typeof Codes.Code, number, string]> = [
    ["Forbidden", 2, "403 Forbidden"],
    ["NameNotFound", 4, "502 Bad Gateway"],
    ["Unreachable", 4, "502 Bad Gateway"],
    ["ConnectionRefused", 5, "502 Bad Gateway"],
    ["TimedOut", 4, "504 Gateway Timeout"],
    ["TooMany", 1, "502 Bad Gateway"]
  ]
  for (const [code, reply, status] of replies) {
    it.effect(`negotiate answers ${reply} by SOCKS and ${status} by HTTP when the target is ${code}`, () =>
      Effect.gen(function*() {
        const socks = yield* serve([socks5(...name("db", 80))], Codes.Code[code])
        expect([socks.isServed, socks.hasEnded, socks.answer[3]]).toEqual([false, true, reply])
        const http = yield* serve(["CONNECT db:80 HTTP/1.1\r\n\r\n"], Codes.Code[code])
        expect([http.isServed, http.hasEnded]).toEqual([false, true])
        expect(http.answer.toString()).toMatch(new RegExp(`^HTTP/1\\.1 ${status}\r\n[^]*\r\n\r\nno way\n$`))
      }))
  }

  it.effect("negotiate answers 200 to CONNECT and keeps bytes behind its head", () =>
    Effect.gen(function*() {
      const served = yield* serve(["CONNECT [::1]:443 HTTP/1.1\r\nhost: [::1]:443\r\n\r\nhello"])
      expect([served.targets, served.forwarded]).toEqual([["[::1]:443"], "hello"])
      expect(served.answer.toString()).toBe("HTTP/1.1 200 Connection established\r\n\r\nwelcome")
    }))

  it.effect("negotiate rewrites a request for http:// without the fields for the proxy", () =>
    Effect.gen(function*() {
      const served = yield* serve([
        "POST http://web.example/a?b=c HTTP/1.1\r\nHost: web.example\r\nProxy-Connection: keep-alive\r\n",
        "Proxy-Authorization: Basic abc\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nhi"
      ])
      expect(served.targets).toEqual(["web.example:80"])
      expect(served.forwarded).toBe(
        "POST /a?b=c HTTP/1.1\r\nHost: web.example\r\nContent-Length: 2\r\nconnection: close\r\n\r\nhi"
      )
      expect(served.answer.toString()).toBe("welcome")
    }))

  const malformed: ReadonlyArray<readonly [what: string, begin: string, answer: string]> = [
    ["a request of a browser", "GET / HTTP/1.1\r\nhost: a\r\n\r\n", "HTTP/1.1 400 "],
    ["CONNECT without a port", "CONNECT db HTTP/1.1\r\n\r\n", "HTTP/1.1 400 "],
    ["CONNECT to a path", "CONNECT /run/db.sock HTTP/1.1\r\n\r\n", "HTTP/1.1 400 "],
    ["a request for https://", "GET https://db/ HTTP/1.1\r\n\r\n", "HTTP/1.1 400 "],
    ["a head of 17 KiB", `GET http://db/ HTTP/1.1\r\na: ${"b".repeat(17 * 1024)}`, "HTTP/1.1 431 "],
    ["another protocol", "SSH-2.0\r\n\r\n", "HTTP/1.1 400 "],
    ["bytes of TLS", "\x16\x03\x01", ""],
    ["no byte", "", ""],
    ["SOCKS 5 without an open method", "\x05\x01\x02", "\x05\xff"],
    ["BIND", "\x05\x01\x00\x05\x02\x00\x01aaaa\x00\x50", "\x05\x00\x05\x07"],
    ["an unknown kind of address", "\x05\x01\x00\x05\x01\x00\x02aaaa\x00\x50", "\x05\x00\x05\x08"],
    ["a name with a slash", "\x05\x01\x00\x05\x01\x00\x03\x03a/b\x00\x50", "\x05\x00\x05\x04"],
    ["the port 0", "\x05\x01\x00\x05\x01\x00\x01aaaa\x00\x00", "\x05\x00\x05\x04"]
  ]
  for (const [what, begin, answer] of malformed) {
    it.effect(`negotiate reaches no target and answers when the client sends ${what}`, () =>
      Effect.gen(function*() {
        const served = yield* serve(begin === "" ? [] : [begin])
        expect([served.isServed, served.targets]).toEqual([false, []])
        expect(served.answer.toString("latin1").slice(0, answer.length)).toBe(answer)
      }))
  }

  it.effect("negotiate fails after 10 s when the client says nothing", () =>
    Effect.gen(function*() {
      const { connection } = makeClient([Uint8Array.of(5)], true)
      const serving = yield* Effect.fork(Effect.flip(negotiate(connection, () => Effect.never)))
      yield* settle
      yield* TestClock.adjust("9999 millis")
      expect(serving.unsafePoll()).toBe(null)
      yield* TestClock.adjust("1 millis")
      expect(yield* Fiber.join(serving)).toMatchObject({ reason: "the client has not asked in time" })
    }))

  it.effect("negotiate fails 2 s after its answer when a refused client does not end", () =>
    Effect.gen(function*() {
      const { answer, connection } = makeClient([socks5(...name("db", 80))], true)
      const refusal = Effect.fail({ code: Codes.Code.Forbidden, reason: "no" })
      const serving = yield* Effect.fork(Effect.flip(negotiate(connection, () => refusal)))
      yield* settle
      expect([answer()[3], serving.unsafePoll()]).toEqual([2, null])
      yield* TestClock.adjust("2 seconds")
      expect(yield* Fiber.join(serving)).toMatchObject({ reason: "no" })
    }))
})
