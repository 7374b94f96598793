/** Random numbers that depend on the seed alone. */
export class Random {
  #state: number

  constructor(seed: number) {
    // neighbouring seeds must give different programs
    this.#state = Math.imul(seed + 1, 0x9e37_79b1)
    for (let i = 0; i < 4; i++) this.uint32()
  }

  uint32(): number {
    this.#state = (this.#state + 0x6d2b_79f5) | 0
    let x = Math.imul(this.#state ^ (this.#state >>> 15), 1 | this.#state)
    x = (x + Math.imul(x ^ (x >>> 7), 61 | x)) ^ x
    return (x ^ (x >>> 14)) >>> 0
  }

  /** From `min` to `max`, both included. */
  int(min: number, max: number): number {
    return min + this.uint32() % (max - min + 1)
  }

  chance(share: number): boolean {
    return this.uint32() < share * 0x1_0000_0000
  }

  pick<A>(from: ReadonlyArray<A>): A {
    return from[this.uint32() % from.length]!
  }

  /** Picks a name with the probability of its weight. */
  weighted<Name extends string>(weights: Readonly<Record<Name, number>>): Name {
    const names = Object.keys(weights) as Array<Name>
    let at = this.int(0, names.reduce((sum, name) => sum + weights[name], 0) - 1)
    return names.find((name) => (at -= weights[name]) < 0)!
  }

  /** Makes an independent generator, whose numbers do not change those of this one. */
  fork(): Random {
    return new Random(this.uint32())
  }
}
