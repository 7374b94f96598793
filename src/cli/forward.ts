import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Runtime from "effect/Runtime"
import * as ByteStream from "../ByteStream.js"
import type { MuxStream } from "../MuxStream.js"
import type * as Tcp from "./tcp.js"

/**
 * The time that a peer may take no bytes after it has ended its half. Then its connection is reset. The wire has no
 * reset, so a client that has gone looks like a client that has ended its half and reads slowly.
 */
const stallTimeout = Duration.seconds(15)

/** The time in which the bytes that were read before a connection broke may reach the peer. Then the stream ends. */
const handOverMillis = 2000

/** Joins a stream with a TCP connection. Logs the addresses of both ends, the outcome and the bytes. Never fails. */
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

/** A join that waits for its stream does not notice a broken connection. A deadline ends that wait without a fiber. */
const endSoon = (stream: MuxStream): Effect.Effect<void> =>
  Effect.flatMap(Clock.currentTimeMillis, (now) => Effect.ignore(stream.setDeadline(now + handOverMillis)))

const counts = (connection: Tcp.Connection): string => {
  const { read, written } = connection.bytes()
  return ` after ${read} bytes from TCP and ${written} bytes to TCP`
}
