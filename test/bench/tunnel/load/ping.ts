import { connect } from "node:net"
import { content, header, kinds } from "./content.js"

/** Connects to a port and, unless a connection is enough, awaits an echo of the target. */
export const ping = (port: number, throughTunnel = true): Promise<void> =>
  new Promise((resolve, reject) => {
    const socket = connect(port, "127.0.0.1")
    const fail = (error: Error) => {
      socket.destroy()
      reject(error)
    }
    const timer = setTimeout(() => fail(new Error("no echo after 2 s")), 2000)
    socket.on("connect", () => {
      if (!throughTunnel) return socket.end(resolve)
      // an echo of 1 byte, which is the first of the content
      socket.write(Buffer.concat([header(kinds.echo, 0), content(0, 1)]))
    })
    socket.on("data", () => socket.end(resolve))
    socket.on("error", fail)
    socket.on("close", () => {
      clearTimeout(timer)
      fail(new Error("the connection ended without an echo"))
    })
  })
