import { describe, expect, it } from "@effect/vitest"
import * as Address from "effect-wsmux/Address"
import { maxMessageSize } from "effect-wsmux/internal/settings/validate"
import * as MemoryTransport from "effect-wsmux/MemoryTransport"
import * as SessionConfig from "effect-wsmux/SessionConfig"
import { Transport } from "effect-wsmux/Transport"
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as TestClock from "effect/TestClock"
import { bytes, pattern, text } from "../../support/bytes.js"
import { settle } from "../../support/sessions.js"
import { memory } from "../../support/transports.js"
import { fill, listen, transportSuite } from "../../support/transportSuite.js"

transportSuite("memory", memory)
transportSuite("memory with TestClock", memory, { testClock: true })

const makeEnds = (options?: MemoryTransport.Options) =>
  Effect.gen(function*() {
    const pair = yield* MemoryTransport.makePair(options)
    return { ...pair, pair, atClient: yield* listen(pair.client), atServer: yield* listen(pair.server) }
  })

describe("MemoryTransport.makePair", () => {
  it.scoped("MemoryTransport holds its capacity in each direction, and is writable below that", () =>
    Effect.gen(function*() {
      const { atClient, atServer, client, server } = yield* makeEnds({ capacity: 10 })
      client.send([pattern(9)])
      expect(client.pollWritable()).toBe(true)
      client.send([pattern(1)])
      expect([client.pollWritable(), server.pollWritable()]).toEqual([false, true])
      yield* settle
      expect(client.pollWritable()).toBe(true)
      expect([atClient.told, atServer.told]).toEqual([["writable"], ["message", "message"]])
    }))

  it.scoped("MemoryTransport.makePair has 64 KiB, the default message size and addresses by default", () =>
    Effect.gen(function*() {
      const { client, server } = yield* MemoryTransport.makePair()
      client.send([pattern(64 * 1024 - 1)])
      expect(client.pollWritable()).toBe(true)
      client.send([pattern(1)])
      expect(client.pollWritable()).toBe(false)
      expect(client.maxMessageSize).toBe(maxMessageSize(SessionConfig.defaults))
      expect([client.localAddress, server.localAddress]).toEqual([
        Address.opaque("memory:client"),
        Address.opaque("memory:server")
      ])
    }))

  it.scoped("MemoryTransport delivers a message after its latency, and holds its bytes until then", () =>
    Effect.gen(function*() {
      const { atClient, atServer, client } = yield* makeEnds({ latency: "100 millis", capacity: 10 })
      client.send([bytes("first")])
      client.send([bytes("second")])
      expect(client.pollWritable()).toBe(false)
      yield* TestClock.adjust("60 millis")
      client.send([bytes("third")])
      yield* TestClock.adjust("39 millis")
      expect([atClient.told, atServer.told]).toEqual([[], []])
      yield* TestClock.adjust("1 millis")
      expect([atClient.told, atServer.told]).toEqual([["writable"], ["message", "message"]])
      yield* TestClock.adjust("59 millis")
      expect(atServer.told).toEqual(["message", "message"])
      yield* TestClock.adjust("1 millis")
      expect((yield* atServer.take(3)).map(text)).toEqual(["first", "second", "third"])
    }))

  it.scoped("MemoryTransport delays pings, pongs and close frames by its latency", () =>
    Effect.gen(function*() {
      const { atClient, atServer, client, server } = yield* makeEnds({ latency: "100 millis" })
      client.ping?.()
      yield* TestClock.adjust("99 millis")
      expect([client.receiveCount(), server.receiveCount()]).toEqual([0, 0])
      yield* TestClock.adjust("1 millis")
      expect([client.receiveCount(), server.receiveCount()]).toEqual([0, 2])
      yield* TestClock.adjust("100 millis")
      expect([client.receiveCount(), server.receiveCount()]).toEqual([1, 2])
      const closing = yield* Effect.fork(client.close(4321, "enough", "1 second"))
      yield* TestClock.adjust("100 millis")
      expect([atClient.told, atServer.told, closing.unsafePoll()]).toEqual([[], ["close"], null])
      yield* TestClock.adjust("100 millis")
      yield* Fiber.join(closing)
      expect(yield* atClient.ended).toEqual({ code: 4321, reason: "enough" })
    }))

  it.scoped("MemoryTransport drops messages under way and closes both ends once when it is cut", () =>
    Effect.gen(function*() {
      const { atClient, atServer, client, pair, server } = yield* makeEnds()
      client.send([bytes("hello")])
      server.send([bytes("hello")])
      yield* pair.cut
      yield* pair.cut
      client.send([bytes("too late")])
      yield* settle
      expect([yield* atClient.ended, yield* atServer.ended]).toEqual([{ code: 1006, reason: "" }, {
        code: 1006,
        reason: ""
      }])
      expect([atClient.told, atServer.told]).toEqual([["close"], ["close"]])
      expect([client.pollWritable(), server.pollWritable()]).toEqual([false, false])
    }))

  for (const [side, other] of [["client", "server"], ["server", "client"]] as const) {
    it.scoped(`MemoryTransport keeps the messages of a stalled ${side} until it is resumed`, () =>
      Effect.gen(function*() {
        const { pair, ...ends } = yield* makeEnds({ capacity: 200_000 })
        const [near, far] = side === "client" ? [ends.atClient, ends.atServer] : [ends.atServer, ends.atClient]
        yield* pair.stall(side)
        const sent = fill(ends[side])
        ends[other].send([bytes("hello")])
        yield* settle
        expect([near.told, far.told]).toEqual([["message"], []])
        expect(ends[side].pollWritable()).toBe(false)
        yield* pair.resume(side)
        expect(yield* far.take(sent.length)).toEqual(sent)
        expect([near.told, far.told]).toEqual([["message", "writable"], sent.map(() => "message")])
      }))
  }

  it.scoped("MemoryTransport.close completes after its time-out when the peer is stalled", () =>
    Effect.gen(function*() {
      const { atClient, client, pair } = yield* makeEnds()
      yield* pair.stall("client")
      const closing = yield* Effect.fork(client.close(1000, "", "2 seconds"))
      yield* TestClock.adjust("1999 millis")
      expect([closing.unsafePoll(), atClient.told]).toEqual([null, []])
      yield* TestClock.adjust("1 millis")
      yield* Fiber.join(closing)
      expect(yield* atClient.ended).toEqual({ code: 1006, reason: "" })
      expect(atClient.told).toEqual(["close"])
    }))

  it.scoped("MemoryTransport.close ends the connection at once when it is interrupted", () =>
    Effect.gen(function*() {
      const { atClient, client, pair } = yield* makeEnds()
      yield* pair.stall("client")
      const closing = yield* Effect.fork(client.close(1000, "", Duration.infinity))
      yield* settle
      expect([closing.unsafePoll(), atClient.told]).toEqual([null, []])
      yield* Fiber.interrupt(closing)
      expect(yield* atClient.ended).toEqual({ code: 1006, reason: "" })
    }))

  it.scoped("MemoryTransport.Pair.close closes both ends with the given code", () =>
    Effect.gen(function*() {
      const { atClient, atServer, pair } = yield* makeEnds()
      yield* pair.close(1012, "restart")
      yield* pair.close(1013, "too late")
      const end = { code: 1012, reason: "restart" }
      expect([yield* atClient.ended, yield* atServer.ended]).toEqual([end, end])
      expect([atClient.told, atServer.told]).toEqual([["close"], ["close"]])
    }))

  it.scoped("MemoryTransport calls onClose once and last when a listener cuts the pair", () =>
    Effect.gen(function*() {
      const pair = yield* MemoryTransport.makePair()
      pair.client.send([bytes("one")])
      pair.client.send([bytes("two")])
      yield* settle
      const told: Array<string> = []
      pair.server.listen({
        onMessage: (message) => {
          told.push(text(message))
          Effect.runSync(pair.cut)
        },
        onText: () => told.push("text"),
        onWritable: () => told.push("writable"),
        onClose: () => told.push("close")
      })
      expect(told).toEqual(["one", "two", "close"])
    }))

  it.scoped("MemoryTransport has no ping when its ping option is false", () =>
    Effect.map(MemoryTransport.makePair({ ping: false }), ({ client, server }) => {
      expect([client.ping, server.ping]).toEqual([undefined, undefined])
    }))

  it.scoped("MemoryTransport.layer provides one end as the Transport", () =>
    Effect.gen(function*() {
      const { server } = yield* MemoryTransport.makePair()
      expect(yield* Effect.provide(Transport, MemoryTransport.layer(server))).toBe(server)
    }))

  it.scoped("MemoryTransport repeats its events at the same times when a program is repeated", () =>
    Effect.gen(function*() {
      const program = Effect.gen(function*() {
        const { client, pair, server } = yield* makeEnds({ latency: "10 millis", capacity: 300 })
        const start = yield* Clock.currentTimeMillis
        const log: Array<readonly [number, ...ReadonlyArray<unknown>]> = []
        for (let step = 0; step < 50; step++) {
          if (step % 3 !== 0) client.send([pattern(step * 7)])
          if (step % 4 !== 0) server.send([pattern(step * 5)])
          if (step % 11 === 0) client.ping?.()
          if (step % 13 === 0) yield* pair.stall("server")
          if (step % 13 === 5) yield* pair.resume("server")
          yield* TestClock.adjust(Duration.millis(step % 6))
          const now = yield* Clock.currentTimeMillis
          log.push([
            now - start,
            client.receiveCount(),
            server.receiveCount(),
            client.pollWritable(),
            server.pollWritable()
          ])
        }
        return log
      })
      const first = yield* Effect.scoped(program)
      expect(new Set(first.map(([, ...state]) => state.join())).size).toBeGreaterThan(20)
      expect(yield* Effect.scoped(program)).toEqual(first)
    }))
})
