import * as http2 from "node:http2"
import { Carrier } from "./carrier.js"
import { exchange, pingPong, serve } from "./duplex.js"
import type { Peer } from "./peer.js"
import { dial, listen } from "./sockets.js"

const most = 2 ** 31 - 1

/** The windows of a stream and of the connection. */
const windows = { stream: 1 << 20, connection: 16 << 20 }

const options = {
  settings: { initialWindowSize: windows.stream, maxConcurrentStreams: most, enablePush: false },
  peerMaxConcurrentStreams: most,
  maxSessionMemory: 1000
}

/** The window of the connection can grow after the exchange of settings. */
const raise = (session: http2.Http2Session): void => {
  session.once("remoteSettings", () => session.setLocalWindowSize(windows.connection))
}

const make = (how: string, cork: boolean): Peer => ({
  about: () => `node:http2, windows ${windows.stream >> 20} MiB a stream, ${windows.connection >> 20} MiB all; ${how}`,
  listen: (roles) =>
    listen((link) => {
      let streams = 0
      const session = http2.performServerHandshake(new Carrier(link, { cork, eager: false }), options)
      raise(session)
      session.on("stream", (stream) => {
        stream.respond({ ":status": 200 })
        if (roles !== "hold") serve(stream, roles(streams++))
      })
    }),
  connect: async (url) => {
    const carrier = await dial(url, (link) => new Carrier(link, { cork, eager: false }))
    const session = http2.connect("http://localhost", { ...options, createConnection: () => carrier })
    raise(session)
    await new Promise<void>((resolve, reject) => {
      session.once("error", reject)
      session.once("remoteSettings", () => resolve())
    })
    const open = () => session.request({ ":method": "POST" }, { endStream: false })
    return {
      multiplexes: true,
      exchange: (request, take) => exchange(open(), request, take),
      pingPong: (message, onRoundTrip) => pingPong(open(), message, onRoundTrip),
      hold: () =>
        new Promise((resolve, reject) => {
          open().once("response", () => resolve()).once("error", reject)
        })
    }
  }
})

export const plain = make("each write a message", false)
export const coalesced = make("each write a message, those of a turn in one system call", true)
