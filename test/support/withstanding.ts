import * as Frame from "effect-wsmux/Frame"
import type { Session } from "effect-wsmux/Session"
import { isTerminalError } from "effect-wsmux/WsmuxError"
import * as Cause from "effect/Cause"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import assert from "node:assert"

/** So tight that a few frames of a hostile peer meet every bound. */
export const tight = {
  keepAliveInterval: Duration.infinity,
  streamBufferSize: 64,
  maxPeerWindow: 128,
  acceptBacklog: 3,
  maxStreams: 8,
  maxUnacknowledgedOpens: 2,
  maxFrameSize: 50,
  drainBudget: 200
}

/** What holds of a tight session at any moment, whatever its peer does. `opens` is how many streams it opens at most. */
export const checkTight = (session: Session, opens: number): Effect.Effect<void> =>
  Effect.map(session.snapshot, ({ backlog, streams, unacknowledgedOpens }) => {
    assert(backlog <= tight.acceptBacklog, `a backlog of ${backlog}`)
    assert(unacknowledgedOpens <= tight.maxUnacknowledgedOpens, `${unacknowledgedOpens} opens without an answer`)
    assert(streams.length <= tight.maxStreams + opens, `${streams.length} streams`)
    for (const { bufferedBytes, id, receiveCredit, sendCredit } of streams) {
      const held = bufferedBytes + receiveCredit
      assert(held <= tight.maxPeerWindow, `stream ${id} may hold ${held}`)
      assert(sendCredit >= 0 && sendCredit <= Frame.maxUint32, `stream ${id} has a credit of ${sendCredit}`)
    }
  })

/** What was going on in a session, and what it is called. */
export type Activity = readonly [what: string, fiber: Fiber.RuntimeFiber<unknown, unknown>]

/** What holds of a session that is over once whatever has a time limit has come to it: nothing hangs, nothing has died. */
export const checkOver = (session: Session, activities: Iterable<Activity>): Effect.Effect<void> =>
  Effect.gen(function*() {
    assert(isTerminalError(yield* session.awaitClosed))
    for (const [what, fiber] of activities) {
      const exit = fiber.unsafePoll()
      assert(exit !== null, `${what} hangs after the end of its session`)
      if (Exit.isFailure(exit)) { for (const defect of Cause.defects(exit.cause)) throw defect }
    }
    assert.deepStrictEqual((yield* session.snapshot).streams, [])
  })
