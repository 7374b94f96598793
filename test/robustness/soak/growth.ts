import type { Memory } from "../../support/answering.js"
import { median, megabytes } from "./judge.js"

/** The growth that counts as level: the engine compiles code, and so many requests do not hold the same bytes. */
const levelOf = (requests: number): number => 5e6 + requests * 10e3

/** The values that are compared at the end, and before it. */
const few = 3

/** The memory of processes at several times, which must be level in the end. */
export class Growth {
  readonly #series = new Map<string, Array<number>>()
  readonly #level: number

  /** @param requests the requests that run at a time */
  constructor(requests: number) {
    this.#level = levelOf(requests)
  }

  add(who: string, { arrayBuffers, heap }: Pick<Memory, "arrayBuffers" | "heap">): void {
    const values = this.#series.get(who) ?? []
    this.#series.set(who, values)
    values.push(heap + arrayBuffers)
  }

  /** Compares the median of the last three values with that of the three before, where there are so many. */
  judge(): { readonly lines: ReadonlyArray<string>; readonly faults: ReadonlyArray<string> } {
    const faults: Array<string> = []
    const lines = Array.from(this.#series, ([who, values]) => {
      const text = `memory of ${who}: ${values.map(megabytes).join(", ")} MB`
      if (values.length < 2 * few) return `${text}, too few to compare`
      const [before, after] = [median(values.slice(-2 * few, -few)), median(values.slice(-few))]
      if (after - before > this.#level) {
        faults.push(`the memory of ${who} grows: ${megabytes(before)} to ${megabytes(after)} MB`)
      }
      return `${text}, from ${megabytes(before)} to ${megabytes(after)} MB`
    })
    return { lines, faults }
  }
}
