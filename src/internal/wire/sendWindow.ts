import { maxUint32 } from "./frame.js"

/** What the peer lets us send on one stream: bytes of credit, never below 0, never above 2^32-1. */
export class SendWindow {
  #credit: number

  constructor(credit: number) {
    this.#credit = credit
  }

  get credit(): number {
    return this.#credit
  }

  /** Adds credit. False when the sum passed 2^32-1, which no honest peer reaches, and was clamped to it. */
  grant(bytes: number): boolean {
    const sum = this.#credit + bytes
    this.#credit = Math.min(sum, maxUint32)
    return sum <= maxUint32
  }

  /** Takes up to `wanted` bytes of credit and answers how many it took. */
  take(wanted: number): number {
    const taken = Math.min(wanted, this.#credit)
    this.#credit -= taken
    return taken
  }
}
