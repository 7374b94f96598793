/** What the two ends of a session do, in every runtime: this file imports nothing of Node. */
import { ByteStream, type MuxStream, Session, type SessionConfig, Transport } from "effect-wsmux"
import * as Cause from "effect/Cause"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"

/** Why a task failed: the text names what differs. */
export class Different extends Error {}

/** One end of a task, over a transport of its own. */
export type Task = (transport: Transport.Transport, tell: Tell) => Effect.Effect<unknown, unknown, Scope.Scope>

/** Prints a line for the driver of the tests. */
export type Tell = (line: string) => void

export type Tasks = Readonly<Record<string, Task>>

const settings: SessionConfig.PartialSettings = {
  dialect: "auto",
  streamBufferSize: 256 * 1024,
  maxStreamBufferSize: 1024 * 1024
}

/** Longer than a busy machine keeps a process from its turn. */
const interval = 2000

/** The settings of the tasks that wait for the keep-alive. */
const watchful: SessionConfig.PartialSettings = { ...settings, keepAliveInterval: interval }

const overTransport = (role: "makeClient" | "makeServer") =>
(
  use: (session: Session.Session, tell: Tell) => Effect.Effect<unknown, unknown, Scope.Scope>,
  more: SessionConfig.PartialSettings = settings
): Task =>
(transport, tell) =>
  Effect.flatMap(
    Effect.provideService(Session[role](more), Transport.Transport, transport),
    (session) => use(session, tell)
  )

export const asClient = overTransport("makeClient")
export const asServer = overTransport("makeServer")

const check = (seen: unknown, expected: unknown, what: string): Effect.Effect<void, Different> =>
  JSON.stringify(seen) === JSON.stringify(expected)
    ? Effect.void
    : Effect.fail(new Different(`${what}: ${JSON.stringify(seen)} instead of ${JSON.stringify(expected)}`))

/** Bytes that differ by seed. */
export const content = (size: number, seed: number): Uint8Array => {
  const words = new Uint32Array(Math.ceil(size / 4))
  let state = seed * 2_654_435_761 + 1
  for (let i = 0; i < words.length; i++) {
    state = Math.imul(state, 1_664_525) + 1_013_904_223
    words[i] = state
  }
  return new Uint8Array(words.buffer, 0, size)
}

const digest = (bytes: Uint8Array): Effect.Effect<string> =>
  Effect.map(
    Effect.promise(() => crypto.subtle.digest("SHA-256", bytes as Uint8Array<ArrayBuffer>)),
    (hash) => [...new Uint8Array(hash)].map((byte) => byte.toString(16).padStart(2, "0")).join("")
  )

const readAll = (stream: MuxStream.MuxStream) => ByteStream.readAll(stream, { maxBytes: 128 * 1024 * 1024 })

/** Sends every chunk back, and ends behind the peer's end. */
export const echo = (stream: MuxStream.MuxStream) =>
  Effect.zipRight(ByteStream.forEach(stream, stream.write), stream.end)

/** Writes, ends, and reads the answer at the same time. The answer has to be what was written. */
const exchange = (session: Session.Session, size: number, seed: number) =>
  Session.withStream(session, (stream) =>
    Effect.gen(function*() {
      const sent = content(size, seed)
      const [, answer] = yield* Effect.all([ByteStream.writeEnd(stream, sent), readAll(stream)], { concurrency: 2 })
      yield* check(
        [answer.byteLength, yield* digest(answer)],
        [size, yield* digest(sent)],
        `the echo of stream ${seed}`
      )
    }))

/** The end of a session as the driver sees it. */
const ended = (session: Session.Session, tell: Tell) =>
  Effect.map(session.awaitClosed, (error) => tell(`ended ${error._tag}: ${error.message}`))

/** The closes of the task `close`. Scripts may send 1000 and codes from 3000 on. */
const closing = { code: 4321, reason: "the reason" } as const

/** The bytes after which a transfer is under way: several windows. */
const enough = 4 * 1024 * 1024

/** The terminal error of the session that a failed operation names. */
const causeOf = (error: { readonly _tag: string; readonly cause?: unknown }): string | undefined =>
  (error.cause as { readonly _tag: string } | undefined)?._tag

/** Longer than the largest message that a transport with default settings lets in. */
const tooLarge = 6 * 1024 * 1024

const closeOf = (transport: Transport.Transport): Effect.Effect<Transport.CloseInfo> =>
  Effect.flatMap(Deferred.make<Transport.CloseInfo>(), (end) =>
    Effect.zipRight(
      Effect.sync(() =>
        transport.listen({
          onMessage: () => {},
          onText: () => {},
          onWritable: () => {},
          onClose: (info) => Deferred.unsafeDone(end, Effect.succeed(info))
        })
      ),
      Deferred.await(end)
    ))

export const serverTasks: Tasks = {
  echo: asServer((session) => session.run(echo)),
  watch: asServer((session, tell) => Effect.zipRight(Effect.fork(session.run(echo)), ended(session, tell)), watchful),
  late: asServer((session) =>
    session.run((stream) =>
      Effect.gen(function*() {
        const question = yield* readAll(stream)
        yield* Effect.sleep(100) // longer than the end of a connection takes that knows no half-close
        yield* ByteStream.writeEnd(stream, yield* digest(question))
      })
    )
  ),
  opens: asServer((session) =>
    Effect.forEach(Array.from({ length: 20 }, (_, i) => i), (i) => exchange(session, 100_000, i), {
      concurrency: "unbounded"
    }).pipe(Effect.zipRight(session.close))
  ),
  drop: asServer((session) => Effect.flatMap(Effect.scoped(Effect.flatMap(session.accept, echo)), () => session.close)),
  close: (transport) => transport.close(closing.code, closing.reason, "2 seconds"),
  closed: (transport, tell) => Effect.map(closeOf(transport), ({ code, reason }) => tell(`closed ${code} ${reason}`)),
  tooLarge: asServer((session, tell) => ended(session, tell)),
  tooLargeAnswer: (transport) =>
    Effect.zipRight(Effect.sync(() => transport.send([new Uint8Array(tooLarge)])), closeOf(transport))
}

export const clientTasks: Tasks = {
  transfer: asClient((session) => exchange(session, 64 * 1024 * 1024, 1)),
  streams: asClient((session) =>
    Effect.forEach(Array.from({ length: 100 }, (_, i) => i), (i) => exchange(session, 20_000 + i, i), {
      concurrency: "unbounded"
    })
  ),
  opens: asClient((session) =>
    Effect.flatMap(Effect.flip(session.run(echo)), (error) => check(error._tag, "SessionClosed", "the end"))
  ),
  late: asClient((session) =>
    Session.withStream(session, (stream) =>
      Effect.gen(function*() {
        const question = content(300_000, 3)
        yield* ByteStream.writeEnd(stream, question)
        yield* check(yield* ByteStream.readText(stream), yield* digest(question), "the answer behind the end")
      }))
  ),
  alive: asClient((session) =>
    Effect.gen(function*() {
      yield* Effect.sleep(7 * interval)
      yield* check(yield* session.isClosed, false, "whether the session is closed")
      yield* exchange(session, 1000, 4)
    }), watchful),
  drop: asClient((session) =>
    Effect.gen(function*() {
      yield* exchange(session, 1000, 9) // HAProxy with TLS may lose a close frame that comes while the client sends
      const error = yield* session.awaitClosed
      yield* check({ ...error }, { by: "peer", code: 1000, reason: "", _tag: "SessionClosed" }, "the end")
    })
  ),
  close: (transport) =>
    Effect.flatMap(closeOf(transport), ({ code, reason }) => check({ code, reason }, closing, "the close")),
  closed: (transport) => transport.close(closing.code, closing.reason, "5 seconds"),
  tooLarge: (transport) =>
    Effect.gen(function*() {
      transport.send([new Uint8Array(tooLarge)])
      const { code } = yield* closeOf(transport)
      // A message under way may keep the close frame from arriving: the server ends its side of TCP without reading.
      yield* check([1006, 1009, 4009].includes(code), true, `whether ${code} is a code of the end`)
    }),
  tooLargeAnswer: (transport) =>
    Effect.gen(function*() {
      const { cause } = yield* closeOf(transport)
      yield* check(cause instanceof RangeError, true, "whether the cause is a RangeError")
    }),
  // The driver acts on the lines of these three.
  frozenClient: asClient((session, tell) =>
    Effect.gen(function*() {
      yield* exchange(session, 1000, 5)
      tell("freeze the client")
      yield* session.awaitClosed
    }), watchful),
  frozenServer: asClient((session, tell) =>
    Effect.gen(function*() {
      yield* exchange(session, 1000, 6)
      tell("freeze the server")
      yield* check((yield* session.awaitClosed)._tag, "KeepAliveExpired", "the end")
    }), watchful),
  killedServer: asClient((session, tell) =>
    Session.withStream(session, (stream) =>
      Effect.gen(function*() {
        const writing = yield* Effect.fork(Effect.forever(stream.write(content(100_000, 7))))
        let arrived = 0
        const lost = yield* Effect.flip(ByteStream.forEach(stream, (chunk) => {
          const isBefore = arrived < enough
          arrived += chunk.byteLength
          if (isBefore && arrived >= enough) tell("kill the server")
        }))
        yield* check(arrived >= enough, true, "whether bytes flowed")
        for (const error of [lost, yield* Effect.flip(Fiber.join(writing))]) {
          yield* check(causeOf(error), "TransportFailure", `the cause of ${error._tag}`)
        }
        yield* check((yield* session.awaitClosed)._tag, "TransportFailure", "the end")
      }))
  )
}

/** Which task of the server a task of the client needs, where the names differ. */
export const partner = (task: string): string => partners[task] ?? task

const partners: Readonly<Record<string, string>> = {
  transfer: "echo",
  streams: "echo",
  alive: "watch",
  frozenClient: "watch",
  frozenServer: "watch",
  killedServer: "echo"
}

/** Guards against a hang alone: two cores that many pairs share take long for 64 MiB. */
const limit = Duration.minutes(2)

/** A dial that fails has to tell why, also where the runtime says nothing. */
const refused = (dial: Effect.Effect<unknown, unknown, Scope.Scope>): Effect.Effect<void, unknown, Scope.Scope> =>
  Effect.flatMap(
    Effect.flip(dial),
    (error) =>
      check(/^ConnectFailure: cannot connect to \S+: \S/.test(String(error)), true, `whether ${error} tells why`)
  )

/** Runs one task, and answers with the line that tells how the task went. */
export const runTask = (
  task: string,
  dial: Effect.Effect<Transport.Transport, unknown, Scope.Scope>,
  tell: Tell,
  tasks: Tasks = clientTasks
): Effect.Effect<void> =>
  Effect.gen(function*() {
    const started = Date.now()
    const exit = yield* (task === "refused"
      ? refused(dial)
      : Effect.flatMap(dial, (transport) => tasks[task]!(transport, tell))).pipe(
        Effect.scoped,
        Effect.timeoutOption(limit),
        Effect.exit
      )
    const millis = Date.now() - started
    if (exit._tag === "Failure") {
      tell(`FAILED ${task}: ${oneLine(Cause.pretty(exit.cause, { renderErrorCause: true }))}`)
    } else if (Option.isNone(exit.value)) tell(`FAILED ${task}: not over after ${Duration.format(limit)}`)
    else tell(`passed ${task} ${millis}`)
  })

const oneLine = (text: string): string => text.replaceAll(/\s*\n\s*/g, " | ")
