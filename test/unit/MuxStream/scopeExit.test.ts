import { describe, expect, it } from "@effect/vitest"
import { type MuxStream, ResetCode } from "effect-wsmux/MuxStream"
import { StreamReset } from "effect-wsmux/WsmuxError"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as FiberId from "effect/FiberId"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/TestClock"
import { bytes, text } from "../../support/bytes.js"
import { failureOf, quiet, start } from "../../support/observe.js"
import { makeSessions, readAll, readSome, settle } from "../../support/sessions.js"

/** The two ends of a stream between peers that speak the dialect. A scope of its own owns the near end. */
const makeStreams = Effect.gen(function*() {
  const sessions = yield* makeSessions({ client: quiet, server: quiet })
  yield* settle
  const scope = yield* Scope.make()
  const [near, far] = yield* Effect.all([Scope.extend(sessions.client.open(), scope), sessions.server.accept], {
    concurrency: 2
  })
  return { ...sessions, near, far, close: (exit: Exit.Exit<unknown, unknown>) => Scope.close(scope, exit) }
})

const reset = (operation: "read" | "write", code: number) =>
  new StreamReset({ streamId: 1, operation, by: "peer", code, reason: "", written: 0 })

describe("MuxStream whose scope closes", () => {
  it.scoped("MuxStream ends cleanly and stops the peer's writer when its scope closes after success", () =>
    Effect.gen(function*() {
      const { client, close, far, near, server } = yield* makeStreams
      yield* near.write(bytes("all"))
      const write = yield* start(far.write(new Uint8Array(5000)))
      yield* close(Exit.void)
      expect(text(yield* readAll(far))).toBe("all")
      expect(yield* failureOf(write)).toMatchObject({ _tag: "StreamReset", code: ResetCode.NoError, written: 1024 })
      yield* settle
      expect([(yield* client.snapshot).streams, (yield* server.snapshot).streams]).toEqual([[], []])
    }))

  for (
    const [name, exit, code] of [
      ["a failure", Exit.fail("secret of this process"), ResetCode.Failed],
      ["a defect", Exit.die("secret of this process"), ResetCode.Failed],
      ["an interruption", Exit.interrupt(FiberId.none), ResetCode.Cancelled]
    ] as const
  ) {
    it.scoped(`MuxStream resets both directions without a reason when its scope closes by ${name}`, () =>
      Effect.gen(function*() {
        const { client, close, far, near, server } = yield* makeStreams
        yield* near.write(bytes("part"))
        yield* settle
        yield* close(exit)
        yield* settle
        expect(text(yield* readSome(far))).toBe("part")
        expect(yield* Effect.flip(far.read)).toEqual(reset("read", code))
        expect(yield* Effect.flip(far.write(bytes("x")))).toEqual(reset("write", code))
        expect([(yield* client.snapshot).streams, (yield* server.snapshot).streams]).toEqual([[], []])
      }))
  }

  it.scoped("MuxStream resets instead of ending when its scope closes while written bytes wait", () =>
    Effect.gen(function*() {
      const { close, far, near } = yield* makeStreams
      yield* Effect.forkDaemon(near.write(new Uint8Array(2000)))
      yield* settle
      yield* close(Exit.void)
      yield* settle
      expect((yield* readSome(far)).byteLength).toBe(1024)
      expect(yield* Effect.flip(far.read)).toEqual(reset("read", ResetCode.Cancelled))
    }))

  it.scoped("MuxStream ends cleanly when both directions were over before its scope fails", () =>
    Effect.gen(function*() {
      const { close, far, near } = yield* makeStreams
      yield* near.write(bytes("done"))
      yield* near.end
      yield* far.end
      yield* settle
      yield* close(Exit.fail("late"))
      expect(text(yield* readAll(far))).toBe("done")
    }))

  it.scoped("Session.run resets the stream of a handler that fails", () =>
    Effect.gen(function*() {
      const { client, server } = yield* makeSessions({ client: quiet, server: quiet })
      yield* settle
      yield* Effect.forkScoped(server.run(() => Effect.fail("no")))
      const stream = yield* client.open()
      expect(yield* Effect.flip(stream.read)).toEqual(reset("read", ResetCode.Failed))
    }))
})

describe("MuxStream.writable whose input fails", () => {
  const inputs: ReadonlyArray<readonly [string, Stream.Stream<Uint8Array, string>, number]> = [
    ["fails", Stream.concat(Stream.make(bytes("part")), Stream.fail("secret")), ResetCode.Failed],
    ["dies", Stream.concat(Stream.make(bytes("part")), Stream.die("secret")), ResetCode.Failed]
  ]
  for (const [name, input, code] of inputs) {
    it.scoped(`MuxStream.writable resets its direction, and no more, when its input ${name}`, () =>
      Effect.gen(function*() {
        const { far, near } = yield* makeStreams
        yield* Effect.exit(Stream.run(input, near.writable))
        yield* settle
        expect(text(yield* readSome(far))).toBe("part")
        expect(yield* Effect.flip(far.read)).toEqual(reset("read", code))
        yield* far.write(bytes("still here"))
        expect(text(yield* readSome(near))).toBe("still here")
      }))
  }

  it.scoped("MuxStream.writable resets its direction when it is interrupted", () =>
    Effect.gen(function*() {
      const { far, near } = yield* makeStreams
      const fiber = yield* start(Stream.run(Stream.concat(Stream.make(bytes("part")), Stream.never), near.writable))
      yield* Fiber.interrupt(fiber)
      yield* settle
      expect(text(yield* readSome(far))).toBe("part")
      expect(yield* Effect.flip(far.read)).toEqual(reset("read", ResetCode.Cancelled))
    }))

  it.scoped("MuxStream.writable keeps its direction open when its own write fails by the write deadline", () =>
    Effect.gen(function*() {
      const { far, near } = yield* makeStreams
      const run = yield* start(Stream.run(Stream.make(new Uint8Array(1024), bytes("late")), near.writable))
      yield* near.setWriteDeadline(10)
      yield* TestClock.adjust(10)
      expect((yield* failureOf(run))._tag).toBe("WriteTimeout")
      yield* near.setWriteDeadline(undefined)
      expect((yield* readSome(far)).byteLength).toBe(1024)
      yield* near.write(bytes("on"))
      yield* near.end
      expect(text(yield* readAll(far))).toBe("on")
    }))
})

describe("MuxStream whose reader leaves", () => {
  it.scoped("writer of 1 GiB stops within a round trip when its reader leaves after 1 MiB", () =>
    Effect.gen(function*() {
      const window = { ...quiet, dialect: "auto", streamBufferSize: 64 * 1024 } as const
      const { client, server } = yield* makeSessions({ client: window, server: window, link: { latency: 10 } })
      yield* TestClock.adjust(10)
      let written = 0
      const chunk = new Uint8Array(32 * 1024)
      const writing = yield* start(Effect.scoped(Effect.flatMap(server.accept, (stream) =>
        Effect.repeatN(
          Effect.tap(stream.write(chunk), () => Effect.sync(() => written += chunk.length)),
          2 ** 30 / chunk.length - 1
        ))))
      const scope = yield* Scope.make()
      const opening = yield* start(Scope.extend(client.open(), scope))
      yield* TestClock.adjust(20)
      const stream = yield* Fiber.join(opening)
      const reading = yield* start(Stream.runDrain(Stream.take(stream.readable, 32)))
      while ((yield* Fiber.poll(reading))._tag === "None") yield* TestClock.adjust(10)
      yield* Scope.close(scope, Exit.void)
      yield* TestClock.adjust(20)
      expect(yield* failureOf(writing)).toMatchObject({ _tag: "StreamReset", by: "peer", operation: "write" })
      expect(written).toBeLessThan(2 * 2 ** 20)
    }))
})

describe("MuxStream.end behind a write that is left out", () => {
  const cuts = {
    "is interrupted": (write: Fiber.RuntimeFiber<void, unknown>) => Fiber.interrupt(write),
    "exceeds the write deadline": (_: unknown, near: MuxStream) =>
      Effect.zipRight(near.setWriteDeadline(10), TestClock.adjust(10))
  }
  for (const [name, cut] of Object.entries(cuts)) {
    it.scoped(`MuxStream.end fails, and the reader sees a reset, when the write before it ${name}`, () =>
      Effect.gen(function*() {
        const { client, far, near, server } = yield* makeStreams
        const write = yield* start(near.write(new Uint8Array(2000)))
        const end = yield* start(near.end)
        yield* cut(write, near)
        const failure = { _tag: "StreamReset", by: "local", code: ResetCode.Cancelled }
        expect(yield* failureOf(end)).toMatchObject(failure)
        yield* settle
        expect((yield* readSome(far)).byteLength).toBe(1024)
        expect(yield* Effect.flip(far.read)).toEqual(reset("read", ResetCode.Cancelled))
        yield* far.write(bytes("still here"))
        expect(text(yield* readSome(near))).toBe("still here")
        yield* far.end
        yield* settle
        expect([(yield* client.snapshot).streams, (yield* server.snapshot).streams]).toEqual([[], []])
      }))
  }
})
