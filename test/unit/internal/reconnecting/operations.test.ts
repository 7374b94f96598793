import { describe, expect, it } from "@effect/vitest"
import type { MuxStream } from "effect-wsmux/MuxStream"
import type { Session } from "effect-wsmux/Session"
import { NotConnected, SessionClosed, SessionDraining } from "effect-wsmux/WsmuxError"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Runtime from "effect/Runtime"
import { operations } from "../../../../src/internal/reconnecting/operations.js"
import { ConnectionState } from "../../../../src/internal/reconnecting/state.js"
import { expectWaiting, start } from "../../../support/observe.js"
import { settle } from "../../../support/sessions.js"

describe("operations.unsafeOpen", () => {
  /** Opens on a session of another package, whose `open` fails at once because the session has ended. */
  const makeOpen = Effect.gen(function*() {
    const state = yield* ConnectionState.make<never>()
    const ended = new SessionClosed({ by: "peer", code: 1001, reason: "" })
    yield* state.connected({ open: () => Effect.fail(ended) } as unknown as Session)
    const exits: Array<unknown> = []
    const fork = Runtime.runFork(yield* Effect.runtime<never>())
    const cancel = operations(state, Duration.infinity).unsafeOpen(fork)((exit) => exits.push(exit))
    return { cancel, exits, state }
  })
  const closed = new NotConnected<never>({ reason: "Closed" })

  it.effect("operations.unsafeOpen waits for the next session when an open fails at once", () =>
    Effect.gen(function*() {
      const { exits, state } = yield* makeOpen
      yield* Effect.zipRight(settle, state.close(closed))
      yield* settle
      expect(exits).toEqual([Exit.fail(closed)])
    }))

  it.effect("operations.unsafeOpen never calls back when it is cancelled after an open failed at once", () =>
    Effect.gen(function*() {
      const { cancel, exits, state } = yield* makeOpen
      cancel()
      yield* Effect.zipRight(state.close(closed), settle)
      expect(exits).toEqual([])
    }))
})

describe("operations.open", () => {
  it.effect("operations.open waits for the next session when its session takes no more streams", () =>
    Effect.gen(function*() {
      const state = yield* ConnectionState.make<never>()
      const draining = new SessionDraining({ by: "peer", graceMillis: 1000, redial: true, code: 0, reason: "" })
      yield* state.connected({ open: () => Effect.fail(draining) } as unknown as Session)
      const opening = yield* start(Effect.scoped(operations(state, Duration.infinity).open()))
      yield* expectWaiting(opening)
      const stream = { id: 7 } as MuxStream
      yield* state.connected({ open: () => Effect.succeed(stream) } as unknown as Session)
      expect(yield* Fiber.join(opening)).toBe(stream)
    }))
})
