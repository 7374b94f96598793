import { describe, expect, it } from "@effect/vitest"
import * as NodeDuplex from "effect-wsmux/NodeDuplex"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Scope from "effect/Scope"
import * as Net from "node:net"
import { bytes, pattern, text } from "../../../support/bytes.js"
import { listening, portOf, signal } from "../../../support/transports.js"

/** Both ends of a TCP connection. */
const makePair = Effect.gen(function*() {
  const server = yield* listening(Net.createServer({ allowHalfOpen: true, pauseOnConnect: true }))
  const connection = signal<[Net.Socket]>(server, "connection")
  const near = Net.connect({ host: "127.0.0.1", port: portOf(server), allowHalfOpen: true })
  const [far] = yield* connection
  yield* Effect.addFinalizer(() =>
    Effect.sync(() => {
      near.destroy()
      far.destroy()
    })
  )
  far.on("error", () => {})
  return { near, far }
})

/** The code of the failure, or the number of bytes. */
const outcome = (stream: { readonly read: Effect.Effect<Option.Option<Uint8Array>, { readonly cause?: unknown }> }) =>
  Effect.match(stream.read, {
    onFailure: ({ cause }) => (cause as NodeJS.ErrnoException).code,
    onSuccess: (chunk) => Option.isSome(chunk) ? text(chunk.value) : "end"
  })

describe("NodeDuplex.toByteStream", () => {
  it.scopedLive("NodeDuplex.toByteStream fails after the bytes when bytes and a reset arrive together", () =>
    Effect.gen(function*() {
      for (let i = 0; i < 10; i++) {
        const { far, near } = yield* makePair
        const stream = yield* NodeDuplex.toByteStream(() => near)
        // In one turn, so that the reader finds both at its next poll.
        far.write("the last words")
        far.resetAndDestroy()
        expect(yield* outcome(stream)).toBe("the last words")
        expect(yield* outcome(stream)).toBe("ECONNRESET")
      }
    }))

  it.scopedLive("NodeDuplex.toByteStream ends after the bytes when bytes and an end arrive together", () =>
    Effect.gen(function*() {
      const { far, near } = yield* makePair
      const stream = yield* NodeDuplex.toByteStream(() => near)
      far.end("the last words")
      expect(yield* outcome(stream)).toBe("the last words")
      expect(yield* outcome(stream)).toBe("end")
    }))

  it.scopedLive("NodeDuplex.toByteStream ends when both halves have ended", () =>
    Effect.gen(function*() {
      const { far, near } = yield* makePair
      const stream = yield* NodeDuplex.toByteStream(() => near)
      far.resume()
      yield* stream.end
      far.end("the last words")
      expect(yield* outcome(stream)).toBe("the last words")
      expect(yield* outcome(stream)).toBe("end")
    }))

  it.scopedLive("NodeDuplex.toByteStream resets a TCP connection once the kernel has the written bytes", () =>
    Effect.gen(function*() {
      const { far, near } = yield* makePair
      const scope = yield* Scope.make()
      const stream = yield* Scope.extend(NodeDuplex.toByteStream(() => near), scope)
      const pending: Array<number> = []
      const reset = near.resetAndDestroy.bind(near)
      near.resetAndDestroy = () => {
        pending.push(near.writableLength)
        return reset()
      }
      yield* Effect.fork(stream.write(pattern(16 * 1024 * 1024))) // more than kernels take at once
      yield* Effect.yieldNow()
      expect(near.writableLength).toBeGreaterThan(0)
      const reader = yield* NodeDuplex.toByteStream(() => far)
      const reading = yield* Effect.fork(Effect.forever(Effect.map(reader.read, Option.getOrThrow)))
      yield* Scope.close(scope, Exit.void)
      expect(pending).toEqual([0])
      expect((yield* Effect.flip(Fiber.join(reading))).cause).toMatchObject({ code: "ECONNRESET" })
    }))

  it.scopedLive("NodeDuplex.toByteStream releases the socket when its scope closes in the turn of its end", () =>
    Effect.gen(function*() {
      const { far, near } = yield* makePair
      const scope = yield* Scope.make()
      const closed = signal(near, "close")
      const ended = signal(far, "end")
      far.resume()
      const stream = yield* Scope.extend(NodeDuplex.toByteStream(() => near), scope)
      yield* Effect.fork(Effect.zipRight(stream.write(bytes("all")), stream.end))
      yield* Effect.yieldNow()
      expect([near.writableEnded, near.writableFinished]).toEqual([true, false])
      yield* Scope.close(scope, Exit.void)
      yield* Effect.all([closed, ended])
    }))
})
