import { describe, expect, it } from "@effect/vitest"
import type { CloseInfo, Transport } from "effect-wsmux/Transport"
import * as Chunk from "effect/Chunk"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Queue from "effect/Queue"
import { createHash } from "node:crypto"
import { bytes, pattern, text } from "./bytes.js"
import { settle } from "./sessions.js"
import type { AcquireEnds } from "./transports.js"
import { patience, within } from "./within.js"

export interface Traits {
  /** Whether the transport lives under a `TestClock`. */
  readonly testClock?: boolean
  /** Whether the client is a script in a browser: no pings, no way to end TCP, and other close codes. */
  readonly script?: boolean
  /** Whether both ends know their addresses from the start. */
  readonly addresses?: boolean
}

/** Listens, and records all calls in their order. */
export const listen = (transport: Transport) =>
  Effect.gen(function*() {
    const messages = yield* Queue.unbounded<Uint8Array>()
    const writable = yield* Deferred.make<void>()
    const ended = yield* Deferred.make<CloseInfo>()
    const told: Array<string> = []
    transport.listen({
      onMessage: (message) => {
        told.push("message")
        messages.unsafeOffer(message)
      },
      onText: () => told.push("text"),
      onWritable: () => {
        told.push("writable")
        Deferred.unsafeDone(writable, Effect.void)
      },
      onClose: (end) => {
        told.push("close")
        Deferred.unsafeDone(ended, Effect.succeed(end))
      }
    })
    return {
      told,
      next: Queue.take(messages).pipe(within(patience, "the next message")),
      take: (count: number) =>
        Queue.takeN(messages, count).pipe(Effect.map(Chunk.toReadonlyArray), within(patience, `${count} messages`)),
      writable: Deferred.await(writable).pipe(within(patience, "onWritable")),
      ended: Deferred.await(ended).pipe(within(patience, "onClose"))
    }
  })

/** Sends within one turn until the transport has no room. Returns the sent messages. */
export const fill = (transport: Transport): ReadonlyArray<Uint8Array> => {
  const sent: Array<Uint8Array> = []
  while (transport.pollWritable()) {
    expect(sent.length).toBeLessThan(1000)
    const message = pattern(64 * 1024, sent.length + 1)
    sent.push(message.slice())
    transport.send([message])
  }
  return sent
}

/** A short text per message, so that a failed comparison stays readable. */
const digest = (message: Uint8Array) => `${message.byteLength} ${createHash("sha1").update(message).digest("hex")}`

/** The close code that a script sends for a code: scripts may use 1000, and 3000 and above. */
const scriptCode = (code: number) => code === 1000 || code >= 3000 ? code : code + 3000

const sides = [["client", "server"], ["server", "client"]] as const

/** Tests the contract of `Transport` from both ends of a connection. */
export const transportSuite = (name: string, acquireEnds: AcquireEnds, traits: Traits = {}) => {
  const test = traits.testClock === true ? it.scoped : it.scopedLive
  const told = (from: "client" | "server", code: number) =>
    from === "client" && traits.script === true ? scriptCode(code) : code

  describe(`Transport over ${name}`, () => {
    test("Transport carries messages of every size whole and in order when both ends send", () =>
      Effect.gen(function*() {
        const { client, server } = yield* acquireEnds()
        const [atClient, atServer] = [yield* listen(client), yield* listen(server)]
        const messages = [1024 * 1024, 0, 1, 125, 126, 65_535, 65_536, 1024 * 1024, 0, 2].map(pattern)
        const sent = messages.map(digest)
        for (const message of messages) {
          client.send([message.slice()])
          server.send([message.slice()])
        }
        expect((yield* atServer.take(sent.length)).map(digest)).toEqual(sent)
        expect((yield* atClient.take(sent.length)).map(digest)).toEqual(sent)
      }))

    for (const [from, to] of sides) {
      test(`Transport keeps messages and the end of the ${from} when the ${to} listens late`, () =>
        Effect.gen(function*() {
          const ends = yield* acquireEnds()
          ends[from].send([bytes("one")])
          ends[from].send([bytes("two")])
          yield* ends[from].close(4321, "enough", "10 seconds")
          const late = yield* listen(ends[to])
          const end = yield* late.ended
          expect((yield* late.take(2)).map(text)).toEqual(["one", "two"])
          expect(end).toEqual({ code: told(from, 4321), reason: "enough" })
          expect(late.told).toEqual(["message", "message", "close"])
        }))

      test(`Transport keeps the largest message of the ${from} when the ${to} listens late`, () =>
        Effect.gen(function*() {
          const ends = yield* acquireEnds({ maxMessageSize: 100 })
          const near = yield* listen(ends[from])
          const message = pattern(100)
          ends[from].send([message.slice()])
          yield* ends[from].close(4321, "", "10 seconds")
          const far = yield* listen(ends[to])
          yield* Effect.all([near.ended, far.ended])
          expect(far.told).toEqual(["message", "close"])
          expect(digest(yield* far.next)).toEqual(digest(message))
        }))

      test(`Transport ends when the ${from} sends more than can wait until the ${to} listens`, () =>
        Effect.gen(function*() {
          const ends = yield* acquireEnds({ maxMessageSize: 100 })
          const near = yield* listen(ends[from])
          const messages = Array.from({ length: 10 }, (_, i) => pattern(100, i + 1))
          for (const message of messages) ends[from].send([message.slice()])
          expect((yield* near.ended).code).not.toBe(1000)
          const far = yield* listen(ends[to])
          yield* far.ended
          const kept = far.told.length - 1
          expect(far.told).toEqual([...Array.from({ length: kept }, () => "message"), "close"])
          expect((yield* far.take(kept)).map(digest)).toEqual(messages.slice(0, kept).map(digest))
          expect(kept).toBeLessThan(messages.length)
        }))

      for (const fitting of [0, 1]) {
        test(`Transport ends with 1009 when the ${from} sends an oversized message behind ${fitting} others`, () =>
          Effect.gen(function*() {
            const ends = yield* acquireEnds({ maxMessageSize: 1000 })
            const [near, far] = [yield* listen(ends[from]), yield* listen(ends[to])]
            expect(ends[to].maxMessageSize).toBe(1000)
            for (let i = 0; i < fitting; i++) {
              ends[from].send([pattern(1000)])
              expect((yield* far.next).byteLength).toBe(1000)
            }
            ends[from].send([pattern(1001)])
            ends[from].send([bytes("behind it")])
            expect((yield* near.ended).code).toBe(told(to, 1009))
            expect(yield* far.ended).toMatchObject({
              code: expect.not.toBeOneOf([1000]),
              cause: expect.any(RangeError)
            })
            yield* settle
            expect(far.told).toEqual([...Array.from({ length: fitting }, () => "message"), "close"])
          }))
      }

      test(`Transport tells each end once, with code and reason, when the ${from} closes`, () =>
        Effect.gen(function*() {
          for (const code of [1000, 1001, 1008, 3000, 4999]) {
            const ends = yield* acquireEnds()
            const [near, far] = [yield* listen(ends[from]), yield* listen(ends[to])]
            // Before the first message, a platform socket does not distinguish 1000 from a loss.
            ends[from].send([bytes("hello")])
            yield* far.next
            yield* ends[from].close(code, `because of ${code}`, "10 seconds")
            expect(yield* far.ended).toEqual({ code: told(from, code), reason: `because of ${code}` })
            yield* near.ended
            yield* Effect.all([ends.client.close(4001, "", 0), ends.server.close(4002, "", 0)], { concurrency: 2 })
            expect([near.told, far.told]).toEqual([["close"], ["message", "close"]])
          }
        }))

      test(`Transport tells the ${to} a reason without control characters when the ${from} closes`, () =>
        Effect.gen(function*() {
          const ends = yield* acquireEnds()
          const far = yield* listen(ends[to])
          ends[from].send([bytes("hello")])
          yield* far.next
          yield* ends[from].close(4000, "a\u001b[2J\r\nb\u009bc\u202ed\u200be", "10 seconds")
          expect(yield* far.ended).toEqual({ code: told(from, 4000), reason: "a\ufffd[2J b\ufffdcde" })
        }))

      test(`Transport sends nothing more when the ${from} has closed`, () =>
        Effect.gen(function*() {
          const ends = yield* acquireEnds()
          const [near, far] = [yield* listen(ends[from]), yield* listen(ends[to])]
          const closing = yield* Effect.fork(ends[from].close(4321, "", "10 seconds"))
          yield* Effect.yieldNow().pipe(Effect.repeat({ until: () => !ends[from].pollWritable() }))
          ends[from].send([bytes("too late")])
          yield* Effect.all([closing.await, near.ended, far.ended])
          for (const end of [ends[from], ends[to]]) {
            end.send([bytes("much too late")])
            end.ping?.()
            expect(end.pollWritable()).toBe(false)
          }
          expect([near.told, far.told]).toEqual([["close"], ["close"]])
        }))

      test(`Transport calls onWritable of the ${from} when it has room again`, () =>
        Effect.gen(function*() {
          const ends = yield* acquireEnds({ highWaterMark: 128 * 1024 })
          const [near, far] = [yield* listen(ends[from]), yield* listen(ends[to])]
          const sent = fill(ends[from])
          expect(sent.length).toBeGreaterThan(1)
          expect(near.told).toEqual([])
          yield* near.writable
          expect(ends[from].pollWritable()).toBe(true)
          expect((yield* far.take(sent.length)).map(digest)).toEqual(sent.map(digest))
          expect(near.told).toEqual(["writable"])
        }))

      test(`Transport raises receiveCount when something of the ${from} comes in`, () =>
        Effect.gen(function*() {
          const ends = yield* acquireEnds()
          const far = yield* listen(ends[to])
          for (let i = 0; i < 3; i++) {
            const before = ends[to].receiveCount()
            ends[from].send([bytes("hello")])
            yield* far.next
            expect(ends[to].receiveCount()).not.toBe(before)
          }
        }))

      test(`Transport carries pings, pongs and unsolicited pongs when the ${from} sends them`, () =>
        Effect.gen(function*() {
          const ends = yield* acquireEnds()
          const [near, far] = [yield* listen(ends[from]), yield* listen(ends[to])]
          // Messages, pings and pongs keep their order, so the pong comes before the answer to a later message.
          const round = (before: () => void) =>
            Effect.gen(function*() {
              const activity = [ends[from].receiveCount(), ends[to].receiveCount()] as const
              before()
              ends[from].send([bytes("there")])
              yield* far.next
              ends[to].send([bytes("and back")])
              yield* near.next
              return [ends[from].receiveCount() - activity[0], ends[to].receiveCount() - activity[1]] as const
            })
          yield* round(() => {})
          const plain = yield* round(() => {})
          const pinged = yield* round(() => ends[from].ping?.())
          if (ends[from].ping === undefined) return expect(pinged).toEqual(plain)
          expect(pinged[0]).toBeGreaterThan(plain[0])
          if (to === "server" || traits.script !== true) expect(pinged[1]).toBeGreaterThan(plain[1])
        }))

      test(`Transport completes a ping of the ${from} when its own pong comes`, () =>
        Effect.gen(function*() {
          const ends = yield* acquireEnds()
          if (ends[from].ping === undefined) return
          const [near, far] = [yield* listen(ends[from]), yield* listen(ends[to])]
          const answers: Array<string> = []
          const ask = (name: string) => ends[from].ping?.(() => answers.push(name))
          const round = (...pings: ReadonlyArray<() => void>) =>
            Effect.gen(function*() {
              for (const ping of pings) ping()
              ends[from].send([bytes("there")])
              yield* far.next
              ends[to].send([bytes("and back")])
              yield* near.next
              return answers.splice(0)
            })
          yield* round()
          expect(yield* round(() => ask("first"))).toEqual(["first"])
          expect(yield* round(() => ends[from].ping?.(), () => ends[to].ping?.())).toEqual([])
          const both = yield* round(() => ask("second"), () => ends[from].ping?.(), () => ask("third"))
          expect(both.filter((name) => name !== "second")).toEqual(["third"])
        }))
    }

    test("Transport keeps its first listener when another one listens", () =>
      Effect.gen(function*() {
        const { client, server } = yield* acquireEnds()
        const first = yield* listen(client)
        expect(() => Effect.runSync(listen(client))).toThrow("cannot listen: the transport has a listener already")
        server.send([bytes("hello")])
        expect(text(yield* first.next)).toBe("hello")
      }))

    test("Transport tells each end the code of the other when both close at once", () =>
      Effect.gen(function*() {
        const { client, server } = yield* acquireEnds()
        const [atClient, atServer] = [yield* listen(client), yield* listen(server)]
        const both = [client.close(4001, "client", "10 seconds"), server.close(4002, "server", "10 seconds")]
        yield* Effect.all([...both, ...both], { concurrency: "unbounded" })
        expect(yield* atClient.ended).toEqual({ code: 4002, reason: "server" })
        expect(yield* atServer.ended).toEqual({ code: told("client", 4001), reason: "client" })
        expect([atClient.told, atServer.told]).toEqual([["close"], ["close"]])
      }))

    test("Transport ends without a close frame, behind sent bytes, when its scope closes", () =>
      Effect.gen(function*() {
        const { abandon, client, server } = yield* acquireEnds()
        const [atClient, atServer] = [yield* listen(client), yield* listen(server)]
        client.send([bytes("hello")])
        server.send([bytes("hello")])
        yield* Effect.all([atClient.next, atServer.next])
        yield* abandon
        expect((yield* atServer.ended).code).toBe(told("client", 1006))
        expect((yield* atClient.ended).code).toBe(1006)
        expect([client.pollWritable(), server.pollWritable()]).toEqual([false, false])
        yield* Effect.all([client.close(4001, "", 0), server.close(4002, "", 0)])
        expect([atClient.told, atServer.told]).toEqual([["message", "close"], ["message", "close"]])
      }))

    test("Transport tells a waiting writer of the loss when its peer vanishes", () =>
      Effect.gen(function*() {
        const { abandon, server } = yield* acquireEnds({ highWaterMark: 128 * 1024 })
        const atServer = yield* listen(server)
        fill(server)
        yield* abandon
        yield* atServer.ended
        expect(atServer.told.at(-1)).toBe("close")
        expect(server.pollWritable()).toBe(false)
      }))

    if (traits.addresses !== false) {
      test("Transport has the addresses of both ends when it is open", () =>
        Effect.gen(function*() {
          const { client, server } = yield* acquireEnds()
          expect(client.localAddress).not.toEqual(client.remoteAddress)
          expect([client.localAddress, client.remoteAddress]).toEqual([server.remoteAddress, server.localAddress])
        }))
    }
  })
}
