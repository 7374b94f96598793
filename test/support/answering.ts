import { createInterface } from "node:readline"
import { setImmediate } from "node:timers/promises"

/** The other side of a `Child`: answers each line of JSON in turn, and ends with its input. */
export const answering = (answer: (question: never) => Promise<unknown>): void => {
  let last: Promise<unknown> = Promise.resolve()
  createInterface(process.stdin)
    .on("line", (line) => {
      last = last.then(async () => process.stdout.write(`${JSON.stringify(await answer(JSON.parse(line) as never))}\n`))
    })
    .on("close", () => process.exit())
}

export interface Memory {
  /** Bytes in use after all garbage has been collected: of the heap, and of buffers beside it. */
  readonly heap: number
  readonly external: number
  readonly arrayBuffers: number
  /** Bytes of the process that are in RAM. */
  readonly rss: number
}

/** This process's memory; it was started with --expose-gc. */
export const memory = async (): Promise<Memory> => {
  for (let i = 0; i < 3; i++) {
    globalThis.gc!()
    await setImmediate() // what waits for finalisation, such as buffers of sockets
  }
  const { arrayBuffers, external, heapUsed, rss } = process.memoryUsage()
  return { heap: heapUsed, external, arrayBuffers, rss }
}
