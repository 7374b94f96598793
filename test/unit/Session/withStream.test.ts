import { describe, expect, it } from "@effect/vitest"
import { ResetCode } from "effect-wsmux/MuxStream"
import * as Session from "effect-wsmux/Session"
import { StreamRefused } from "effect-wsmux/WsmuxError"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import { bytes } from "../../support/bytes.js"
import { expectWaiting, failureOf, quiet, start } from "../../support/observe.js"
import { ack, dat, fin, makePeer, syn } from "../../support/scriptedPeer.js"
import { makeSessions, settle } from "../../support/sessions.js"
import { makeTracer } from "../../support/spans.js"

/** A session opens streams directly, another opener by `open` and a scope. */
const kinds: ReadonlyArray<readonly [name: string, of: (session: Session.Session) => Session.Opener]> = [
  ["a session", (session) => session],
  ["a copy of a session", (session) => Session.withPrincipal(session, 1)],
  ["another opener", (session) => ({ open: ((options) => session.open(options)) as Session.Session["open"] })]
]

describe.each(kinds)("Session.withStream of %s", (name, of) => {
  const makeOpener = Effect.map(makePeer("client", quiet), (peer) => ({ ...peer, opener: of(peer.session) }))

  it.scoped(`Session.withStream opens a stream and leaves it after use when given ${name}`, () =>
    Effect.gen(function*() {
      const { frames, opener, send } = yield* makeOpener
      const using = yield* start(Session.withStream(opener, (stream) => Effect.as(stream.write(bytes("a")), stream.id)))
      expect(yield* frames).toEqual([syn(1)])
      yield* send(ack(1, 1024))
      expect(yield* Fiber.join(using)).toBe(1)
      expect(yield* frames).toEqual([dat(1, bytes("a")), fin(1)])
    }))

  it.scoped(`Session.withStream leaves the stream when the use fails, given ${name}`, () =>
    Effect.gen(function*() {
      const { frames, opener, send } = yield* makeOpener
      const thrown = new Error("thrown")
      const uses: ReadonlyArray<() => Effect.Effect<never, string>> = [
        () => Effect.fail("failed"),
        () => {
          throw thrown
        }
      ]
      const exits: Array<unknown> = []
      for (const [i, use] of uses.entries()) {
        const using = yield* start(Session.withStream(use)(opener))
        yield* send(ack(2 * i + 1, 1024))
        exits.push(yield* using.await)
      }
      expect(exits).toEqual([Exit.fail("failed"), Exit.die(thrown)])
      expect(yield* frames).toEqual([syn(1), fin(1), syn(3), fin(3)])
    }))

  it.scoped(`Session.withStream opens with its options, and resets when the use fails, given ${name}`, () =>
    Effect.gen(function*() {
      const { client, server } = yield* makeSessions({ client: quiet, server: quiet })
      yield* settle
      const opener = of(client)
      const serving = yield* start(Effect.flatMap(server.accept, (stream) => Effect.flip(stream.read)))
      const options = { label: "rpc", metadata: { a: "b" }, early: true }
      const using = Session.withStream(opener, (stream) => Effect.fail([stream.label, stream.metadata]), options)
      expect(yield* Effect.flip(using)).toEqual(["rpc", { a: "b" }])
      expect(yield* Fiber.join(serving)).toMatchObject({ _tag: "StreamReset", code: ResetCode.Failed })
    }))

  it.scoped(`Session.withStream cancels the open when interrupted while it opens, given ${name}`, () =>
    Effect.gen(function*() {
      const { frames, opener, send } = yield* makeOpener
      let isUsed = false
      const using = yield* start(Session.withStream(opener, () =>
        Effect.sync(() => {
          isUsed = true
        })))
      yield* Fiber.interrupt(using)
      yield* send(ack(1, 1024))
      expect([isUsed, yield* frames]).toEqual([false, [syn(1), fin(1)]])
    }))

  it.scoped(`Session.withStream leaves the stream when interrupted in the use, given ${name}`, () =>
    Effect.gen(function*() {
      const { frames, opener, send } = yield* makeOpener
      const using = yield* start(Session.withStream(opener, (stream) => stream.read))
      yield* send(ack(1, 1024))
      yield* expectWaiting(using)
      expect(yield* frames).toEqual([syn(1)])
      yield* Fiber.interrupt(using)
      expect(yield* frames).toEqual([fin(1)])
    }))

  it.scoped(`Session.withStream fails with StreamRefused when the peer refuses, given ${name}`, () =>
    Effect.gen(function*() {
      const { opener, send } = yield* makeOpener
      const using = yield* start(Session.withStream(opener, () => Effect.void))
      yield* send(fin(1))
      expect(yield* failureOf(using)).toEqual(new StreamRefused({ streamId: 1 }))
    }))

  it.scoped(`Session.withStream creates the span of an open when the program has a tracer, given ${name}`, () =>
    Effect.gen(function*() {
      const { frames, opener, send } = yield* makeOpener
      const { names, tracer } = yield* makeTracer
      const using = yield* start(Effect.withTracer(Session.withStream(opener, () => Effect.void), tracer))
      yield* send(ack(1, 1024))
      yield* Effect.zipRight(settle, Fiber.join(using))
      expect([names, yield* frames]).toEqual([["Session.open"], [syn(1), fin(1)]])
    }))
})
