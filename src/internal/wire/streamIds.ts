import { reservedId } from "./record.js"

/** The role of an end of a session. Decides the parity of the ids of the streams that this end opens. */
export type Role = "client" | "server"

/** Returns the first id of a role, which is also the parity of all its ids. */
export const parity = (role: Role): 0 | 1 => (role === "server" ? 0 : 1)

/**
 * Allocates the ids of one role: every second uint32 from the role's parity on, then from the start again, without the
 * reserved id of the dialect's records. A Go peer may revive an ended stream when its id returns soon. So each id is
 * used at most once per lap.
 */
export class StreamIds {
  readonly #parity: 0 | 1
  #next: number
  /** The ids that callers reserved ahead of `#next` in this lap. */
  readonly #chosen = new Set<number>()

  /** @param next the first id to allocate. Only tests of the wrap pass it. */
  constructor(role: Role, next: number = parity(role)) {
    this.#parity = parity(role)
    this.#next = next
  }

  isOurs(id: number): boolean {
    return (id & 1) === this.#parity
  }

  /** Returns the next id that is neither live nor used in this lap. Requires far fewer than 2^31 live ids. */
  take(isLive: (id: number) => boolean): number {
    for (;;) {
      const id = this.#next
      this.#advance()
      if (!this.#chosen.delete(id) && !isLive(id)) return id
    }
  }

  /** Reserves an id of the caller's choice. Returns false when the id is live or used in this lap. */
  reserve(id: number, isLive: (id: number) => boolean): boolean {
    const usedInThisLap = id < this.#next || this.#chosen.has(id)
    if (usedInThisLap || isLive(id)) return false
    this.#chosen.add(id)
    return true
  }

  /** Releases a reserved id whose SYN was never sent. */
  release(id: number): void {
    this.#chosen.delete(id)
  }

  #advance(): void {
    this.#next += 2
    if (this.#next >= reservedId) this.#next = this.#parity
  }
}
