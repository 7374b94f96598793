import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type { Session } from "../Session.js"
import type { Principal } from "./gate.js"

/** The sessions that peers have with a node, for the log and the status page. */
export class Sessions {
  readonly #sessions = new Map<Session, Principal>()

  /** Keeps a session until its scope closes. */
  add(session: Session, principal: Principal): Effect.Effect<void, never, Scope.Scope> {
    return Effect.asVoid(Effect.acquireRelease(
      Effect.sync(() => this.#sessions.set(session, principal)),
      () => Effect.sync(() => this.#sessions.delete(session))
    ))
  }

  /** Describes the sessions that are open: the kind and name of each, and the number of its streams. */
  busy(): ReadonlyArray<string> {
    return [...this.#sessions].map(([session, principal]) => {
      const { closed, streams } = Effect.runSync(session.snapshot)
      const name = principal.kind === "node" ? principal.id : principal.name
      return `${principal.kind} ${name}: ${closed ? "closing" : `${streams.length} streams`}`
    })
  }
}
