import { describe, expect, it } from "@effect/vitest"
import * as ByteStream from "effect-wsmux/ByteStream"
import { forward } from "effect-wsmux/cli/forward"
import type { Connection } from "effect-wsmux/cli/tcp"
import type { DuplexFailure } from "effect-wsmux/WsmuxError"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Logger from "effect/Logger"
import * as LogLevel from "effect/LogLevel"
import * as Option from "effect/Option"
import * as TestClock from "effect/TestClock"
import { makeStreams, settle } from "../../support/sessions.js"

const streamBufferSize = 4096

/**
 * A TCP connection that talks without end and takes everything, with a stream in front of it: `near` is the client's
 * end.
 */
const makeTalker = Effect.gen(function*() {
  let onBroken: (cause: Error) => void = () => {}
  const connection: Connection = {
    ...ByteStream.make<DuplexFailure>({
      read: Effect.succeed(Option.some(new Uint8Array(1024))),
      write: () => Effect.void,
      end: Effect.void
    }),
    peer: "10.0.0.1:80",
    local: "10.0.0.2:4000",
    bytes: () => ({ read: 5, written: 7 }),
    onBroken: (callback) => {
      onBroken = callback
    }
  }
  const { far, near } = yield* makeStreams({ client: { streamBufferSize }, server: { streamBufferSize } })
  const forwarding = yield* Effect.fork(forward(far, connection))
  yield* settle
  return { near, forwarding, break: Effect.sync(() => onBroken(new Error("read ECONNRESET"))) }
})

describe("forward", () => {
  it.scoped("leaves a connection 15 to 30 s after its client has ended and takes nothing more", () =>
    Effect.gen(function*() {
      const { forwarding, near } = yield* makeTalker
      yield* near.end
      yield* settle
      yield* TestClock.adjust("14 seconds")
      expect(forwarding.unsafePoll()).toBeNull()
      yield* TestClock.adjust("16 seconds")
      yield* Fiber.join(forwarding)
    }))

  it.scoped("keeps a connection whose client has ended its half and reads slowly", () =>
    Effect.gen(function*() {
      const { forwarding, near } = yield* makeTalker
      yield* near.end
      for (let i = 0; i < 40; i++) {
        yield* near.read
        yield* settle
        yield* TestClock.adjust("5 seconds")
      }
      expect(forwarding.unsafePoll()).toBeNull()
      yield* Fiber.interrupt(forwarding)
    }))

  it.scoped("keeps a connection whose client has not ended and reads nothing", () =>
    Effect.gen(function*() {
      const { forwarding } = yield* makeTalker
      yield* TestClock.adjust("1 hours")
      expect(forwarding.unsafePoll()).toBeNull()
      yield* Fiber.interrupt(forwarding)
    }))

  it.scoped("leaves a connection that breaks while a write waits for credit, 2 s later", () =>
    Effect.gen(function*() {
      const talker = yield* makeTalker
      yield* talker.break
      yield* settle
      expect(talker.forwarding.unsafePoll()).toBeNull()
      yield* TestClock.adjust("2 seconds")
      yield* Fiber.join(talker.forwarding)
    }))

  it.scoped("logs the TCP peer of a stream, its end and its bytes", () => {
    const lines: Array<string> = []
    const logger = Logger.make(({ message }) => void lines.push(String(message)))
    return Effect.gen(function*() {
      const talker = yield* makeTalker
      yield* talker.break
      yield* settle
      yield* TestClock.adjust("2 seconds")
      yield* Fiber.join(talker.forwarding)
      expect(lines).toEqual([
        "stream 1: joined with 10.0.0.1:80",
        "stream 1: broke after 5 bytes from TCP and 7 bytes to TCP: read ECONNRESET"
      ])
    }).pipe(Effect.provide(Logger.replace(Logger.defaultLogger, logger)), Logger.withMinimumLogLevel(LogLevel.Debug))
  })
})
