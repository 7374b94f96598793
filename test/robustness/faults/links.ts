import { expect } from "@effect/vitest"
import type { MuxStream } from "effect-wsmux/MuxStream"
import * as Session from "effect-wsmux/Session"
import type * as SessionConfig from "effect-wsmux/SessionConfig"
import { Transport } from "effect-wsmux/Transport"
import type { TerminalError } from "effect-wsmux/WsmuxError"
import { BrokenPipe } from "effect-wsmux/WsmuxError"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import { pattern } from "../../support/bytes.js"
import { acceptWsServer, dialWs, eventually } from "../../support/transports.js"
import { FaultProxy, type Options as ProxyOptions } from "./proxy.js"

export interface Options extends SessionConfig.PartialSettings {
  readonly proxy?: ProxyOptions
  /** Settings of one end alone. */
  readonly client?: SessionConfig.PartialSettings
  readonly server?: SessionConfig.PartialSettings
}

/** Both ends of a session over real sockets, with a proxy between them. */
export const makeLink = ({ client: near, proxy: faults, server: far, ...options }: Options = {}) =>
  Effect.gen(function*() {
    const limits = { maxMessageSize: 64 * 1024 * 1024 }
    const { accepted, url } = yield* acceptWsServer(limits)
    const proxy = yield* FaultProxy.make(Number(new URL(url).port), faults)
    const transport = yield* dialWs(`ws://127.0.0.1:${proxy.port}`, limits)
    const client = yield* Effect.provideService(Session.makeClient({ ...options, ...near }), Transport, transport)
    const make = Session.makeServer({ ...options, ...far })
    const server = yield* Effect.provideService(make, Transport, yield* accepted)
    return { client, server, proxy }
  })

/** The same, with a stream that the client opened. */
export const makeStreams = (options: Options = {}) =>
  Effect.gen(function*() {
    const link = yield* makeLink(options)
    const [near, far] = yield* Effect.all([link.client.open(), link.server.accept], { concurrency: 2 })
    return { ...link, near, far }
  })

/** The failures of the operations of one end, and when they came. */
export interface Outcome {
  readonly cause: TerminalError
  /** Milliseconds from the fault to the last of the operations, and to the end of the session. */
  readonly failedAfter: number
  readonly closedAfter: number
}

/**
 * Starts operations that wait while the peer reads and accepts nothing: a read, a write beyond the credit, the end
 * behind that write, an accept and an open. The test runs the returned effect after the fault. That effect awaits all
 * failures, and checks the error of each operation and of later ones.
 */
export const startAll = (session: Session.Session, stream: MuxStream) =>
  Effect.gen(function*() {
    const open = Effect.scoped(Effect.flip(session.open()))
    const accept = Effect.scoped(Effect.flip(session.accept))
    const started = yield* forkAll([
      Effect.flip(stream.read),
      Effect.flip(stream.write(pattern(mebibyte))),
      open,
      accept
    ])
    // until the write has used up its credit and the SYN has left
    yield* eventually(() => {
      const { streams, unacknowledgedOpens } = Effect.runSync(session.snapshot)
      return unacknowledgedOpens === 1 && streams.some(({ id, sendCredit }) => id === stream.id && sendCredit === 0)
    })
    const waiting = [...started, ...yield* forkAll([Effect.flip(stream.end)])]
    expect(waiting.map((fiber) => fiber.unsafePoll())).toEqual(waiting.map(() => null))

    return Effect.gen(function*() {
      const since = performance.now()
      const failures = yield* Effect.forEach(waiting, Fiber.join)
      const failedAfter = performance.now() - since
      const cause = yield* session.awaitClosed
      const closedAfter = performance.now() - since
      const later = [
        Effect.flip(stream.read),
        Effect.flip(stream.write(pattern(1))),
        open,
        accept,
        Effect.flip(stream.end)
      ]
      expectFailures(failures, cause)
      expectFailures(yield* Effect.all(later), cause)
      return { cause, failedAfter, closedAfter } satisfies Outcome
    })
  })

const mebibyte = 1024 * 1024

const forkAll = (operations: ReadonlyArray<Effect.Effect<unknown, unknown>>) => Effect.forEach(operations, Effect.fork)

const expectFailures = ([read, write, open, accept, end]: ReadonlyArray<unknown>, cause: TerminalError): void => {
  expectBroken(read, "read", cause)
  expectBroken(write, "write", cause)
  expectBroken(end, "write", cause)
  // the span of an operation wraps its error in another object
  for (const error of [open, accept]) expect(error).toMatchObject({ _tag: cause._tag, message: cause.message })
}

const expectBroken = (error: unknown, operation: "read" | "write", cause: TerminalError): void => {
  expect(error).toBeInstanceOf(BrokenPipe)
  expect(error).toMatchObject({ operation })
  expect((error as BrokenPipe).cause).toBe(cause)
}

/** Milliseconds that no operation of these tests exceeds, on a busy machine, too. */
export const soon = 8000
