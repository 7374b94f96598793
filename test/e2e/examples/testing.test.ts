import { expect, it } from "@effect/vitest"
import { Effect, Fiber, TestClock } from "effect"
import * as MemoryTransport from "effect-wsmux/MemoryTransport"

it.scoped("open fails with AcceptTimeout when the peer does not accept", () =>
  Effect.gen(function*() {
    const { client, pair } = yield* MemoryTransport.makeSessions()
    const open = yield* Effect.fork(Effect.flip(client.open()))
    yield* TestClock.adjust("30 seconds") // streamAcceptDeadline, without waiting
    expect((yield* Fiber.join(open))._tag).toBe("AcceptTimeout")

    yield* pair.stall("server") // and nothing more comes from there
    yield* TestClock.adjust("21 seconds") // two intervals of the keep-alive, and closeTimeout
    expect((yield* client.awaitClosed)._tag).toBe("KeepAliveExpired")
  }))
