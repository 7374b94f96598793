import { describe, expect, it } from "@effect/vitest"
import { BrokenPipe, SessionClosed, type TerminalError, TransportFailure } from "effect-wsmux/WsmuxError"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Scope from "effect/Scope"
import { bytes, text } from "../../support/bytes.js"
import { makeSessions, makeStreams, readAll, readSome, settle } from "../../support/sessions.js"

const closedHere = new SessionClosed({ by: "local", code: 1000, reason: "" })
const closedThere = new SessionClosed({ by: "peer", code: 1000, reason: "" })
const lost = new TransportFailure({ code: 1006, reason: "" })

const endings = [
  { name: "the caller closed the session", end: "local", cause: closedHere },
  { name: "the peer closed the session", end: "peer", cause: closedThere },
  { name: "the connection was lost", end: "cut", cause: lost }
] as const

for (const { cause, end, name } of endings) {
  describe("Session", () => {
    const makeEnded = Effect.gen(function*() {
      const streams = yield* makeStreams()
      yield* streams.far.write(bytes("arrived"))
      const [whole, wholeFar] = yield* Effect.all([streams.client.open(), streams.server.accept], { concurrency: 2 })
      yield* wholeFar.write(bytes("all"))
      yield* wholeFar.end
      yield* settle
      yield* { local: streams.client.close, peer: streams.server.close, cut: streams.pair.cut }[end]
      yield* streams.client.awaitClosed
      return { ...streams, whole }
    })
    const brokenPipe = (operation: "read" | "write", streamId = 1) =>
      new BrokenPipe({ streamId, operation, reason: "SessionEnded", written: 0, cause })

    it.scoped(`MuxStream.read returns arrived bytes, then fails with the cause, when ${name}`, () =>
      Effect.gen(function*() {
        const { near } = yield* makeEnded
        expect(text(yield* readSome(near))).toBe("arrived")
        expect(yield* Effect.flip(near.read)).toEqual(brokenPipe("read"))
        expect(yield* Effect.flip(readAll(near))).toEqual(brokenPipe("read"))
      }))

    it.scoped(`MuxStream.read returns the end after a FIN when ${name}`, () =>
      Effect.gen(function*() {
        const { whole } = yield* makeEnded
        expect(text(yield* readAll(whole))).toBe("all")
        expect(yield* whole.read).toEqual(Option.none())
      }))

    it.scoped(`MuxStream.write and end fail with the cause when ${name}`, () =>
      Effect.gen(function*() {
        const { near } = yield* makeEnded
        expect(yield* Effect.flip(near.write(bytes("x")))).toEqual(brokenPipe("write"))
        expect(yield* Effect.flip(near.writeAll([bytes("x")]))).toEqual(brokenPipe("write"))
        expect(yield* Effect.flip(near.end)).toEqual(brokenPipe("write"))
      }))

    it.scoped(`Session.open, accept and run fail with the cause when ${name}`, () =>
      Effect.gen(function*() {
        const { client } = yield* makeEnded
        expect([yield* Effect.flip(client.open()), yield* Effect.flip(client.accept)]).toEqual([cause, cause])
        expect(yield* Effect.flip(client.run(() => Effect.void))).toEqual(cause)
      }))
  })
}

describe("Session closeCallback", () => {
  const count = () => {
    const causes: Array<TerminalError> = []
    return { causes, callback: (cause: TerminalError) => Effect.sync(() => void causes.push(cause)) }
  }

  for (const { cause, end, name } of endings) {
    it.scoped(`Session closeCallback runs once with the cause when ${name}`, () =>
      Effect.gen(function*() {
        const { callback, causes } = count()
        const { client, pair, server } = yield* makeSessions({ client: { closeCallback: callback } })
        yield* { local: client.close, peer: server.close, cut: pair.cut }[end]
        yield* client.awaitClosed
        yield* Effect.all([client.close, server.close, pair.cut], { concurrency: 3 })
        expect(causes).toEqual([cause])
      }))
  }

  it.scoped("Session.setCloseCallback replaces the callback before the end of the session", () =>
    Effect.gen(function*() {
      const [first, second] = [count(), count()]
      const { client } = yield* makeSessions({ client: { closeCallback: first.callback } })
      yield* client.setCloseCallback(second.callback)
      yield* client.close
      yield* settle
      expect([first.causes, second.causes]).toEqual([[], [closedHere]])
      yield* client.setCloseCallback(first.callback) // without effect after the end
      yield* client.close
      expect(first.causes).toEqual([])
    }))

  it.scoped("Session closeCallback may close and use its session without a deadlock", () =>
    Effect.gen(function*() {
      const { client } = yield* makeSessions()
      const seen: Array<unknown> = []
      yield* client.setCloseCallback(() =>
        Effect.gen(function*() {
          yield* client.close
          seen.push(
            yield* client.awaitClosed,
            yield* client.isClosed,
            yield* Effect.merge(Effect.scoped(client.open()))
          )
        })
      )
      yield* client.close
      yield* settle
      expect(seen).toEqual([closedHere, true, closedHere])
    }))

  const bad: Record<string, () => Effect.Effect<void>> = {
    "dies": () => Effect.dieMessage("no"),
    "throws": () => {
      throw new Error("no")
    },
    "interrupts itself": () => Effect.interrupt
  }
  for (const [name, callback] of Object.entries(bad)) {
    it.scoped(`Session closes both ends and its scope when the closeCallback ${name}`, () =>
      Effect.gen(function*() {
        const scope = yield* Scope.make()
        const { client, server } = yield* Scope.extend(makeSessions({ client: { closeCallback: callback } }), scope)
        yield* client.close
        expect([yield* client.awaitClosed, yield* server.awaitClosed]).toEqual([closedHere, closedThere])
        expect(yield* Effect.exit(Scope.close(scope, Exit.void))).toEqual(Exit.void)
      }))
  }
})
