/**
 * An amount that many holders share, such as the sessions of a process.
 *
 * The first half goes to the holders in the order in which they ask. Each holder can have an equal part of the second
 * half, so one greedy holder cannot starve the others. Each holder can always have its allowance, even when greedy
 * holders have taken all. Without `force`, the holders together hold at most the total and the allowances.
 */
export class SharedBudget {
  #used = 0
  #holders = 0

  constructor(readonly total: number, readonly allowance = 0) {}

  /** The amount that all holders hold together. */
  get used(): number {
    return this.#used
  }

  get holders(): number {
    return this.#holders
  }

  /** Takes the amount without a holder, or returns false and takes nothing. Callers are served in order. */
  take(amount: number): boolean {
    if (this.#used + amount > this.total) return false
    this.#used += amount
    return true
  }

  giveBack(amount: number): void {
    this.#used -= amount
  }

  join(): Share {
    this.#holders++
    return new Share({
      allows: (held, amount) =>
        held + amount <= this.allowance ||
        this.#used + amount <= this.total / 2 ||
        (this.#used + amount <= this.total && held + amount <= this.total / 2 / this.#holders),
      book: (amount) => {
        this.#used += amount
      },
      leave: () => {
        this.#holders--
      }
    })
  }
}

interface Owner {
  readonly allows: (held: number, amount: number) => boolean
  readonly book: (amount: number) => void
  readonly leave: () => void
}

/** The part of a `SharedBudget` that one holder holds. */
export class Share {
  readonly #owner: Owner
  #held = 0
  #hasLeft = false

  constructor(owner: Owner) {
    this.#owner = owner
  }

  get held(): number {
    return this.#held
  }

  /** Takes the amount, or returns false and takes nothing. */
  take(amount: number): boolean {
    if (!this.#owner.allows(this.#held, amount)) return false
    this.force(amount)
    return true
  }

  /** Takes the amount, even beyond the total. For resources that the program itself asked for. */
  force(amount: number): void {
    this.#held += amount
    this.#owner.book(amount)
  }

  giveBack(amount: number): void {
    this.force(-amount)
  }

  /** Removes the holder. The held amount stays booked until the holder gives it back. */
  leave(): void {
    if (this.#hasLeft) return
    this.#hasLeft = true
    this.#owner.leave()
  }
}
