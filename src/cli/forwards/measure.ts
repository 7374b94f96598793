import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as ByteStream from "../../ByteStream.js"
import type { MuxStream } from "../../MuxStream.js"
import * as Codes from "./codes.js"
import type { Context } from "./context.js"

/** The bounds of one measurement. A client has one at a time, and further ones wait. */
const maxBytes = 64 * 1024 * 1024
const maxDuration = Duration.seconds(5)

const chunk = new Uint8Array(64 * 1024)

/**
 * Returns how `wsmux serve` serves the streams by which `wsmux doctor` measures. Clients who need not authenticate get
 * no measurement, since each costs the server as much as a download.
 */
export const make = ({ isAuthenticated }: Context): (stream: MuxStream) => Effect.Effect<unknown, unknown> => {
  const turn = Effect.unsafeMakeSemaphore(1)
  return (stream) =>
    Effect.suspend(() => {
      const serve = kinds[stream.metadata.kind ?? ""]
      if (!isAuthenticated) return stream.reset(Codes.resetOf(Codes.Code.Forbidden))
      if (serve === undefined) return stream.reset(Codes.resetOf(Codes.Code.Malformed))
      return serve(stream).pipe(
        Effect.timeoutTo({
          duration: maxDuration,
          onSuccess: () => Effect.void,
          onTimeout: () => stream.reset(Codes.resetOf(Codes.Code.TimedOut))
        }),
        Effect.flatten,
        turn.withPermits(1)
      )
    })
}

/** Fails once a measurement has taken all bytes that it may. */
const counted = () => {
  let left = maxBytes
  return (bytes: Uint8Array): Effect.Effect<void, "spent"> => {
    left -= bytes.byteLength
    return left < 0 ? Effect.fail("spent") : Effect.void
  }
}

const kinds: Readonly<Record<string, (stream: MuxStream) => Effect.Effect<unknown, unknown>>> = {
  echo: (stream) => {
    const count = counted()
    return Effect.zipRight(
      ByteStream.forEach(stream, (bytes) => Effect.zipRight(count(bytes), stream.write(bytes))),
      stream.end
    )
  },
  sink: (stream) => {
    const count = counted()
    let total = 0
    const take = (bytes: Uint8Array) => {
      total += bytes.byteLength
      return count(bytes)
    }
    return Effect.flatMap(ByteStream.forEach(stream, take), () => ByteStream.writeEnd(stream, `${total}\n`))
  },
  source: (stream) => {
    const count = counted()
    return Effect.forever(Effect.zipRight(count(chunk), stream.write(chunk)))
  }
}
