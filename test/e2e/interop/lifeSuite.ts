import { expect, it } from "@effect/vitest"
import type { MuxStream } from "effect-wsmux/MuxStream"
import type { Session } from "effect-wsmux/Session"
import { BrokenPipe, type TerminalError } from "effect-wsmux/WsmuxError"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import { pattern } from "../../support/bytes.js"
import { expectWaiting, failureOf, start } from "../../support/observe.js"
import { patience, within } from "../../support/within.js"
import type { Connect } from "./links.js"
import { request, services } from "./traffic.js"

const mebibyte = 1024 * 1024
const lost = { _tag: "TransportFailure", code: 1006 }

/** The peer is killed. */
export const failsWhenKilled = (connect: Connect, peer: string): void => {
  it.scopedLive(`session fails all waiting operations with the loss when ${peer} is killed in mid-transfer`, () =>
    Effect.gen(function*() {
      const { go, session } = yield* connect({ faults: true, rate: 4 * mebibyte }, { serve: "source" })
      const stream = yield* session.open()
      yield* stream.write(request(16 * mebibyte)) // four seconds
      const flowing = yield* Deferred.make<void>()
      const read = yield* start(Stream.runForEach(stream.readable, () => Deferred.succeed(flowing, undefined)))
      const pending = yield* startPending(session, stream)
      yield* Deferred.await(flowing).pipe(within(patience, "the first bytes of the peer"))
      yield* expectWaiting(read, ...Object.values(pending))

      yield* go.signal("SIGKILL")
      const cause = yield* session.awaitClosed
      expect(cause).toMatchObject(lost)
      expectBroken(yield* failureOf(read), "read", cause)
      yield* expectPendingFailed(pending, cause)
      // later operations fail, too
      expectBroken(yield* Effect.flip(stream.write(pattern(1))), "write", cause)
      expectSame(yield* Effect.flip(session.open()), cause)
      expectSame(yield* Effect.flip(session.accept), cause)
    }))

  it.scopedLive(`open fails with TransportFailure when ${peer} is killed before it accepts`, () =>
    Effect.gen(function*() {
      const { go, session } = yield* connect({ faults: true }, { serve: "none" })
      const open = yield* start(session.open())
      yield* expectWaiting(open)
      yield* go.signal("SIGKILL")
      expect(yield* failureOf(open)).toMatchObject(lost)
    }))
}

/** Either end closes its session. `end` is the end of a session whose peer closes. */
export const endsWithThePeer = (connect: Connect, peer: string, end: object = lost): void => {
  it.scopedLive(`session ends, and no stream does, when ${peer} closes its session`, () =>
    Effect.gen(function*() {
      const { go, session } = yield* connect({}, { serve: "hold", open: "echo", close: true })
      const held = yield* session.open()
      const read = yield* start(held.read)
      const echo = yield* session.accept
      const pending = yield* startPending(session, held)
      yield* expectWaiting(read, ...Object.values(pending))

      yield* services.echo(echo) // the peer waits for this echo before it closes
      yield* go.next("result")
      const cause = yield* session.awaitClosed
      expect(cause).toMatchObject(end)
      expectBroken(yield* failureOf(read), "read", cause)
      yield* expectPendingFailed(pending, cause)
    }))

  it.scopedLive(`session.close ends the session of ${peer}, and fails all waiting operations`, () =>
    Effect.gen(function*() {
      const { go, session } = yield* connect({}, { serve: "hold" })
      const held = yield* session.open()
      const read = yield* start(held.read)
      const pending = yield* startPending(session, held)
      yield* session.close
      yield* go.next("closed")

      const cause = yield* session.awaitClosed
      expect(cause).toMatchObject({ _tag: "SessionClosed", by: "local", code: 1000 })
      expectBroken(yield* failureOf(read), "read", cause)
      yield* expectPendingFailed(pending, cause)
    }))
}

/** Starts operations that wait: a write beyond the credit, the end behind that write, and an accept. */
const startPending = (session: Session, stream: MuxStream) =>
  Effect.all({
    write: start(stream.write(pattern(mebibyte))),
    end: start(stream.end),
    accept: start(session.accept)
  })

const expectPendingFailed = (pending: Effect.Effect.Success<ReturnType<typeof startPending>>, cause: TerminalError) =>
  Effect.gen(function*() {
    expectBroken(yield* failureOf(pending.write), "write", cause)
    expectBroken(yield* failureOf(pending.end), "write", cause)
    expectSame(yield* failureOf(pending.accept), cause)
  })

const expectBroken = (error: unknown, operation: "read" | "write", cause: TerminalError): void => {
  expect(error).toBeInstanceOf(BrokenPipe)
  expect(error).toMatchObject({ operation })
  expect((error as BrokenPipe).cause).toBe(cause)
}

/** The span of an operation wraps its error in another object. */
const expectSame = (error: Error & { readonly _tag: string }, cause: TerminalError): void =>
  expect([error._tag, error.message]).toEqual([cause._tag, cause.message])
