import { describe, expect, it } from "@effect/vitest"
import { join, maxWaiting, Outbox } from "effect-wsmux/cli/forwards/udp/association"
import { Decoder, encode } from "effect-wsmux/cli/forwards/udp/frames"
import * as Effect from "effect/Effect"
import * as fc from "effect/FastCheck"
import * as Fiber from "effect/Fiber"
import * as TestClock from "effect/TestClock"
import { bytes, concat, text } from "../../../../support/bytes.js"
import { makeStreams, settle } from "../../../../support/sessions.js"

describe("Decoder", () => {
  it("Decoder returns the datagrams that were encoded when their bytes come in any chunks", () => {
    const datagrams = fc.array(fc.uint8Array({ maxLength: 300 }), { maxLength: 8 })
    fc.assert(fc.property(datagrams, fc.array(fc.integer({ min: 1, max: 200 })), (datagrams, sizes) => {
      const all = concat(datagrams.map(encode))
      const decoder = new Decoder()
      const decoded: Array<Uint8Array> = []
      let at = 0
      for (const size of [...sizes, all.byteLength]) {
        decoded.push(...decoder.push(all.subarray(at, at + size)))
        at += size
      }
      expect(decoded.map((datagram) => Array.from(datagram))).toEqual(datagrams.map((datagram) => Array.from(datagram)))
    }))
  })

  it("Decoder returns a datagram of 65,507 bytes", () => {
    const datagram = new Uint8Array(65_507).fill(7)
    expect(new Decoder().push(encode(datagram))[0]?.byteLength).toBe(65_507)
  })
})

describe("Outbox", () => {
  it.effect("Outbox drops the oldest datagrams when more than 256 KiB wait", () =>
    Effect.gen(function*() {
      const outbox = new Outbox()
      for (let i = 0; i < 300; i++) outbox.offer(new Uint8Array(1024).fill(i & 255))
      const taken = yield* outbox.takeAll
      expect(taken.length).toBe(maxWaiting / 1024)
      expect(taken[0]?.[2]).toBe(300 - taken.length)
    }))

  it.effect("Outbox.takeAll waits when it is empty", () =>
    Effect.gen(function*() {
      const outbox = new Outbox()
      outbox.offer(bytes("a"))
      yield* outbox.takeAll
      const taking = yield* Effect.fork(outbox.takeAll)
      yield* settle
      expect(taking.unsafePoll()).toBe(null)
      outbox.offer(bytes("b"))
      expect((yield* Fiber.join(taking)).map((frame) => text(frame.subarray(2)))).toEqual(["b"])
    }))
})

/** Associations at both ends of a stream, and the datagrams that each has sent on. */
const makeAssociations = Effect.gen(function*() {
  const { far, near } = yield* makeStreams()
  const ends = [near, far].map((stream) => ({ stream, outbox: new Outbox(), sent: new Array<string>() }))
  const [here, there] = ends as [typeof ends[number], typeof ends[number]]
  const run = ({ outbox, sent, stream }: typeof here) =>
    Effect.fork(join(stream, outbox, (datagram) => void sent.push(text(datagram))))
  return { here, there, fibers: [yield* run(here), yield* run(there)] as const }
})

describe("join", () => {
  it.scoped("join carries datagrams both ways with their borders, empty ones too", () =>
    Effect.gen(function*() {
      const { here, there } = yield* makeAssociations
      for (const datagram of ["one", "", "two"]) here.outbox.offer(bytes(datagram))
      there.outbox.offer(bytes("back"))
      yield* settle
      expect([there.sent, here.sent]).toEqual([["one", "", "two"], ["back"]])
    }))

  it.scoped("join completes 60 s after the last datagram, whichever way that went", () =>
    Effect.gen(function*() {
      const { fibers: [fiber], here, there } = yield* makeAssociations
      here.outbox.offer(bytes("a"))
      yield* settle
      yield* TestClock.adjust("40 seconds")
      there.outbox.offer(bytes("b"))
      yield* settle
      yield* TestClock.adjust("59999 millis")
      yield* settle
      expect(fiber.unsafePoll()).toBe(null)
      yield* TestClock.adjust("1 millis")
      yield* Fiber.join(fiber)
    }))

  it.scoped("join completes when the peer ends the stream", () =>
    Effect.gen(function*() {
      const { fibers: [fiber], there } = yield* makeAssociations
      yield* there.stream.end
      yield* Fiber.join(fiber)
    }))
})
