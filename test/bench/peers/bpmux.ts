import { BPMux } from "bpmux"
import { Carrier } from "./carrier.js"
import { exchange, pingPong, serve } from "./duplex.js"
import type { Peer } from "./peer.js"
import { dial, listen } from "./sockets.js"

/** In bpmux the high-water mark of a stream is its window. */
const stream = { highWaterMark: 1 << 20 }

const carrier = { cork: false, eager: true }

const options = { peer_multiplex_options: stream, keep_alive: false } as const

export const bpmux: Peer = {
  about: () => `window ${stream.highWaterMark >> 20} MiB`,
  listen: (roles) =>
    listen((link) => {
      let streams = 0
      const mux = new BPMux(new Carrier(link, carrier), options)
      mux.on("handshake", (duplex) => {
        if (roles !== "hold") serve(duplex, roles(streams++))
      })
    }),
  connect: async (url) => {
    const mux = await dial(
      url,
      (link) => new BPMux(new Carrier(link, carrier), { ...options, high_channels: true })
    )
    const open = () => mux.multiplex(stream)
    return {
      multiplexes: true,
      exchange: (request, take) => exchange(open(), request, take),
      pingPong: (message, onRoundTrip) => pingPong(open(), message, onRoundTrip),
      hold: () => new Promise((resolve, reject) => open().once("handshake", () => resolve()).once("error", reject))
    }
  }
}
