import * as Effect from "effect/Effect"
import * as ByteStream from "../ByteStream.js"
import { ResetCode } from "../MuxStream.js"
import type { Session } from "../Session.js"
import { Unanswered } from "./failure.js"
import type { Principal } from "./gate.js"
import { bookingInterval, type Limits, type Rates } from "./limits.js"
import type { Ways } from "./ways.js"

/** The limits of clients: by their names and by their tokens. */
interface ClientLimits {
  readonly limits: Limits
  readonly ofName: Rates
  /** The streams that run with each token. */
  readonly streams: Map<string, number>
}

/** Joins each stream of a client with one to an agent of the name, which has the same label and metadata. */
export const serveClient = (
  session: Session,
  client: Extract<Principal, { readonly kind: "client" }>,
  ways: Ways,
  clientLimits: ClientLimits
): Effect.Effect<never, unknown> => {
  const { name, user } = client
  const { admit, book } = limiting(session, client, clientLimits)
  const isUnlimited = clientLimits.ofName.bytesPerSecond === Infinity && client.limits.bytesPerSecond === Infinity
  const booking = isUnlimited ? Effect.never : Effect.forever(Effect.delay(book, bookingInterval))
  const serving = session.run((stream) =>
    Effect.gen(function*() {
      const { label, metadata } = stream
      if (JSON.stringify(metadata).length > maxMetadata) {
        return yield* stream.reset({ code: ResetCode.Refused, reason: "the metadata is too long for the relay" })
      }
      const told = { ...metadata, "relay-user": user }
      const opened = yield* Effect.either(
        Effect.zipRight(admit, ways.open(name, { kind: "stream", label, metadata: told }))
      )
      if (opened._tag === "Left") {
        return yield* stream.reset({ code: ResetCode.Refused, reason: opened.left.message })
      }
      yield* ByteStream.join(stream, opened.right.bytes)
    })
  )
  return Effect.raceFirst(serving, booking).pipe(Effect.ensuring(book))
}

/** Admits streams of a client, and books its bytes: each session has one name and one token. */
const limiting = (
  session: Session,
  { limits: ofToken, name, token }: Extract<Principal, { readonly kind: "client" }>,
  { limits, ofName, streams }: ClientLimits
) => {
  const key = `token:${token}`
  let booked = 0
  const unbooked = Effect.map(session.snapshot, ({ counters: { bytesIn, bytesOut } }) => {
    const bytes = bytesIn + bytesOut - booked
    booked += bytes
    return bytes
  })
  const book = Effect.flatMap(
    unbooked,
    (bytes) =>
      Effect.all([limits.spend(name, ofName, bytes), limits.spend(key, ofToken, bytes)], {
        concurrency: 2,
        discard: true
      })
  )
  /** An open waits for no directory to hear of bytes: the questions of `Limits.admit` tell. */
  const bookHere = Effect.map(unbooked, (bytes) => {
    limits.book(name, ofName, bytes)
    limits.book(key, ofToken, bytes)
  })
  const count = Effect.acquireRelease(
    Effect.suspend(() => {
      const running = streams.get(key) ?? 0
      if (running >= ofToken.maxStreams) return Effect.fail(tooManyStreams)
      streams.set(key, running + 1)
      return Effect.void
    }),
    () =>
      Effect.sync(() => {
        const running = streams.get(key)! - 1
        if (running > 0) streams.set(key, running)
        else streams.delete(key)
      })
  )
  const admit = bookHere.pipe(
    Effect.zipRight(count),
    // in turn: a token that has used up its limits takes nothing from the name
    Effect.zipRight(limits.admit(key, ofToken)),
    Effect.zipRight(limits.admit(name, ofName))
  )
  return { admit, book }
}

const tooManyStreams = new Unanswered({ status: 503, message: "the token has too many streams" })

/** What two nodes add to the metadata of a stream must fit beside it. */
const maxMetadata = 3000
