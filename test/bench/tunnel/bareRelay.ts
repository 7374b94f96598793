/**
 * The smallest relay of its kind: carries TCP connections over one WebSocket, each message with five bytes for the id
 * and the kind. Both ends pause what they read from while the other side takes nothing. There are no windows, so a
 * connection that is not read stops all.
 *
 * With WINDOW, a connection is read while fewer bytes than that are unconfirmed: the other end confirms what its socket
 * took. So this program shows what low latency beside bulk data costs in throughput.
 *
 * `bareRelay.js serve PORT TARGET [WINDOW]` and `bareRelay.js connect PORT SERVER [WINDOW]`
 */
import { connect, createServer, type Socket } from "node:net"
import { WebSocket, WebSocketServer } from "ws"

const kinds = { open: 0, data: 1, end: 2, taken: 3 } as const

/** The unsent bytes of the WebSocket at which the connections pause. */
const full = 1 << 20

const [, , side, port, other, size] = process.argv

/** The most unconfirmed bytes of a connection; infinite without confirmations. */
const window = Number(size ?? Infinity)

const relay = (ws: WebSocket, reach: () => Socket) => {
  const sockets = new Map<number, Socket>()
  const unconfirmed = new Map<number, number>()
  let nextId = 0
  let paused = false
  const blocked = new Set<Socket>()

  const send = (id: number, kind: number, chunk?: Buffer) => {
    const frame = Buffer.allocUnsafe(5 + (chunk?.length ?? 0))
    frame.writeUInt32BE(id)
    frame[4] = kind
    chunk?.copy(frame, 5)
    ws.send(frame, sent)
    if (!paused && ws.bufferedAmount > full) {
      paused = true
      for (const socket of sockets.values()) socket.pause()
    }
  }
  const sent = () => {
    if (!paused || ws.bufferedAmount > full / 2) return
    paused = false
    for (const [id, socket] of sockets) if (isOpen(id)) socket.resume()
  }
  const isOpen = (id: number) => (unconfirmed.get(id) ?? 0) < window

  const sendData = (id: number, socket: Socket, chunk: Buffer) => {
    send(id, kinds.data, chunk)
    if (window === Infinity) return
    unconfirmed.set(id, (unconfirmed.get(id) ?? 0) + chunk.length)
    if (!isOpen(id)) socket.pause()
  }
  const confirm = (id: number, bytes: number) => {
    const confirmation = Buffer.alloc(4)
    confirmation.writeUInt32BE(bytes)
    send(id, kinds.taken, confirmation)
  }
  const taken = (id: number, bytes: number) => window === Infinity ? undefined : () => confirm(id, bytes)
  const confirmed = (id: number, bytes: number) => {
    if (!sockets.has(id)) return
    unconfirmed.set(id, unconfirmed.get(id)! - bytes)
    if (!paused && isOpen(id)) sockets.get(id)!.resume()
  }

  const join = (id: number, socket: Socket) => {
    sockets.set(id, socket)
    socket.setNoDelay(true)
    socket.on("data", (chunk) => sendData(id, socket, chunk))
    socket.on("end", () => send(id, kinds.end))
    socket.on("drain", () => release(socket))
    socket.on("error", () => {})
    socket.on("close", () => {
      if (!socket.readableEnded) send(id, kinds.end)
      sockets.delete(id)
      unconfirmed.delete(id)
      release(socket)
    })
    if (paused) socket.pause()
  }
  const release = (socket: Socket) => {
    if (blocked.delete(socket) && blocked.size === 0) ws.resume()
  }

  ws.on("message", (frame: Buffer) => {
    const id = frame.readUInt32BE()
    const socket = sockets.get(id)
    if (frame[4] === kinds.open) join(id, reach())
    else if (frame[4] === kinds.end) socket?.end()
    else if (frame[4] === kinds.taken) confirmed(id, frame.readUInt32BE(5))
    else if (socket !== undefined && !socket.write(frame.subarray(5), taken(id, frame.length - 5))) {
      blocked.add(socket)
      ws.pause()
    }
  })
  ws.on("close", () => process.exit())
  ws.on("error", () => process.exit())
  return (socket: Socket) => {
    const id = nextId++
    send(id, kinds.open)
    join(id, socket)
  }
}

process.on("SIGTERM", () => process.exit())
if (side === "serve") {
  const server = new WebSocketServer({ host: "127.0.0.1", port: Number(port) })
  server.on("connection", (ws) => {
    relay(ws, () => connect({ host: "127.0.0.1", port: Number(other), allowHalfOpen: true }))
  })
} else {
  const ws = new WebSocket(`ws://127.0.0.1:${other}`, { perMessageDeflate: false })
  ws.on("open", () => {
    const accept = relay(ws, () => {
      throw new Error("the server opens no connections")
    })
    createServer({ allowHalfOpen: true }, accept).listen(Number(port), "127.0.0.1")
  })
}
