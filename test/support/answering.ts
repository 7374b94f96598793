import { createInterface } from "node:readline"
import { setImmediate } from "node:timers/promises"

/** The program of a `Child`: answers each line of JSON in turn, and exits at the end of its input. */
export const answering = (answer: (question: never) => Promise<unknown>): void => {
  let last: Promise<unknown> = Promise.resolve()
  createInterface(process.stdin)
    .on("line", (line) => {
      last = last.then(async () => process.stdout.write(`${JSON.stringify(await answer(JSON.parse(line) as never))}\n`))
    })
    .on("close", () => process.exit())
}

export interface Memory {
  /** Bytes in use after a collection of garbage: on the heap, and in buffers beside the heap. */
  readonly heap: number
  readonly external: number
  readonly arrayBuffers: number
  /** Bytes of the process that are in RAM. */
  readonly rss: number
}

/** The memory of this process, which must run with --expose-gc. */
export const memory = async (): Promise<Memory> => {
  for (let i = 0; i < 3; i++) {
    globalThis.gc!()
    await setImmediate() // what waits for finalisation, such as buffers of sockets
  }
  const { arrayBuffers, external, heapUsed, rss } = process.memoryUsage()
  return { heap: heapUsed, external, arrayBuffers, rss }
}
