import { type AddressInfo, connect, createServer, type Socket } from "node:net"
import { setTimeout as setTimeoutOf } from "node:timers/promises"

/** A proxy between clients and server that ends, resets and stalls connections. */
export interface Proxy {
  readonly port: number
  /** Causes the next fault, and answers with its kind. */
  readonly harm: (choose: () => number) => Fault | undefined
  /** Ends each connection at once by an end or a reset, or stalls it for a while before. Answers how many. */
  readonly cut: (choose: () => number) => Promise<number>
  readonly close: () => void
}

export type Fault = "cut" | "reset" | "stall"

/** How long a connection stalls in milliseconds: less than the keep-alive allows. */
const stall = 1500

export const makeProxy = async (target: number): Promise<Proxy> => {
  const pairs = new Map<Socket, Socket>()
  const stalled = new Set<Socket>()
  const server = createServer((near) => {
    const far = connect(target, "127.0.0.1")
    pairs.set(near, far)
    for (const [from, to] of [[near, far], [far, near]] as const) {
      from.setNoDelay(true)
      from.pipe(to)
      from.on("error", () => {})
      from.on("close", () => {
        to.destroy()
        pairs.delete(near)
      })
    }
  })
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))

  return {
    port: (server.address() as AddressInfo).port,
    harm: (choose) => {
      const all = [...pairs]
      const pair = all[Math.floor(choose() * all.length)]
      if (pair === undefined) return undefined
      const chance = choose()
      const victim = pair[choose() < 0.5 ? 0 : 1]
      if (chance < 0.3) {
        pair[0].destroy()
        pair[1].destroy()
        return "cut"
      }
      if (chance < 0.5) {
        victim.resetAndDestroy()
        return "reset"
      }
      const other = victim === pair[0] ? pair[1] : pair[0]
      if (stalled.has(victim)) return undefined
      stalled.add(victim)
      victim.unpipe(other)
      victim.pause()
      setTimeout(() => {
        stalled.delete(victim)
        victim.pipe(other)
      }, stall)
      return "stall"
    },
    cut: async (choose) => {
      const all = [...pairs]
      if (choose() < 0.2) {
        for (const [near, far] of all) near.unpipe(far).pause()
        await setTimeoutOf(choose() * 1000)
      }
      for (const pair of all) {
        const how = choose()
        // the other end notices when the proxy passes the end on
        if (how < 0.4) pair[0].destroy()
        else if (how < 0.6) pair[1].destroy()
        else pair[how < 0.8 ? 0 : 1].resetAndDestroy()
      }
      return all.length
    },
    close: () => {
      server.close()
      for (const pair of pairs) for (const socket of pair) socket.destroy()
    }
  }
}
