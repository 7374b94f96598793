/** A suspended session that can be given up. */
export interface Suspended {
  readonly giveUp: (reason: "Limit", detail: string) => void
}

/**
 * Suspended sessions in the order in which they are given up: first those that were lost before their client said that
 * it can resume, since it may be a plain one, then the others. Among each, the longest suspended come first.
 */
export class SuspendedSessions<S extends Suspended> {
  readonly #unheard = new Set<S>()
  readonly #heard = new Set<S>()

  get size(): number {
    return this.#unheard.size + this.#heard.size
  }

  add(session: S, isPeerHeard: boolean): void {
    const sessions = isPeerHeard ? this.#heard : this.#unheard
    sessions.add(session)
  }

  /** Returns whether the session was suspended. */
  delete(session: S): boolean {
    return this.#unheard.delete(session) || this.#heard.delete(session)
  }

  *[Symbol.iterator](): Generator<S> {
    yield* this.#unheard
    yield* this.#heard
  }
}
