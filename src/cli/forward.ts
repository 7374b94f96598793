import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Runtime from "effect/Runtime"
import * as ByteStream from "../ByteStream.js"
import type { MuxStream } from "../MuxStream.js"
import type * as Tcp from "./tcp.js"

/**
 * How long a peer that has ended its half may take nothing before its connection is reset. This wire has no reset, so a
 * client that has gone looks like one that has ended its half and reads slowly.
 */
const stallTimeout = Duration.seconds(15)

/** How long what was read before a connection broke may take to reach the peer; then the peer is told the end. */
const handOverMillis = 2000

/** Joins a stream with a TCP connection, and logs between whom and how it ended. Never fails. */
export const forward = (stream: MuxStream, connection: Tcp.Connection): Effect.Effect<void> =>
  Effect.gen(function*() {
    yield* Effect.logDebug(`stream ${stream.id}: joined with ${connection.peer}`)
    const runtime = yield* Effect.runtime<never>()
    let broken: Error | undefined
    connection.onBroken((cause) => {
      broken = cause
      Runtime.runFork(runtime)(endSoon(stream))
    })
    yield* Effect.matchEffect(ByteStream.join(stream, connection, { stallTimeout }), {
      onSuccess: () => Effect.logDebug(`stream ${stream.id}: ended${counts(connection)}`),
      onFailure: (error) =>
        Effect.logDebug(`stream ${stream.id}: broke${counts(connection)}: ${(broken ?? error).message}`)
    })
  }).pipe(
    Effect.onInterrupt(() => Effect.logDebug(`stream ${stream.id}: interrupted${counts(connection)}`)),
    Effect.annotateLogs("tcp", `${connection.local}-${connection.peer}`)
  )

/**
 * A join that waits for its stream does not see the connection break: a deadline ends that wait, and costs no fiber.
 */
const endSoon = (stream: MuxStream): Effect.Effect<void> =>
  Effect.flatMap(Clock.currentTimeMillis, (now) => Effect.ignore(stream.setDeadline(now + handOverMillis)))

const counts = (connection: Tcp.Connection): string => {
  const { read, written } = connection.bytes()
  return ` after ${read} bytes from TCP and ${written} bytes to TCP`
}
