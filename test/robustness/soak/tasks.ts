import type { MuxStream } from "effect-wsmux/MuxStream"
import type * as ReconnectingSession from "effect-wsmux/ReconnectingSession"
import type { Opener } from "effect-wsmux/Session"
import type {
  ConnectFailure,
  InvalidConfiguration,
  NotConnected,
  OpenError,
  ReadError,
  WriteError
} from "effect-wsmux/WsmuxError"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { pattern } from "../../support/bytes.js"

/** The figures of a client. */
export interface Tally {
  streams: number
  bytes: number
  /** Tasks that ended by a fault of the network. */
  broken: number
  /** Mismatches: wrong bytes, an early end, an error that no fault explains. */
  readonly mismatches: Array<string>
}

export type Failure = NotConnected | ConnectFailure | InvalidConfiguration | OpenError | ReadError | WriteError

/** The source of streams: a lasting session, or a new one. */
export interface Means {
  readonly session: Pick<ReconnectingSession.Service, "open">
  readonly dial: Effect.Effect<Opener, ConnectFailure | InvalidConfiguration, Scope.Scope>
}

/** Random numbers from 0 to 1, the same for the same seed. */
export const random = (seed: number): () => number => {
  let x = seed >>> 0 || 1
  return () => {
    x ^= x << 13
    x ^= x >>> 17
    x ^= x << 5
    return (x >>> 0) / 0x1_0000_0000
  }
}

const source = pattern(1 << 20)

/** A part of the source to send, and a check of its echo. */
export const makeContent = (choose: () => number, most: number) => {
  const size = 1 + Math.floor(choose() * most)
  const start = Math.floor(choose() * (source.byteLength - size))
  let read = 0
  return {
    bytes: source.subarray(start, start + size),
    isWhole: () => read === size,
    /** Whether these are the next bytes. */
    take: (chunk: Uint8Array): boolean => {
      const from = start + read
      read += chunk.byteLength
      return read <= size && Buffer.compare(chunk, source.subarray(from, from + chunk.byteLength)) === 0
    }
  }
}

type Content = ReturnType<typeof makeContent>

const readBack = (tally: Tally, stream: MuxStream, content: Content, pause: Effect.Effect<void>) =>
  Effect.gen(function*() {
    for (;;) {
      const chunk = yield* stream.read
      if (Option.isNone(chunk)) break
      tally.bytes += chunk.value.byteLength
      if (!content.take(chunk.value)) {
        return void tally.mismatches.push(`stream ${stream.id}: other bytes than were sent`)
      }
      yield* pause
    }
    if (!content.isWhole()) tally.mismatches.push(`stream ${stream.id}: an end before all bytes`)
  })

/** Sends, and reads the echo at the same time. */
export const echo = (
  tally: Tally,
  session: Opener<NotConnected | OpenError>,
  content: Content,
  pause: Effect.Effect<void> = Effect.void
) =>
  Effect.gen(function*() {
    const stream = yield* session.open()
    tally.streams++
    const { bytes } = content
    const chunks = Stream.range(0, Math.ceil(bytes.byteLength / chunkSize) - 1).pipe(
      Stream.map((i) => bytes.subarray(i * chunkSize, (i + 1) * chunkSize))
    )
    yield* Effect.all([Stream.run(chunks, stream.writable), readBack(tally, stream, content, pause)], {
      concurrency: 2
    })
  }).pipe(Effect.scoped)

const chunkSize = 10_000

type Task = (tally: Tally, means: Means, choose: () => number) => Effect.Effect<unknown, Failure>

/** The tasks of a client, each as often as the others. */
export const tasks: ReadonlyArray<Task> = [
  // a bulk stream
  (tally, { session }, choose) => echo(tally, session, makeContent(choose, 1 << 19)),
  // a slow reader
  (tally, { session }, choose) => echo(tally, session, makeContent(choose, 1 << 17), Effect.sleep(5)),
  // many streams at once
  (tally, { session }, choose) => {
    const contents = Array.from({ length: 50 }, () => makeContent(choose, 2000))
    return Effect.forEach(contents, (content) => echo(tally, session, content), { concurrency: "unbounded" })
  },
  // streams one after the other
  (tally, { session }, choose) => {
    const contents = Array.from({ length: 50 }, () => makeContent(choose, 100))
    return Effect.forEach(contents, (content) => echo(tally, session, content))
  },
  // a stream that is left while its echo is unread
  (tally, { session }, choose) =>
    Effect.scoped(Effect.gen(function*() {
      const stream = yield* session.open()
      tally.streams++
      yield* Effect.timeoutOption(stream.write(makeContent(choose, 200_000).bytes), choose() * 50)
    })),
  // an open that may be given up
  (tally, { session }, choose) =>
    Effect.scoped(Effect.gen(function*() {
      const stream = yield* Effect.timeoutOption(session.open(), choose() * 3)
      if (Option.isSome(stream)) tally.streams++
    })),
  // a session for one stream
  (tally, { dial }, choose) =>
    Effect.scoped(Effect.flatMap(dial, (session) => echo(tally, session, makeContent(choose, 20_000)))),
  // a pause, and then a few bytes
  (tally, { session }, choose) =>
    Effect.scoped(Effect.gen(function*() {
      const stream = yield* session.open()
      tally.streams++
      const content = makeContent(choose, 100)
      yield* Effect.sleep(choose() * 2000)
      yield* Effect.all([
        Effect.zipRight(stream.write(content.bytes), stream.end),
        readBack(tally, stream, content, Effect.void)
      ], { concurrency: 2 })
    }))
]

/** Runs one task after the other without end, and checks the end of each. */
export const work = (
  tally: Tally,
  means: Means,
  choose: () => number
): Effect.Effect<never> =>
  Effect.suspend(() => tasks[Math.floor(choose() * tasks.length)]!(tally, means, choose)).pipe(
    Effect.catchAll((error) =>
      Effect.sync(() => {
        if (isExplained(error)) tally.broken++
        else tally.mismatches.push(`${error._tag}: ${error.message}`)
      })
    ),
    Effect.catchAllDefect((defect) => Effect.sync(() => tally.mismatches.push(`a defect: ${defect}`))),
    Effect.zipRight(Effect.yieldNow()),
    Effect.forever
  )

/** Whether a cut, a reset or a stall can cause this error. */
const isExplained = (error: Failure): boolean => {
  switch (error._tag) {
    case "BrokenPipe":
      return error.cause !== undefined && isExplained(error.cause)
    case "TransportFailure":
    case "KeepAliveExpired":
    case "NotConnected":
    case "ConnectFailure":
      return true
    case "SessionClosed":
      return error.by === "peer"
    default:
      return false
  }
}
