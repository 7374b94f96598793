import type { Readable, Writable } from "node:stream"

interface PumpOptions {
  readonly onBytes: (count: number) => void
  /** Runs when the destination has taken nothing for `stallMillis`. */
  readonly onStall: () => void
  readonly stallMillis: number
}

/**
 * Passes on a body with back-pressure, and ends the destination behind it. Returns a function that stops. The owner
 * handles the errors of both.
 */
export const pump = (
  from: Readable,
  to: Writable,
  { onBytes, onStall, stallMillis }: PumpOptions,
  beforeEnd: () => void = () => {}
): () => void => {
  let timer: NodeJS.Timeout | undefined
  const onData = (chunk: Uint8Array) => {
    onBytes(chunk.byteLength)
    if (to.write(chunk)) return
    from.pause()
    timer = setTimeout(onStall, stallMillis)
  }
  const onDrain = () => {
    clearTimeout(timer)
    from.resume()
  }
  const onEnd = () => {
    beforeEnd()
    to.end()
  }
  const stop = () => {
    clearTimeout(timer)
    from.off("data", onData).off("end", onEnd)
    to.off("drain", onDrain).off("close", stop)
  }
  to.on("drain", onDrain).on("close", stop)
  from.on("data", onData).on("end", onEnd)
  return stop
}
