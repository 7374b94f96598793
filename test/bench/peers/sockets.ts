import type { AddressInfo, Socket } from "node:net"
import { WebSocket, WebSocketServer } from "ws"

/** An established WebSocket, and the TCP socket below. */
export interface Link {
  readonly ws: WebSocket
  readonly socket: Socket
}

const options = { perMessageDeflate: false, maxPayload: 64 << 20 }

export const listen = (onLink: (link: Link) => void): Promise<number> =>
  new Promise((resolve, reject) => {
    const server = new WebSocketServer({ ...options, host: "127.0.0.1", port: 0 })
    server.on("error", reject)
    server.on("connection", (ws, request) => onLink({ ws, socket: request.socket }))
    server.on("listening", () => resolve((server.address() as AddressInfo).port))
  })

/** Connects. The caller must listen at once, since the first message may have arrived. */
export const dial = <A>(url: string, use: (link: Link) => A): Promise<A> =>
  new Promise((resolve, reject) => {
    const ws = new WebSocket(url, options)
    ws.on("error", reject)
    ws.on("upgrade", ({ socket }) => ws.on("open", () => resolve(use({ ws, socket }))))
  })
