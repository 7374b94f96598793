import { expect, it } from "@effect/vitest"
import * as Frame from "effect-wsmux/Frame"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Queue from "effect/Queue"
import { type ClientOptions, WebSocket } from "ws"
import { bytes, pattern } from "../support/bytes.js"
import { ack, dat, fin, syn } from "../support/scriptedPeer.js"
import { describeGo, type Flags, start } from "./goPeer.js"

// What this package takes for granted of Go peers, frame by frame.
describeGo("a Go peer", () => {
  it.scopedLive("accepts with its own buffer as credit, returns what it has read, and half-closes", () =>
    Effect.gen(function*() {
      const { next, send } = yield* dialRaw({ serve: "echo", buffer: 2000 })
      yield* send(syn(7))
      expect(yield* next(1)).toEqual([ack(7, 2000)])
      yield* send(dat(7, bytes("hello")), fin(7))
      expect(yield* next(3)).toEqual([ack(7, 5), dat(7, bytes("hello")), fin(7)])
    }))

  for (const [role, id] of [["client", 1], ["server", 0]] as const) {
    it.scopedLive(`opens streams from ${id} on as the ${role}`, () =>
      Effect.gen(function*() {
        const { next } = yield* dialRaw({ role, open: "echo", streams: 3 })
        expect(new Set(yield* next(3))).toEqual(new Set([syn(id), syn(id + 2), syn(id + 4)]))
      }))
  }

  it.scopedLive("sends as much as the credit in one message, whatever its own buffer", () =>
    Effect.gen(function*() {
      const { next, send } = yield* dialRaw({ open: "sink", bytes: 30_000, buffer: 1024 })
      yield* next(1)
      const content = pattern(25_000)
      yield* send(ack(0, 20_000))
      expect(yield* next(1)).toEqual([dat(0, content.subarray(0, 20_000))])
      yield* send(ack(0, 5000))
      expect(yield* next(1)).toEqual([dat(0, content.subarray(20_000))])
    }))

  it.scopedLive("takes the opener's window to be as large as its own", () =>
    Effect.gen(function*() {
      const { next, send } = yield* dialRaw({ serve: "source", buffer: 3000 })
      const request = new Uint8Array(8)
      request[1] = 100
      yield* send(syn(1))
      yield* next(1)
      yield* send(dat(1, request))
      expect(yield* next(2)).toEqual([ack(1, 8), dat(1, pattern(3000))])
    }))

  it.scopedLive("drops a frame whole that overruns its buffer, and goes on behind the hole", () =>
    Effect.gen(function*() {
      const { next, send } = yield* dialRaw({ serve: "echo", buffer: 1024 })
      yield* send(syn(1))
      yield* next(1)
      yield* send(dat(1, pattern(1025)), dat(1, bytes("behind")), fin(1))
      expect(yield* next(3)).toEqual([ack(1, 6), dat(1, bytes("behind")), fin(1)])
    }))

  for (
    const [what, message] of [
      ["a type that it does not know", new Uint8Array([4, 0, 0, 0, 0])],
      ["a message shorter than a header", new Uint8Array([0, 0])],
      ["an ACK without its credit", new Uint8Array([2, 1, 0, 0, 0])],
      ["a text message", "text"]
    ] as const
  ) {
    it.scopedLive(`ends the session with close code 1008 and a reason after ${what}`, () =>
      Effect.gen(function*() {
        const { ended, go, next, send, ws } = yield* dialRaw({ serve: "echo" })
        yield* send(syn(1))
        yield* next(1)
        yield* Effect.sync(() => ws.send(message))
        expect(yield* ended).toEqual({ code: 1008, reason: expect.stringMatching(/./) })
        yield* go.next("closed")
      }))
  }

  it.scopedLive("gives up without pongs, though data comes and goes", () =>
    Effect.gen(function*() {
      const { ended, go, next, send } = yield* dialRaw({ serve: "echo", keepalive: "200ms" }, { autoPong: false })
      yield* send(syn(1))
      yield* next(1)
      const chat = Effect.zipRight(send(dat(1, bytes("alive"))), next(2))
      yield* Effect.forkScoped(Effect.forever(chat))
      yield* go.next("closed")
      expect(yield* ended).toEqual({ code: 1006, reason: "" })
    }))

  it.scopedLive("lives on pongs that nobody asked for", () =>
    Effect.gen(function*() {
      const flags = { open: "echo", "accept-deadline": "1500ms", keepalive: "250ms" } as const
      const { go, ws } = yield* dialRaw(flags, { autoPong: false })
      ws.pong("at once")
      ws.on("ping", () => ws.pong("and again"))
      // its open fails for want of an answer, in a session that lives: it would have been closed first
      expect(yield* go.next("result")).toMatchObject({ errors: ["stream 0: open: accept timed out"] })
    }))
})

/** A bare WebSocket to a Go server, to speak in frames. */
const dialRaw = (flags: Flags, options: ClientOptions = {}) =>
  Effect.gen(function*() {
    const go = yield* start({ listen: "127.0.0.1:0", ...flags })
    const { address } = yield* go.next("listening")
    const frames = yield* Queue.unbounded<Frame.Frame | Frame.Malformed>()
    const ended = yield* Deferred.make<{ readonly code: number; readonly reason: string }>()
    const ws = yield* Effect.acquireRelease(
      Effect.sync(() => new WebSocket(`ws://${address}`, options)),
      (ws) => Effect.sync(() => ws.terminate())
    )
    ws.on("message", (data: Buffer) => frames.unsafeOffer(Frame.decode(new Uint8Array(data))))
    ws.on("close", (code, reason) => Deferred.unsafeDone(ended, Effect.succeed({ code, reason: reason.toString() })))
    yield* Effect.async<void>((resume) => {
      ws.once("open", () => resume(Effect.void))
    })
    return {
      go,
      ws,
      ended: Deferred.await(ended),
      next: (count: number) => Effect.map(Queue.takeN(frames, count), (chunk) => Array.from(chunk)),
      send: (...sent: ReadonlyArray<Frame.Frame>) =>
        Effect.sync(() => {
          for (const frame of sent) ws.send(Frame.encode(frame))
        })
    }
  })
