import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as ByteStream from "../../ByteStream.js"
import * as Session from "../../Session.js"
import type { TerminalError } from "../../WsmuxError.js"
import { ForwardFailure, lacksDialect, orForwardFailure } from "./failure.js"
import { features, Label } from "./labels.js"

/** The time in which the server must tell what it can do. A peer without the dialect tells nothing. */
const patience = Duration.seconds(10)

/** The longest answer. A later version of the server may add features. */
const maxBytes = 1024

/** Asks the server for its features. Fails when the server lacks one that forwards need. */
export const check = (
  session: Session.Session,
  forward: string
): Effect.Effect<void, ForwardFailure | TerminalError> => {
  const fail = (reason: string) => new ForwardFailure({ forward, reason })
  return Session.withStream(session, (stream) => ByteStream.readText(stream, { maxBytes }), { label: Label.about })
    .pipe(
      Effect.timeoutFail({ duration: patience, onTimeout: () => fail(lacksDialect) }),
      Effect.flatMap((answer) => {
        const has = new Set(answer.trim().split(" "))
        const lacking = features.split(" ").filter((feature) => !has.has(feature))
        return lacking.length === 0 ? Effect.void : Effect.fail(fail(`the server lacks ${lacking.join(", ")}`))
      }),
      orForwardFailure(forward)
    )
}
