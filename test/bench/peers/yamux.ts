import type { Logger, Stream } from "@libp2p/interface"
import { AbstractMessageStream } from "@libp2p/utils"
import { yamux as make } from "@libp2p/yamux"
import type { Source } from "../content.js"
import { type Peer, PingPong, type Role } from "./peer.js"
import { dial, type Link, listen } from "./sockets.js"

// It expects this of its platform, and Node 20 lacks it.
const platform = Promise as { withResolvers?: () => unknown }
platform.withResolvers ??= () => {
  const parts = {}
  const promise = new Promise((resolve, reject) => Object.assign(parts, { resolve, reject }))
  return Object.assign(parts, { promise })
}

/** The unsent bytes at which a writer waits. */
const limit = 1 << 20

const window = 1 << 20

const silent: Logger = Object.assign(() => {}, {
  error: () => {},
  trace: () => {},
  enabled: false,
  newScope: () => silent
})

/** A WebSocket as the connection of yamux. */
class Connection extends AbstractMessageStream {
  readonly #link: Link

  constructor(link: Link, direction: "inbound" | "outbound") {
    super({ log: silent, direction, maxReadBufferLength: Infinity })
    this.#link = link
    link.ws.on("message", (data: Buffer) => this.onData(data))
    link.ws.on("close", () => this.onTransportClosed())
  }

  sendData(data: Parameters<AbstractMessageStream["sendData"]>[0]) {
    const { ws } = this.#link
    const sentBytes = data.byteLength
    ws.send(data.subarray(), this.#sent)
    return { sentBytes, canSendMore: ws.bufferedAmount < limit }
  }

  readonly #sent = (): void => {
    if (this.writableNeedsDrain && this.#link.ws.bufferedAmount < limit) this.safeDispatchEvent("drain")
  }

  sendReset(): void {}
  sendPause(): void {}
  sendResume(): void {}
  close(): Promise<void> {
    this.#link.ws.close()
    return Promise.resolve()
  }
}

const muxer = (link: Link, direction: "inbound" | "outbound") =>
  make({
    maxInboundStreams: 1e6,
    maxOutboundStreams: 1e6,
    streamOptions: { initialStreamWindowSize: window, maxStreamWindowSize: window, inactivityTimeout: 1e9 }
  })().createStreamMuxer(new Connection(link, direction))

const pump = (stream: Stream, source: Source): void => {
  const chunks = source[Symbol.iterator]()
  const write = () => {
    for (;;) {
      const next = chunks.next()
      if (next.done) {
        void stream.close()
        return
      }
      if (!stream.send(next.value)) {
        stream.addEventListener("drain", write, { once: true })
        return
      }
    }
  }
  write()
}

const receive = (stream: Stream, take: (chunk: Uint8Array) => void, onEnd: () => void): void => {
  stream.addEventListener("message", ({ data }) => {
    if (data instanceof Uint8Array) take(data)
    else for (const part of data) take(part)
  })
  stream.addEventListener("end", onEnd)
}

const serve = (stream: Stream, role: Role): void => {
  if (role === "echo") {
    stream.addEventListener("message", ({ data }) => stream.send(data))
    stream.addEventListener("end", () => void stream.close())
    return
  }
  const service = role()
  receive(stream, service.take, () => pump(stream, service.answer()))
}

export const yamux: Peer = {
  about: () => `window ${window >> 20} MiB; each frame a message, no log`,
  listen: (roles) =>
    listen((link) => {
      let streams = 0
      muxer(link, "inbound").addEventListener("stream", ({ detail }) => {
        if (roles !== "hold") serve(detail, roles(streams++))
      })
    }),
  connect: async (url) => {
    const mux = await dial(url, (link) => muxer(link, "outbound"))
    return {
      multiplexes: true,
      exchange: async (request, take) => {
        const stream = await mux.createStream()
        await new Promise<void>((resolve, reject) => {
          stream.addEventListener("close", ({ error }) => error === undefined ? resolve() : reject(error))
          receive(stream, take, resolve)
          pump(stream, request)
        })
      },
      pingPong: async (message, onRoundTrip) => {
        const stream = await mux.createStream()
        const game = new PingPong(message, onRoundTrip)
        await new Promise<void>((resolve) => {
          receive(stream, (chunk) => {
            const next = game.take(chunk)
            if (next === "again") stream.send(message)
            else if (next === "stop") resolve()
          }, resolve)
          stream.send(message)
        })
        await stream.close()
      },
      hold: async () => {
        await mux.createStream()
        await mux.ping()
      }
    }
  }
}
