import { maxUint32 } from "./frame.js"

/** The credit that the peer has granted on one stream, in bytes. Always between 0 and 2^32-1. */
export class SendWindow {
  #credit: number

  constructor(credit: number) {
    this.#credit = credit
  }

  get credit(): number {
    return this.#credit
  }

  /** Adds credit. Returns false when the sum passed 2^32-1 and was clamped, which is a fault of the peer. */
  grant(bytes: number): boolean {
    const sum = this.#credit + bytes
    this.#credit = Math.min(sum, maxUint32)
    return sum <= maxUint32
  }

  /** Takes up to `wanted` bytes of credit, and returns the number of bytes taken. */
  take(wanted: number): number {
    const taken = Math.min(wanted, this.#credit)
    this.#credit -= taken
    return taken
  }
}
