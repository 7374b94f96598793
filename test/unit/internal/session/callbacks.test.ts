import { describe, expect, it } from "@effect/vitest"
import type { MuxStream } from "effect-wsmux/MuxStream"
import * as NodeDuplex from "effect-wsmux/NodeDuplex"
import * as WebStreams from "effect-wsmux/WebStreams"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Runtime from "effect/Runtime"
import { once } from "node:events"
import { toCallbacks } from "../../../../src/internal/session/callbacks.js"
import { bytes, concat, pattern, text } from "../../../support/bytes.js"
import { quietly } from "../../../support/observe.js"
import { makeStreams, readAll, readSome, settle } from "../../../support/sessions.js"
import { patience, within } from "../../../support/within.js"

/** Returns a foreign stream: a proxy of a session's stream that counts the bytes of its reads. */
const counting = (stream: MuxStream) => {
  const counted = { read: 0 }
  const read = Effect.tap(stream.read, (chunk) => {
    counted.read += Option.isSome(chunk) ? chunk.value.byteLength : 0
  })
  const target: MuxStream = new Proxy(stream, {
    get: (target, key) => key === "read" ? read : Reflect.get(target, key, target) as unknown,
    getPrototypeOf: () => Object.prototype
  })
  return { counted, target }
}

const makePair = (streamBufferSize: number) =>
  makeStreams(quietly({ client: { streamBufferSize }, server: { streamBufferSize } }))

const make = (own: (stream: MuxStream) => MuxStream, streamBufferSize = 1024) =>
  Effect.gen(function*() {
    const streams = yield* makePair(streamBufferSize)
    return { ...streams, near: toCallbacks(own(streams.near), Runtime.runFork(yield* Effect.runtime<never>())) }
  })

const tell = (exit: Exit.Exit<Option.Option<Uint8Array>, { readonly _tag: string }>) =>
  Exit.match(exit, {
    onSuccess: Option.match({ onSome: text, onNone: () => "the end" }),
    onFailure: (cause) => cause._tag === "Fail" ? cause.error._tag : cause._tag
  })

describe.each([
  ["a session's own stream", (stream: MuxStream) => stream],
  ["a foreign stream", (stream: MuxStream) => counting(stream).target]
])("toCallbacks of %s", (_name, own) => {
  it.scoped("toCallbacks.read delivers a chunk, then the end, each in a later turn", () =>
    Effect.gen(function*() {
      const { far, near } = yield* make(own)
      const told: Array<string> = []
      const next = () => near.read((exit) => told.push(tell(exit)))
      next()
      expect(told).toEqual([])
      yield* far.write(bytes("hello"))
      yield* settle
      expect(told).toEqual(["hello"])
      next()
      yield* far.end
      yield* settle
      expect(told).toEqual(["hello", "the end"])
    }))

  it.scoped("toCallbacks.read keeps the chunk when cancelled, and delivers the error of the stream", () =>
    Effect.gen(function*() {
      const { far, near, pair } = yield* make(own)
      const told: Array<string> = []
      near.read(() => told.push("given up"))()
      yield* far.write(bytes("kept"))
      yield* settle
      expect(told).toEqual([])
      near.read((exit) => told.push(tell(exit)))
      yield* settle
      near.read((exit) => told.push(tell(exit)))
      yield* pair.cut
      yield* settle
      expect(told).toEqual(["kept", "BrokenPipe"])
    }))

  it.scoped("toCallbacks.read delivers an arrived chunk in a later turn", () =>
    Effect.gen(function*() {
      const { far, near } = yield* make(own)
      yield* far.write(bytes("hello"))
      yield* settle
      const told: Array<string> = []
      near.read((exit) => told.push(tell(exit)))
      expect(told).toEqual([])
      yield* settle
      expect(told).toEqual(["hello"])
    }))

  it.scoped("toCallbacks.read leaves the chunk to another reader when it is cancelled", () =>
    Effect.gen(function*() {
      const { far, near } = yield* make(own)
      const told: Array<string> = []
      const giveUp = near.read(() => told.push("given up"))
      yield* settle
      near.read((exit) => told.push(tell(exit)))
      yield* settle
      giveUp()
      yield* far.write(bytes("hello"))
      yield* settle
      expect(told).toEqual(["hello"])
    }))

  it.scoped("toCallbacks.write sends chunks in the order of the calls as credit arrives", () =>
    Effect.gen(function*() {
      const { far, near } = yield* make(own)
      const told: Array<string> = []
      const sent = [pattern(1000, 1), pattern(3000, 2), pattern(500, 3)]
      near.write(sent.slice(0, 1), () => told.push("first"))
      near.write(sent.slice(1, 2), () => {
        told.push("second")
        near.write(sent.slice(2), () => near.end(() => told.push("end")))
      })
      yield* settle
      expect(told).toEqual(["first"])
      expect(yield* readAll(far)).toEqual(concat(sent))
      expect(told).toEqual(["first", "second", "end"])
    }))

  it.scoped("toCallbacks.write sends no more bytes and calls back no more when cancelled", () =>
    Effect.gen(function*() {
      const { far, near } = yield* make(own)
      const told: Array<string> = []
      const giveUp = near.write([pattern(1500)], () => told.push("given up"))
      yield* settle
      giveUp()
      yield* settle
      near.write([bytes("after it")], () => near.end(() => told.push("end")))
      const received = yield* readAll(far)
      expect([received.length, text(received.subarray(1024)), told]).toEqual([1024 + 8, "after it", ["end"]])
    }))
})

it.scoped("toCallbacks.unsafeRead returns arrived chunks of a session's own stream at once", () =>
  Effect.gen(function*() {
    const { far, near } = yield* make((stream) => stream)
    expect(near.unsafeRead()).toBeUndefined()
    yield* far.write(bytes("hello"))
    yield* settle
    expect(tell(near.unsafeRead()!)).toBe("hello")
    yield* far.end
    yield* settle
    expect(tell(near.unsafeRead()!)).toBe("the end")
    let written = false
    near.write([bytes("back")], () => {
      written = true
    })
    expect(written).toBe(true)
    expect(text(yield* readSome(far))).toBe("back")
  }))

describe("adapters", () => {
  it.scopedLive("NodeDuplex reads through the read of a foreign stream", () =>
    Effect.gen(function*() {
      const { far, near } = yield* makePair(1024)
      const { counted, target } = counting(near)
      const duplex = yield* NodeDuplex.fromMuxStream(target)
      yield* Effect.fork(Effect.zipRight(far.write(pattern(5000)), far.end))
      duplex.resume()
      yield* Effect.promise(() => once(duplex, "end")).pipe(within(patience, "the end of the duplex"))
      expect(counted.read).toBe(5000)
    }))

  it.scopedLive("WebStreams reads through the read of a foreign stream", () =>
    Effect.gen(function*() {
      const { far, near } = yield* makePair(1024)
      const { counted, target } = counting(near)
      const { readable } = yield* WebStreams.fromMuxStream(target)
      yield* Effect.fork(Effect.zipRight(far.write(pattern(5000)), far.end))
      expect((yield* Effect.promise(() => new Response(readable).arrayBuffer())).byteLength).toBe(5000)
      expect(counted.read).toBe(5000)
    }))
})
