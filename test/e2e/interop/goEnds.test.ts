import { expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { bytes, pattern } from "../../support/bytes.js"
import { ack, dat, fin, syn } from "../../support/scriptedPeer.js"
import { rawClient, signal, upgradeHeaders } from "../../support/transports.js"
import { encodeFrame } from "../../support/webSocketFrames.js"
import { describeGo, start } from "./goPeer.js"
import { dialRaw, roles } from "./rawLink.js"

// The behaviour of Go peers that this package relies on: ends, refusals and time-outs.
for (const { goes, ours, role } of roles) {
  describeGo(`Go as the ${role}`, () => {
    const malformed = "malformed payload"
    for (
      const [what, message, reason] of [
        ["a type that it does not know", new Uint8Array([4, 0, 0, 0, 0]), expect.stringMatching(/./)],
        ["a message shorter than a header", new Uint8Array([0, 0]), expect.stringMatching(/./)],
        ["a text message", "text", expect.stringMatching(/./)],
        ["a SYN with a payload", new Uint8Array([1, 9, 0, 0, 0, 0]), malformed],
        ["a FIN with a payload", new Uint8Array([3, ours, 0, 0, 0, 0]), malformed],
        ["an ACK without its credit", new Uint8Array([2, ours, 0, 0, 0]), malformed],
        ["an ACK of 3 bytes", new Uint8Array([2, ours, 0, 0, 0, 1, 0, 0]), malformed],
        ["an ACK of 5 bytes", new Uint8Array([2, ours, 0, 0, 0, 1, 0, 0, 0, 0]), malformed]
      ] as const
    ) {
      it.scopedLive(`a Go peer closes with 1008 and a reason when it gets ${what}`, () =>
        Effect.gen(function*() {
          const { ended, go, next, send, ws } = yield* dialRaw({ role, serve: "echo" })
          yield* send(syn(ours))
          yield* next(1)
          yield* Effect.sync(() => ws.send(message))
          expect(yield* ended).toEqual({ code: 1008, reason })
          yield* go.next("closed")
        }))
    }

    it.scopedLive("a Go peer answers no close frame, and leaves TCP open until the other end has", () =>
      Effect.gen(function*() {
        const go = yield* start({ listen: "127.0.0.1:0", role })
        const { address } = yield* go.next("listening")
        const { answer, socket } = yield* rawClient(`ws://${address}/`, upgradeHeaders, { allowHalfOpen: true })
        const received: Array<Buffer> = []
        socket.on("data", (data) => received.push(data))
        expect(yield* answer).toBe("HTTP/1.1 101 Switching Protocols")
        const end = signal(socket, "end")
        socket.write(
          encodeFrame({ opcode: 8, payload: new Uint8Array([1000 >> 8, 1000 & 255]), key: new Uint8Array(4) })
        )
        // silence has no event, so the test fails when an answer comes within this time
        yield* Effect.sleep("500 millis")
        expect(socket.readableEnded).toBe(false)
        socket.end()
        yield* end
        yield* go.next("closed")
        const frames = Buffer.concat(received).toString("latin1").split("\r\n\r\n", 2)[1]
        expect(frames?.replaceAll("\x89\x00", "")).toBe("") // nothing but pings
      }))

    it.scopedLive("a Go peer forgets a FIN in place of its ACK when it opens, and waits for its deadline", () =>
      Effect.gen(function*() {
        const { go, next, send } = yield* dialRaw({ role, open: "echo", "accept-deadline": "700ms" })
        expect(yield* next(1)).toEqual([syn(goes)])
        yield* send(fin(goes))
        const { errors, seconds } = yield* go.next("result")
        expect(errors).toEqual(["stream 0: open: accept timed out"])
        expect(seconds).toBeGreaterThanOrEqual(0.7)
      }))

    it.scopedLive("a Go peer reads a stream as usual when its ACK came behind a FIN", () =>
      Effect.gen(function*() {
        const { go, next, send } = yield* dialRaw({ role, open: "echo", bytes: 2 })
        expect(yield* next(1)).toEqual([syn(goes)])
        yield* send(fin(goes), ack(goes, 1024))
        const content = pattern(2)
        expect(yield* next(2)).toEqual([dat(goes, content), fin(goes)])
        yield* send(dat(goes, content), fin(goes))
        expect(yield* go.next("result")).toMatchObject({ ok: true, errors: [] })
      }))

    it.scopedLive("a Go peer says nothing of an open when it gives that up", () =>
      Effect.gen(function*() {
        const { go, next, send } = yield* dialRaw({ role, open: "echo", serve: "echo", "accept-deadline": "300ms" })
        expect(yield* next(1)).toEqual([syn(goes)])
        expect(yield* go.next("result")).toMatchObject({ errors: ["stream 0: open: accept timed out"] })
        // Go does not answer a late ACK, either
        yield* send(ack(goes, 1024), syn(ours), dat(goes, bytes("late")), syn(ours + 2))
        expect(new Set(yield* next(2))).toEqual(new Set([ack(ours, 1024), ack(ours + 2, 1024)]))
      }))

    it.scopedLive("a Go peer gives up when no pong comes, though data comes and goes", () =>
      Effect.gen(function*() {
        const flags = { role, serve: "echo", keepalive: "200ms" } as const
        const { ended, go, next, send } = yield* dialRaw(flags, { autoPong: false })
        yield* send(syn(ours))
        yield* next(1)
        const chat = Effect.zipRight(send(dat(ours, bytes("alive"))), next(2))
        yield* Effect.forkScoped(Effect.forever(chat))
        yield* go.next("closed")
        expect(yield* ended).toEqual({ code: 1006, reason: "" })
      }))

    it.scopedLive("a Go peer lives when all pongs are unsolicited", () =>
      Effect.gen(function*() {
        const flags = { role, open: "echo", "accept-deadline": "6s", keepalive: "1s" } as const
        const { go, ws } = yield* dialRaw(flags, { autoPong: false })
        ws.pong("at once")
        ws.on("ping", () => ws.pong("and again"))
        // the open times out in an open session; without pongs Go would have closed the session before
        expect(yield* go.next("result")).toMatchObject({ errors: ["stream 0: open: accept timed out"] })
      }))
  })
}
