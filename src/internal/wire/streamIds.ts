import { maxUint32 } from "./frame.js"

/** Which end of a session this is: it decides the parity of the ids that it opens. */
export type Role = "client" | "server"

/** The first id of a role; the parity of all of them. */
export const parity = (role: Role): 0 | 1 => (role === "server" ? 0 : 1)

/**
 * Hands out the ids of one role: every second uint32, from the role's parity on, around the circle. A Go peer may
 * revive a dead stream when its id returns soon, so no id is handed out twice before the circle is complete.
 */
export class StreamIds {
  readonly #parity: 0 | 1
  #next: number
  /** Ids that callers chose ahead of the counter in this lap. */
  readonly #chosen = new Set<number>()

  /** @param next where to begin; elsewhere than at the first id only in tests of the wrap */
  constructor(role: Role, next: number = parity(role)) {
    this.#parity = parity(role)
    this.#next = next
  }

  isOurs(id: number): boolean {
    return (id & 1) === this.#parity
  }

  /** The next id that is neither live nor used in this lap. `isLive` holds for far fewer than 2^31 ids. */
  take(isLive: (id: number) => boolean): number {
    for (;;) {
      const id = this.#next
      this.#advance()
      if (!this.#chosen.delete(id) && !isLive(id)) return id
    }
  }

  /** Reserves an id of the caller's choice; false when it is taken: live, or used in this lap. */
  reserve(id: number, isLive: (id: number) => boolean): boolean {
    const usedInThisLap = id < this.#next || this.#chosen.has(id)
    if (usedInThisLap || isLive(id)) return false
    this.#chosen.add(id)
    return true
  }

  /** Gives a reserved id back that was never used. */
  release(id: number): void {
    this.#chosen.delete(id)
  }

  #advance(): void {
    this.#next += 2
    if (this.#next > maxUint32) this.#next = this.#parity
  }
}
