import { type AddressInfo, connect, createServer, type Socket } from "node:net"

/** The most bytes on their way in one direction: more than any measured window. */
const capacity = 128 << 20

/**
 * Passes the bytes of one socket on to the other after the delay and in order, and stops reading at its capacity.
 */
const forward = (from: Socket, to: Socket, delay: number): void => {
  const queue: Array<{ readonly chunk: Buffer | undefined; readonly due: number }> = []
  let held = 0
  let blocked = false
  let timer: NodeJS.Timeout | undefined

  const flush = () => {
    timer = undefined
    const now = performance.now()
    let ready = 0
    to.cork()
    while (!blocked && ready < queue.length && queue[ready]!.due <= now) {
      const { chunk } = queue[ready++]!
      if (chunk === undefined) to.end()
      else {
        held -= chunk.length
        blocked = !to.write(chunk)
      }
    }
    to.uncork()
    queue.splice(0, ready)
    if (held < capacity) from.resume()
    schedule()
  }
  const schedule = () => {
    if (timer !== undefined || blocked || queue.length === 0) return
    timer = setTimeout(flush, Math.max(1, queue[0]!.due - performance.now()))
  }
  const enqueue = (chunk: Buffer | undefined) => {
    queue.push({ chunk, due: performance.now() + delay })
    schedule()
  }
  from.on("data", (chunk: Buffer) => {
    held += chunk.length
    if (held >= capacity) from.pause()
    enqueue(chunk)
  })
  from.on("end", () => enqueue(undefined))
  from.on("error", () => to.destroy())
  from.on("close", () => clearTimeout(timer))
  to.on("drain", () => {
    blocked = false
    flush()
  })
}

/** A TCP proxy on the loopback that delays each direction by this many milliseconds. */
export const delayProxy = (target: number, delay: number): Promise<{ readonly port: number; close(): void }> =>
  new Promise((resolve, reject) => {
    const sockets = new Set<Socket>()
    const server = createServer({ allowHalfOpen: true, noDelay: true }, (inbound) => {
      const outbound = connect({ port: target, host: "127.0.0.1", allowHalfOpen: true, noDelay: true })
      for (const socket of [inbound, outbound]) sockets.add(socket)
      forward(inbound, outbound, delay)
      forward(outbound, inbound, delay)
    })
    server.on("error", reject)
    server.listen(0, "127.0.0.1", () =>
      resolve({
        port: (server.address() as AddressInfo).port,
        close: () => {
          server.close()
          for (const socket of sockets) socket.destroy()
        }
      }))
  })
