import type { WebSocket } from "ws"
import type { Source } from "../content.js"
import { type Client, type Peer, PingPong, type Role } from "./peer.js"
import { dial, listen } from "./sockets.js"

/** The unsent bytes at which a writer waits, and the bytes that it writes in one turn. */
export const limit = 1 << 20

/** The message that marks the end of a stream. A socket carries one stream after the other. */
export const end = "end"

const pump = (ws: WebSocket, source: Source): void => {
  const chunks = source[Symbol.iterator]()
  let waiting = false
  const resume = () => {
    if (!waiting || ws.bufferedAmount >= limit) return
    waiting = false
    setImmediate(write)
  }
  const write = () => {
    // a writer whose bytes the kernel takes at once must give way to the others
    for (let left = limit; left > 0 && ws.bufferedAmount < limit; left -= source.size) {
      const next = chunks.next()
      if (next.done) return ws.send(end)
      ws.send(next.value, resume)
    }
    waiting = true
    resume()
  }
  write()
}

const serve = (ws: WebSocket, role: Role): void => {
  if (role === "echo") {
    ws.on("message", (data: Buffer, isBinary) => ws.send(data, { binary: isBinary }))
    return
  }
  let service = role()
  ws.on("message", (data: Buffer, isBinary) => {
    if (isBinary) return service.take(data)
    pump(ws, service.answer())
    service = role()
  })
}

/** The bare socket without streams. Workloads with several streams use several sockets, or one after the other. */
export const ws: Peer = {
  about: () => `single messages, at most ${limit >> 10} KiB unsent`,
  listen: (roles) => {
    let sockets = 0
    return listen(({ ws }) => roles === "hold" ? undefined : serve(ws, roles(sockets++)))
  },
  connect: async (url): Promise<Client> => {
    const connect = () => dial(url, ({ ws }) => ws)
    const idle = [await connect()]
    const borrow = async (use: (ws: WebSocket, done: () => void) => (data: Buffer, isBinary: boolean) => void) => {
      const socket = idle.pop() ?? await connect()
      await new Promise<void>((resolve, reject) => {
        socket.once("close", () => reject(new Error("the socket was closed")))
        socket.on("message", use(socket, resolve))
      })
      socket.removeAllListeners("close").removeAllListeners("message")
      idle.push(socket)
    }
    return {
      multiplexes: false,
      exchange: (request, take) =>
        borrow((ws, done) => {
          pump(ws, request)
          return (data, isBinary) => isBinary ? take(data) : done()
        }),
      pingPong: (message, onRoundTrip) =>
        borrow((ws, done) => {
          const game = new PingPong(message, onRoundTrip)
          ws.send(message)
          return (data) => game.take(data) === "again" ? ws.send(message) : done()
        }),
      hold: () => Promise.reject(new Error("a bare socket has no streams"))
    }
  }
}
