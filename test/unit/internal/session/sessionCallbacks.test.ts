import { describe, expect, it } from "@effect/vitest"
import type { OpenError } from "effect-wsmux/WsmuxError"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Runtime from "effect/Runtime"
import {
  type OpenerWithoutId,
  type OwnedStream,
  unsafeOpenOf,
  unsafeRunOf
} from "../../../../src/internal/session/sessionCallbacks.js"
import { plainly, quietly } from "../../../support/observe.js"
import { makeSessions, readAll, settle } from "../../../support/sessions.js"

const makeFork = Effect.map(Effect.runtime<never>(), (runtime) => Runtime.runFork(runtime))

/** A session's `open`, by callbacks or by fibers. */
const kinds = {
  "a session": (opener: OpenerWithoutId<OpenError>) => opener,
  "another package's opener": ({ open }: OpenerWithoutId<OpenError>): OpenerWithoutId<OpenError> => ({
    open: () => open()
  })
}

for (const [kind, of] of Object.entries(kinds)) {
  describe(`unsafeOpenOf ${kind}`, () => {
    it.scoped(`unsafeOpenOf ${kind} gives a stream that its owner leaves`, () =>
      Effect.gen(function*() {
        const { client, server } = yield* makeSessions(quietly())
        const exits: Array<Exit.Exit<OwnedStream, OpenError>> = []
        unsafeOpenOf(of(client as OpenerWithoutId<OpenError>), yield* makeFork)((exit) => exits.push(exit))
        const far = yield* server.accept
        yield* settle
        expect(exits.map(Exit.isSuccess)).toEqual([true])
        ;(yield* exits[0]!).leave()
        expect(yield* readAll(far)).toEqual(new Uint8Array(0))
      }))

    it.scoped(`unsafeOpenOf ${kind} never calls back and leaves the stream when it is cancelled`, () =>
      Effect.gen(function*() {
        const { client, server } = yield* makeSessions(plainly())
        const exits: Array<unknown> = []
        const open = unsafeOpenOf(of(client as OpenerWithoutId<OpenError>), yield* makeFork)
        const cancel = open((exit) => exits.push(exit))
        const far = yield* Effect.zipLeft(server.accept, Effect.sync(cancel))
        expect(yield* readAll(far)).toEqual(new Uint8Array(0))
        yield* settle
        expect(exits).toEqual([])
      }))

    it.scoped(`unsafeOpenOf ${kind} never calls back and resets the native stream when it is cancelled`, () =>
      Effect.gen(function*() {
        const { client, server } = yield* makeSessions(quietly())
        yield* settle
        const exits: Array<unknown> = []
        const open = unsafeOpenOf(of(client as OpenerWithoutId<OpenError>), yield* makeFork)
        const cancel = open((exit) => exits.push(exit))
        const far = yield* Effect.zipLeft(server.accept, Effect.sync(cancel))
        expect(yield* Effect.flip(far.read)).toMatchObject({ _tag: "StreamReset", by: "peer", code: 1 })
        yield* settle
        expect([exits, (yield* client.snapshot).streams, (yield* server.snapshot).streams]).toEqual([[], [], []])
      }))

    it.scoped(`unsafeOpenOf ${kind} gives the terminal error when the session has ended`, () =>
      Effect.gen(function*() {
        const { client } = yield* makeSessions(quietly())
        yield* client.close
        const tags: Array<string> = []
        unsafeOpenOf(of(client as OpenerWithoutId<OpenError>), yield* makeFork)((exit) =>
          tags.push(Exit.match(exit, {
            onSuccess: () => "success",
            onFailure: (cause) => cause._tag === "Fail" ? cause.error._tag : cause._tag
          }))
        )
        yield* settle
        expect(tags).toEqual(["SessionClosed"])
      }))
  })
}

describe("unsafeRunOf a session", () => {
  it.scoped("unsafeRunOf a session leaves the next stream to another acceptor when it is cancelled", () =>
    Effect.gen(function*() {
      const { client, server } = yield* makeSessions(quietly())
      const owned: Array<OwnedStream> = []
      const cancel = unsafeRunOf(server, yield* makeFork)((stream) => owned.push(stream), () => {})
      const first = yield* client.open()
      cancel()
      yield* Effect.all([client.open(), server.accept], { concurrency: 2 })
      expect(owned.length).toBe(1)
      expect(Exit.isSuccess(yield* Effect.exit(first.write(new Uint8Array(1))))).toBe(true) // its handler still has it
      owned[0]!.leave()
      expect(yield* readAll(first)).toEqual(new Uint8Array(0))
    }))

  it.scoped("unsafeRunOf a session takes no more streams when the handler of one cancels it", () =>
    Effect.gen(function*() {
      const { client, server } = yield* makeSessions(quietly())
      const ids: Array<number> = []
      const cancel = unsafeRunOf(server, yield* makeFork)(({ stream }) => {
        ids.push(stream.id)
        cancel()
      }, () => {})
      yield* Effect.fork(Effect.all([client.open(), client.open()], { concurrency: 2 }))
      yield* settle
      expect([ids, (yield* server.accept).id]).toEqual([[1], 3])
    }))
})
