import { expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"
import * as Record from "../../../src/internal/wire/record.js"
import { bytes, pattern } from "../../support/bytes.js"
import { encodeMessage, hello, open, reset } from "../../support/records.js"
import { ack, dat, fin, syn } from "../../support/scriptedPeer.js"
import { describeGo, isStandIn } from "./goPeer.js"
import { dialRaw, roles } from "./rawLink.js"
import { request } from "./traffic.js"

// The behaviour of Go peers that this package relies on, frame by frame: opens, credit and data.
for (const { goes, ours, role } of roles) {
  describeGo(`Go as the ${role}`, () => {
    it.scopedLive("a Go peer grants its own buffer, returns what it has read, and half-closes", () =>
      Effect.gen(function*() {
        const { next, send } = yield* dialRaw({ role, serve: "echo", buffer: 2000 })
        yield* send(syn(ours))
        expect(yield* next(1)).toEqual([ack(ours, 2000)])
        yield* send(dat(ours, bytes("hello")), fin(ours))
        expect(yield* next(3)).toEqual([ack(ours, 5), dat(ours, bytes("hello")), fin(ours)])
      }))

    it.scopedLive("a Go peer ignores all records on the reserved id among the frames of an echo", () =>
      Effect.gen(function*() {
        const { next, send } = yield* dialRaw({ role, serve: "echo", buffer: 2000 })
        const records = [hello(), { _tag: "Ping", payload: new Uint8Array(8) }, reset(ours, 2), open(ours + 2)] as const
        const record = (index: number) => dat(Record.reservedId, encodeMessage(records[index]!).subarray(5))
        yield* send(record(0), syn(ours), record(1))
        expect(yield* next(1)).toEqual([ack(ours, 2000)])
        yield* send(record(2), dat(ours, bytes("hello")), record(3), fin(ours))
        expect(yield* next(3)).toEqual([ack(ours, 5), dat(ours, bytes("hello")), fin(ours)])
      }))

    it.scopedLive(`a Go ${role} opens streams from ${goes} on`, () =>
      Effect.gen(function*() {
        const { next } = yield* dialRaw({ role, open: "echo", streams: 3 })
        expect(new Set(yield* next(3))).toEqual(new Set([syn(goes), syn(goes + 2), syn(goes + 4)]))
      }))

    it.scopedLive("a Go peer accepts streams in any order when they were opened at once", () =>
      Effect.gen(function*() {
        const ids = Array.from({ length: 50 }, (_, i) => ours + 2 * i)
        const isInOrder = Effect.scoped(Effect.gen(function*() {
          const { next, send } = yield* dialRaw({ role, serve: "hold" })
          yield* send(...ids.map(syn))
          const accepted = (yield* next(ids.length)).map((frame) => frame._tag === "Ack" ? frame.id : frame)
          expect(new Set(accepted)).toEqual(new Set(ids))
          return accepted.every((id, index) => id === ids[index])
        }))
        // Go promises no order, so one session in another order is the proof
        let sessions = 0
        while (yield* isInOrder) expect(++sessions).toBeLessThan(20)
      }))

    it.scopedLive("a Go peer ignores an id used again after both FINs, for about two seconds", () =>
      Effect.gen(function*() {
        const { next, send } = yield* dialRaw({ role, serve: "echo" })
        yield* send(syn(ours), fin(ours))
        expect(yield* next(1)).toEqual([ack(ours, 1024)])
        yield* send(fin(ours))
        expect(yield* next(1)).toEqual([fin(ours)])
        yield* send(syn(ours), syn(ours + 2))
        expect(yield* next(1)).toEqual([ack(ours + 2, 1024)])
        yield* Effect.forkScoped(Effect.repeat(send(syn(ours)), Schedule.spaced("100 millis")))
        expect(yield* next(1)).toEqual([ack(ours, 1024)])
      }))

    it.scopedLive("a Go peer sends as much as the credit in one message when its own buffer is smaller", () =>
      Effect.gen(function*() {
        const { next, send } = yield* dialRaw({ role, open: "sink", bytes: 30_000, buffer: 1024 })
        yield* next(1)
        const content = pattern(25_000)
        yield* send(ack(goes, 20_000))
        expect(yield* next(1)).toEqual([dat(goes, content.subarray(0, 20_000))])
        yield* send(ack(goes, 5000))
        expect(yield* next(1)).toEqual([dat(goes, content.subarray(20_000))])
      }))

    it.scopedLive("a Go peer takes the opener's window to be as large as its own", () =>
      Effect.gen(function*() {
        const { next, send } = yield* dialRaw({ role, serve: "source", buffer: 3000 })
        yield* send(syn(ours))
        yield* next(1)
        yield* send(dat(ours, request(25_600)))
        expect(yield* next(2)).toEqual([ack(ours, 8), dat(ours, pattern(3000))])
      }))

    it.scopedLive("a Go peer wraps credit around when it is 2^32 or more in all", () =>
      Effect.gen(function*() {
        const { next, send } = yield* dialRaw({ role, serve: "source", buffer: 1024 })
        yield* send(syn(ours))
        yield* next(1)
        yield* send(ack(ours, 2 ** 32 - 1024 + 100), dat(ours, request(1000)))
        const content = pattern(1000)
        expect(yield* next(2)).toEqual([ack(ours, 8), dat(ours, content.subarray(0, 100))])
        yield* send(ack(ours, 400))
        expect(yield* next(1)).toEqual([dat(ours, content.subarray(100, 500))])
      }))

    // Scheduling decides this in the published package, and a flag in the stand-in.
    for (const overrun of isStandIn ? ["fail", "hole", "any"] as const : ["any"] as const) {
      it.scopedLive(`a Go reader fails or goes on behind the hole when its buffer is overrun (${overrun})`, () =>
        Effect.gen(function*() {
          const { next, send } = yield* dialRaw({ role, serve: "echo", buffer: 1024, overrun })
          yield* send(syn(ours))
          yield* next(1)
          yield* send(dat(ours, pattern(1025)), dat(ours, bytes("behind")), fin(ours))
          const [first] = yield* next(1)
          if (first?._tag === "Fin") {
            // the echo has ended, and Go still reads
            expect([first, ...yield* next(1)]).toEqual([fin(ours), ack(ours, 6)])
            expect(overrun).not.toBe("hole")
          } else {
            expect([first, ...yield* next(2)]).toEqual([ack(ours, 6), dat(ours, bytes("behind")), fin(ours)])
            expect(overrun).not.toBe("fail")
          }
        }))

      it.scopedLive(`a Go writer fails or goes on when a frame overruns while it waits (${overrun})`, () =>
        Effect.gen(function*() {
          const { next, send } = yield* dialRaw({ role, serve: "source", buffer: 1024, overrun })
          yield* send(syn(ours))
          yield* next(1)
          yield* send(dat(ours, request(5000)))
          yield* next(2)
          yield* send(dat(ours, pattern(1025)), ack(ours, 100))
          const [frame] = yield* next(1)
          if (frame?._tag === "Fin") expect(overrun).not.toBe("hole")
          else {
            expect(frame).toEqual(dat(ours, pattern(1124).subarray(1024)))
            expect(overrun).not.toBe("fail")
          }
        }))
    }
  })
}
