import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as ByteStream from "../../../ByteStream.js"
import type { MuxStream } from "../../../MuxStream.js"
import type { ReadError, WriteError } from "../../../WsmuxError.js"
import { Decoder, encode } from "./frames.js"

/** The bytes of datagrams that wait for one stream. UDP may lose, so the oldest are dropped beyond that. */
export const maxWaiting = 256 * 1024

/** An association ends after this time without a datagram. */
const idleTimeout = Duration.seconds(60)

/** Tells when an association has been silent for too long. */
export const watchSilence = Effect.map(Effect.clock, (clock) => {
  const now = () => clock.unsafeCurrentTimeMillis()
  let last = now()
  const silent: Effect.Effect<void> = Effect.suspend(() => {
    const left = last + Duration.toMillis(idleTimeout) - now()
    return left <= 0 ? Effect.void : Effect.zipRight(Effect.sleep(left), silent)
  })
  return {
    /** A datagram passes. */
    touch: () => {
      last = now()
    },
    /** Completes when no datagram has passed for a minute. */
    silent
  }
})

/** The datagrams that wait to be sent through a stream. */
export class Outbox {
  #waiting: Array<Uint8Array> = []
  #bytes = 0
  readonly #hasAny = Effect.unsafeMakeLatch(false)

  /** Adds a datagram, and drops the oldest where too many bytes wait. Keeps no reference to the datagram. */
  offer(datagram: Uint8Array): void {
    this.#waiting.push(encode(datagram))
    this.#bytes += datagram.byteLength
    while (this.#bytes > maxWaiting) this.#bytes -= this.#waiting.shift()!.byteLength - 2
    this.#hasAny.unsafeOpen()
  }

  /** Waits for datagrams, and takes all of them as frames. */
  readonly takeAll: Effect.Effect<ReadonlyArray<Uint8Array>> = Effect.map(this.#hasAny.await, () => {
    const taken = this.#waiting
    this.#waiting = []
    this.#bytes = 0
    this.#hasAny.unsafeClose()
    return taken
  })
}

/**
 * Carries datagrams both ways: those of the outbox into the stream, and those of the stream to `send`. Completes when
 * the peer ends the stream, or when no datagram has passed for a minute.
 */
export const join = (
  stream: MuxStream,
  outbox: Outbox,
  send: (datagram: Uint8Array) => void
): Effect.Effect<void, ReadError | WriteError> =>
  Effect.flatMap(watchSilence, ({ silent, touch }) => {
    const decoder = new Decoder()
    const outbound = Effect.forever(Effect.flatMap(outbox.takeAll, (frames) => {
      touch()
      return stream.writeAll(frames)
    }))
    const inbound = ByteStream.forEach(stream, (chunk) => {
      touch()
      for (const datagram of decoder.push(chunk)) send(datagram)
    })
    return Effect.raceFirst(Effect.raceFirst(outbound, inbound), silent)
  })
