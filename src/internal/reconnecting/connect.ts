import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as Session from "../../Session.js"
import * as SessionConfig from "../../SessionConfig.js"
import { Transport } from "../../Transport.js"
import type { TerminalError } from "../../WsmuxError.js"

/** The inputs of one attempt. */
export interface Attempt<E1, R1, E2, R2> {
  readonly transport: Effect.Effect<Transport, E1, R1>
  readonly onConnect: ((session: Session.Session) => Effect.Effect<unknown, E2, R2>) | undefined
  readonly role: Session.Session["role"]
  readonly settings: SessionConfig.Settings
}

/** Makes one attempt: dials, makes the session, and runs `onConnect`. The scope owns the session. */
export const connect = <E1, R1, E2, R2>(
  { onConnect, role, settings, transport }: Attempt<E1, R1, E2, R2>
): Effect.Effect<Session.Session, E1 | E2 | TerminalError, R1 | R2 | Scope.Scope> =>
  Effect.gen(function*() {
    const established = yield* Effect.provideService(transport, SessionConfig.SessionConfig, settings)
    const making = role === "server" ? Session.makeServer(settings) : Session.makeClient(settings)
    // A transport whose limit is too small stays so: that is a defect, which ends the attempts.
    const session = yield* Effect.orDie(Effect.provideService(making, Transport, established))
    if (onConnect !== undefined) yield* Effect.raceFirst(onConnect(session), failureOf(session))
    return session
  })

/** Fails with the error that ends the session. */
const failureOf = (session: Session.Session): Effect.Effect<never, TerminalError> =>
  Effect.flatMap(session.awaitClosed, Effect.fail)
