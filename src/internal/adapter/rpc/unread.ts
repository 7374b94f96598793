/** Bounds the bytes of all requests that are incomplete. */
export class UnreadBudget {
  #used = 0

  constructor(readonly max: number) {}

  get used(): number {
    return this.#used
  }

  /** Returns the share of one stream. */
  share(): UnreadShare {
    return new UnreadShare((change) => {
      if (change > 0 && this.#used + change > this.max) return false
      this.#used += change
      return true
    })
  }
}

/** The bytes that one stream has received of its request. */
export class UnreadShare {
  #received = 0
  #charged = 0

  constructor(readonly charge: (change: number) => boolean) {}

  /** Returns false when the budget is spent. The first bytes are free, so that small requests always pass. */
  receive(bytes: number): boolean {
    const change = Math.max(this.#received + bytes - allowance, 0) - this.#charged
    if (!this.charge(change)) return false
    this.#received += bytes
    this.#charged += change
    return true
  }

  /** Gives the share back, because the request is complete or over. */
  release(): void {
    this.charge(-this.#charged)
    this.#received = 0
    this.#charged = 0
  }
}

/** With 6,000 streams, the most of a process, small requests then take less than 100 MiB. */
const allowance = 16 * 1024
