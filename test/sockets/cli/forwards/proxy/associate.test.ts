import { describe, expect, it } from "@effect/vitest"
import * as ByteStream from "effect-wsmux/ByteStream"
import { associate, Associated } from "effect-wsmux/cli/forwards/proxy/associate"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as TestClock from "effect/TestClock"
import type * as Net from "node:net"
import { settle } from "../../../../support/sessions.js"
import { within } from "../../../../support/within.js"

/** Serves the association of a client at this address, which ends its connection when `end` completes. */
const serve = (socket: Partial<Net.Socket>) =>
  Effect.gen(function*() {
    const answered = yield* Deferred.make<Uint8Array>()
    const end = yield* Deferred.make<void>()
    let hasEnded = false
    const connection = ByteStream.make<never>({
      read: Effect.as(Deferred.await(end), Option.none()),
      write: (chunk) => Effect.asVoid(Deferred.succeed(answered, Uint8Array.from(chunk))),
      end: Effect.sync(() => {
        hasEnded = true
      })
    })
    const way = { open: () => Effect.never, onEnd: () => Effect.void }
    const serving = yield* Effect.fork(
      Effect.scoped(Effect.flip(associate(connection, socket as Net.Socket, { from: 0 }, way)))
    )
    const answer = yield* Deferred.await(answered).pipe(within("30 seconds", "the answer of the proxy"))
    return { answer, end: Deferred.succeed(end, undefined), serving, hasEnded: () => hasEnded }
  })

describe("associate", () => {
  it.scoped("associate ends its connection after a minute when no datagram passes", () =>
    Effect.gen(function*() {
      const { answer, hasEnded, serving } = yield* serve({ localAddress: "127.0.0.1", remoteAddress: "127.0.0.1" })
      expect([...answer.subarray(0, 8)]).toEqual([5, 0, 0, 1, 127, 0, 0, 1])
      yield* settle
      yield* TestClock.adjust("59999 millis")
      expect([serving.unsafePoll(), hasEnded()]).toEqual([null, false])
      yield* TestClock.adjust("1 millis")
      expect(yield* Fiber.join(serving)).toBeInstanceOf(Associated)
      expect(hasEnded()).toBe(true)
    }))

  it.scoped("associate ends with the connection of its client, whose address may stand for IPv4", () =>
    Effect.gen(function*() {
      const mapped = "::ffff:127.0.0.1"
      const { answer, end, serving } = yield* serve({ localAddress: mapped, remoteAddress: mapped })
      expect([...answer.subarray(0, 8)]).toEqual([5, 0, 0, 1, 127, 0, 0, 1])
      yield* end
      expect(yield* Fiber.join(serving)).toBeInstanceOf(Associated)
    }))

  it.scoped("associate refuses a client when it comes by a unix socket", () =>
    Effect.gen(function*() {
      const { answer, end, serving } = yield* serve({})
      expect(answer[1]).toBe(1)
      yield* end
      expect(yield* Fiber.join(serving)).toMatchObject({ reason: "a unix socket has no way for datagrams" })
    }))
})
