import type { Session } from "effect-wsmux/Session"
import { isTerminalError } from "effect-wsmux/WsmuxError"
import * as Cause from "effect/Cause"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import assert from "node:assert"
import * as Frame from "../../src/internal/wire/frame.js"
import type { Hello } from "../../src/internal/wire/record.js"

/** Settings so small that a few frames of a hostile peer reach every bound. */
export const tight = {
  keepAliveInterval: Duration.infinity,
  streamBufferSize: 64,
  maxPeerWindow: 128,
  acceptBacklog: 3,
  maxStreams: 5,
  maxUnacknowledgedOpens: 2,
  maxFrameSize: 50,
  discardLimit: 200
}

/** The HELLO of a hostile peer that speaks the dialect. The session then has as many unanswered opens as without. */
export const tightHello: Partial<Hello> = {
  window: 100,
  earlyCredit: { perStream: 20, inAll: 30 },
  backlog: tight.maxUnacknowledgedOpens
}

/** The sum of the windows of as many peer streams as the session may have. */
export const whole = tight.maxStreams * tight.streamBufferSize

/** The bounds of a session, most of them its settings. */
export interface Bounds extends Pick<typeof tight, "acceptBacklog" | "maxStreams" | "maxUnacknowledgedOpens"> {
  /** The largest number of streams that the session opens. */
  readonly opens: number
  /** The largest window of a stream. */
  readonly window: number
  /** The sum of the windows of the peer's streams. */
  readonly session: number
}

/** The highest figures that a session has reached. */
export interface Reached {
  readonly backlog: number
  readonly unanswered: number
  readonly streams: number
  /** Bytes that one stream held or had granted. */
  readonly held: number
}

/** The higher figures of two records. */
export const furthest = (one: Reached, other: Reached): Reached => ({
  backlog: Math.max(one.backlog, other.backlog),
  unanswered: Math.max(one.unanswered, other.unanswered),
  streams: Math.max(one.streams, other.streams),
  held: Math.max(one.held, other.held)
})

/** Checks the invariants that a session keeps at any moment, for any behaviour of its peer. */
export const checkBounds = (session: Session, bounds: Bounds): Effect.Effect<Reached> =>
  Effect.map(session.snapshot, ({ backlog, role, streams, unacknowledgedOpens: unanswered }) => {
    assert(backlog <= bounds.acceptBacklog, `a backlog of ${backlog}`)
    assert(unanswered <= bounds.maxUnacknowledgedOpens, `${unanswered} opens without an answer`)
    assert(streams.length <= bounds.maxStreams + bounds.opens, `${streams.length} streams`)
    let [most, theirs, all] = [0, 0, 0]
    for (const { bufferedBytes, discarding, id, receiveCredit, sendCredit, waitingBytes } of streams) {
      const held = bufferedBytes + receiveCredit
      assert(held <= bounds.window, `stream ${id} may hold ${held}`)
      assert(sendCredit >= 0 && sendCredit <= Frame.maxUint32, `stream ${id} has a credit of ${sendCredit}`)
      assert(waitingBytes >= 0, `stream ${id} has ${waitingBytes} bytes to write`)
      most = Math.max(most, held)
      if ((id % 2 === 1) === (role === "client")) continue
      theirs++
      all += discarding ? 0 : held // discarded bytes are not stored
    }
    assert(theirs <= bounds.maxStreams, `${theirs} streams of the peer's`)
    assert(all <= bounds.session, `${all} bytes in all`)
    return { backlog, unanswered, streams: streams.length, held: most }
  })

/** A running operation of a session, and its name. */
export type Activity = readonly [what: string, fiber: Fiber.RuntimeFiber<unknown, unknown>]

/** Checks an ended session whose time limits have passed: no operation hangs, and no fiber has died. */
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
