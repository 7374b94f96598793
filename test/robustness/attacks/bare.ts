import type { AddressInfo } from "node:net"
import { WebSocketServer } from "ws"
import { answering } from "../../support/answering.js"

/** A server of the package `ws` for comparison, which echoes messages that are longer than those of a flooder. */
const server = new WebSocketServer({ port: 0, host: "127.0.0.1", perMessageDeflate: false })
server.on("connection", (ws) => {
  ws.on("error", () => {})
  ws.on("message", (message: Buffer) => {
    if (message.byteLength >= 16) ws.send(message)
  })
})

answering(async () => {
  if (server.address() === null) await new Promise((resolve) => server.once("listening", resolve))
  return { port: (server.address() as AddressInfo).port }
})
