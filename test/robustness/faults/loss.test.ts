import { describe, expect, it } from "@effect/vitest"
import type { TransportFailure } from "effect-wsmux/WsmuxError"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Stream from "effect/Stream"
import { concat, pattern } from "../../support/bytes.js"
import { nextTurn } from "../../support/transports.js"
import { makeStreams, soon, startAll } from "./links.js"
import type { Direction, Loss } from "./proxy.js"

/** Without pings, the wire carries the bytes of the test alone. */
const quiet = { keepAliveInterval: Duration.infinity }
const sides = ["client", "server"] as const
const losses: ReadonlyArray<Loss> = ["end", "reset"]
const names: Readonly<Record<Loss, string>> = { end: "an end", reset: "a reset" }

describe("a lost connection", () => {
  for (const how of losses) {
    for (const side of sides) {
      it.scopedLive(`session of a ${side} fails its waiting operations when the link is lost by ${names[how]}`, () =>
        Effect.gen(function*() {
          const { far, near, proxy, ...sessions } = yield* makeStreams(quiet)
          const outcome = yield* startAll(sessions[side], side === "client" ? near : far)
          proxy.lose(how)
          const { cause, closedAfter } = yield* outcome
          expect(cause).toMatchObject({ _tag: "TransportFailure", code: 1006 })
          const reason = how === "reset" ? { code: "ECONNRESET" } : undefined
          expect((cause as TransportFailure).cause).toEqual(reason && expect.objectContaining(reason))
          expect(closedAfter).toBeLessThan(soon)
          expect(yield* sessions[side === "client" ? "server" : "client"].awaitClosed).toMatchObject({
            _tag: "TransportFailure"
          })
        }))
    }
  }
})

const payload = 1000

/** Bytes of a frame with that payload on the wire, where a client masks its frames. */
const frameSize: Readonly<Record<Direction, number>> = { up: 8 + 5 + payload, down: 4 + 5 + payload }

describe("a connection that ends in mid-frame", () => {
  for (const direction of ["up", "down"] as const) {
    const size = frameSize[direction]
    // in the WebSocket header, in the frame header, in the payload, at the end of the frame, and in later frames
    for (const after of [1, 11, 500, size - 1, size, size + 3, 3 * size + 700]) {
      for (const how of losses) {
        const where = `${direction} after ${after} bytes`
        it.scopedLive(`stream reads whole frames, then the loss, when ${names[how]} cuts ${where}`, () =>
          Effect.gen(function*() {
            const { far, near, proxy } = yield* makeStreams({ ...quiet, streamBufferSize: 8 * payload })
            const [writer, reader] = direction === "up" ? [near, far] : [far, near]
            const content = pattern(8 * payload)
            proxy.loseAfter(direction, after, how)
            const write = Effect.forEach(
              Array.from({ length: 8 }, (_, i) => content.subarray(i * payload, (i + 1) * payload)),
              (chunk) => Effect.zipRight(nextTurn, writer.write(chunk)), // writes of one turn would share a frame
              { discard: true }
            )
            const [, [read, error]] = yield* Effect.all([Effect.either(write), readToLoss(reader)], { concurrency: 2 })
            const whole = Math.floor(after / size) * payload
            // a reset may discard bytes that have arrived
            if (how === "end") expect(read.byteLength).toBe(whole)
            expect(read.byteLength % payload).toBe(0)
            expect(read.byteLength).toBeLessThanOrEqual(whole)
            expect(read).toEqual(content.subarray(0, read.byteLength))
            expect(error).toMatchObject({ _tag: "BrokenPipe", operation: "read", cause: { _tag: "TransportFailure" } })
            expect(Either.getLeft(yield* Effect.either(writer.write(pattern(1))))).toMatchObject({
              value: { _tag: "BrokenPipe", operation: "write", written: 0, cause: { _tag: "TransportFailure" } }
            })
          }).pipe(
            Effect.timeoutFail({ duration: soon, onTimeout: () => new Error(`the test took longer than ${soon} ms`) })
          ))
      }
    }
  }
})

/** The bytes that come before the failure, and the failure. */
const readToLoss = <E>(stream: { readonly readable: Stream.Stream<Uint8Array, E> }) =>
  Effect.gen(function*() {
    const chunks: Array<Uint8Array> = []
    const error = yield* Effect.flip(
      Stream.runForEach(stream.readable, (chunk) => Effect.sync(() => chunks.push(chunk)))
    )
    return [concat(chunks), error] as const
  })
