import { type AddressInfo, createServer, type Socket } from "node:net"
import { setTimeout } from "node:timers/promises"
import { block, Cursor, headerSize, kinds } from "./content.js"

/** The bytes of one connection at the target. */
interface Counts {
  received: number
  sent: number
}

/** Listens, and returns how to tell the totals since the last time, once all connections are over. */
export const serve = async (tell: (event: object) => void) => {
  let open = 0
  const nothing = () => ({ connections: 0, received: 0, sent: 0, faults: [] as Array<string> })
  let totals = nothing()
  const server = createServer({ allowHalfOpen: true, noDelay: true }, (socket) => {
    const counts: Counts = { received: 0, sent: 0 }
    open++
    converse(socket, counts)
    let fault: string | undefined
    socket.on("error", ({ message }) => {
      fault = `the target: ${message}`
    })
    socket.on("close", () => {
      open--
      if (counts.received === 0 && fault === undefined) return // a connection that is dialled in advance
      totals.connections++
      totals.received += counts.received
      totals.sent += counts.sent
      if (fault !== undefined && totals.faults.length < 3) totals.faults.push(fault)
    })
  })
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
  tell({ event: "listening", port: (server.address() as AddressInfo).port })
  return async (patience: number) => {
    for (const begin = performance.now(); open > 0 && performance.now() - begin < patience;) await setTimeout(5)
    tell({ event: "totals", open, ...totals })
    totals = nothing()
  }
}

/** What a kind of connection does with the bytes behind the header, and with the end. */
interface Role {
  readonly take: (chunk: Buffer) => void
  readonly end: () => void
}

const converse = (socket: Socket, counts: Counts): void => {
  let head = Buffer.alloc(0)
  let role: Role | undefined
  socket.on("data", (chunk) => {
    counts.received += chunk.length
    try {
      if (role !== undefined) return role.take(chunk)
      head = Buffer.concat([head, chunk])
      if (head.length < headerSize) return
      role = roleOf(head[0]!, Number(head.readBigUInt64LE(8)), socket, counts)
      if (head.length > headerSize) role.take(head.subarray(headerSize))
    } catch (error) {
      socket.destroy(error as Error)
    }
  })
  socket.on("end", () => role === undefined ? socket.end() : role.end())
}

const roleOf = (kind: number, start: number, socket: Socket, counts: Counts): Role => {
  const write = (chunk: Buffer) => {
    counts.sent += chunk.length
    return socket.write(chunk)
  }
  switch (kind) {
    case kinds.up:
      return sink(start, (answer) => {
        write(answer)
        socket.end()
      })
    case kinds.down:
      return source(start, socket, write)
    case kinds.echo:
      return echo(start, socket, write)
    default:
      throw new Error(`unknown kind ${kind}`)
  }
}

const sink = (start: number, answer: (count: Buffer) => void): Role => {
  const cursor = new Cursor(start)
  return {
    take: (chunk) => cursor.check(chunk),
    end: () => {
      const count = Buffer.alloc(8)
      count.writeBigUInt64LE(BigInt(cursor.count))
      answer(count)
    }
  }
}

const source = (start: number, socket: Socket, write: (chunk: Buffer) => boolean): Role => {
  const cursor = new Cursor(start)
  const more = Buffer.from([1])
  let stopped = false
  const run = () => {
    while (!stopped) {
      socket.cork()
      write(more)
      const ready = write(cursor.next(block).subarray(1))
      socket.uncork()
      if (!ready) return
    }
  }
  socket.on("drain", run)
  run()
  const stop = () => {
    if (stopped) return
    stopped = true
    const last = Buffer.from(cursor.next(block))
    last[0] = 0
    last.writeBigUInt64LE(BigInt(cursor.count), 1)
    write(last)
    socket.end()
  }
  return { take: stop, end: stop }
}

const echo = (start: number, socket: Socket, write: (chunk: Buffer) => boolean): Role => {
  const cursor = new Cursor(start)
  return {
    take: (chunk) => {
      cursor.check(chunk)
      write(chunk)
    },
    end: () => socket.end()
  }
}
