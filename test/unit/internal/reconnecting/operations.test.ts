import { describe, expect, it } from "@effect/vitest"
import type { Session } from "effect-wsmux/Session"
import { NotConnected, SessionClosed } from "effect-wsmux/WsmuxError"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Runtime from "effect/Runtime"
import { operations } from "../../../../src/internal/reconnecting/operations.js"
import { ConnectionState } from "../../../../src/internal/reconnecting/state.js"
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
