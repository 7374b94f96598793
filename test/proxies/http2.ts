import { createHash } from "node:crypto"
import { once } from "node:events"
import { readFileSync } from "node:fs"
import { createServer } from "node:http"
import * as Http2 from "node:http2"
import type { AddressInfo } from "node:net"
import { pipeline } from "node:stream"
import { certificate } from "./proxies.js"

/** The connection of a client to a proxy by HTTP/2. */
const connect = async (port: number): Promise<Http2.ClientHttp2Session> => {
  const session = Http2.connect(`https://127.0.0.1:${port}`, { ca: readFileSync(certificate) })
  await once(session, "remoteSettings")
  return session
}

/** Whether a proxy offers WebSockets over HTTP/2 (RFC 8441, section 3). */
export const offersWebSockets = async (port: number): Promise<boolean> => {
  const session = await connect(port)
  session.destroy()
  return session.remoteSettings.enableConnectProtocol === true
}

/** A server that passes WebSockets on to a proxy, all over one connection of HTTP/2. */
export interface Bridge {
  readonly port: number
  /** How many WebSockets the proxy has accepted. */
  readonly accepted: () => number
  readonly stop: () => void
}

/** The answer to a key (RFC 6455, section 4.2.2): HTTP/2 has neither. */
const acceptOf = (key: string): string =>
  createHash("sha1").update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest("base64")

/** Passes each WebSocket on as an extended CONNECT (RFC 8441, section 5). The frames stay as they are. */
export const startBridge = async (proxy: number): Promise<Bridge> => {
  const session = await connect(proxy)
  session.on("error", () => {}) // each stream tells of it
  let accepted = 0
  const server = createServer().on("upgrade", (request, socket, head) => {
    const { "sec-websocket-key": key = "", "sec-websocket-version": version = "" } = request.headers
    const stream = session.request({
      ":method": "CONNECT",
      ":protocol": "websocket",
      ":scheme": "https",
      ":authority": `127.0.0.1:${proxy}`,
      ":path": request.url,
      "sec-websocket-version": version
    }, { endStream: false })
    socket.on("error", () => stream.close(Http2.constants.NGHTTP2_CANCEL))
    stream.on("error", () => socket.destroy())
    stream.on("response", ({ ":status": status }) => {
      if (status !== 200) return void socket.end(`HTTP/1.1 ${status} Refused\r\nconnection: close\r\n\r\n`)
      accepted++
      const lines = ["HTTP/1.1 101 Switching Protocols", "connection: upgrade", "upgrade: websocket"]
      socket.write([...lines, `sec-websocket-accept: ${acceptOf(key)}`, "", ""].join("\r\n"))
      stream.write(head)
      pipeline(socket, stream, socket, () => {})
    })
  })
  server.listen(0, "127.0.0.1")
  await once(server, "listening")
  return {
    port: (server.address() as AddressInfo).port,
    accepted: () => accepted,
    stop: () => {
      session.destroy()
      server.close()
    }
  }
}
