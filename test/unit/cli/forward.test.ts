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
 * Forwards between a stream and a TCP connection that sends without end and takes all bytes. `near` is the client's
 * end.
 */
const makeFlooding = Effect.gen(function*() {
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
  it.scoped("forward leaves a connection 15 to 30 s after its client has ended and stopped reading", () =>
    Effect.gen(function*() {
      const { forwarding, near } = yield* makeFlooding
      yield* near.end
      yield* settle
      yield* TestClock.adjust("14 seconds")
      expect(forwarding.unsafePoll()).toBeNull()
      yield* TestClock.adjust("16 seconds")
      yield* Fiber.join(forwarding)
    }))

  it.scoped("forward keeps a connection whose client has ended its half and reads slowly", () =>
    Effect.gen(function*() {
      const { forwarding, near } = yield* makeFlooding
      yield* near.end
      for (let i = 0; i < 40; i++) {
        yield* near.read
        yield* settle
        yield* TestClock.adjust("5 seconds")
      }
      expect(forwarding.unsafePoll()).toBeNull()
      yield* Fiber.interrupt(forwarding)
    }))

  it.scoped("forward keeps a connection whose client has not ended and does not read", () =>
    Effect.gen(function*() {
      const { forwarding } = yield* makeFlooding
      yield* TestClock.adjust("1 hours")
      expect(forwarding.unsafePoll()).toBeNull()
      yield* Fiber.interrupt(forwarding)
    }))

  it.scoped("forward leaves a connection 2 s after it breaks while a write waits for credit", () =>
    Effect.gen(function*() {
      const flooding = yield* makeFlooding
      yield* flooding.break
      yield* settle
      expect(flooding.forwarding.unsafePoll()).toBeNull()
      yield* TestClock.adjust("2 seconds")
      yield* Fiber.join(flooding.forwarding)
    }))

  it.scoped("forward logs the TCP peer of a stream, its outcome and its bytes", () => {
    const lines: Array<string> = []
    const logger = Logger.make(({ message }) => void lines.push(String(message)))
    return Effect.gen(function*() {
      const flooding = yield* makeFlooding
      yield* flooding.break
      yield* settle
      yield* TestClock.adjust("2 seconds")
      yield* Fiber.join(flooding.forwarding)
      expect(lines).toEqual([
        "stream 1: joined with 10.0.0.1:80",
        "stream 1: broke after 5 bytes from TCP and 7 bytes to TCP: read ECONNRESET"
      ])
    }).pipe(Effect.provide(Logger.replace(Logger.defaultLogger, logger)), Logger.withMinimumLogLevel(LogLevel.Debug))
  })
})
