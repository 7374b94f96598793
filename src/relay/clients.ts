import * as Effect from "effect/Effect"
import * as ByteStream from "../ByteStream.js"
import { ResetCode } from "../MuxStream.js"
import type { Session } from "../Session.js"
import type { Unanswered } from "./failure.js"
import type { Principal } from "./gate.js"
import type { Ways } from "./ways.js"

/** Joins each stream of a client with one to an agent of the name, which has the same label and metadata. */
export const serveClient = (
  session: Session,
  { name, user }: Extract<Principal, { readonly kind: "client" }>,
  ways: Ways,
  admit: (name: string) => Effect.Effect<void, Unanswered>
): Effect.Effect<never, unknown> =>
  session.run((stream) =>
    Effect.gen(function*() {
      const { label, metadata } = stream
      if (JSON.stringify(metadata).length > maxMetadata) {
        return yield* stream.reset({ code: ResetCode.Refused, reason: "the metadata is too long for the relay" })
      }
      const told = { ...metadata, "relay-user": user }
      const opened = yield* Effect.either(
        Effect.zipRight(admit(name), ways.open(name, { kind: "stream", label, metadata: told }))
      )
      if (opened._tag === "Left") {
        return yield* stream.reset({ code: ResetCode.Refused, reason: opened.left.message })
      }
      yield* ByteStream.join(stream, opened.right.bytes)
    })
  )

/** What two nodes add to the metadata of a stream must fit beside it. */
const maxMetadata = 3000
