import { setTimeout } from "node:timers/promises"

export interface Memory {
  /** Bytes of the process that are in RAM. */
  readonly resident: number
  /** Bytes in use: of the heap, and of buffers beside the heap. */
  readonly heap: number
}

/** The memory of this process after a collection of garbage. */
export const memory = async (): Promise<Memory> => {
  for (let i = 0; i < 5; i++) {
    globalThis.gc!()
    await setTimeout(50)
  }
  const { external, heapUsed, rss } = process.memoryUsage()
  return { resident: rss, heap: heapUsed + external }
}
