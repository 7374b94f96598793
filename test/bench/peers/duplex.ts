import type { Duplex } from "node:stream"
import type { Source } from "../content.js"
import { PingPong, type Role } from "./peer.js"

/** The loops of the workloads over streams of Node. */
const pump = (stream: Duplex, source: Source): void => {
  const chunks = source[Symbol.iterator]()
  const write = () => {
    for (;;) {
      const next = chunks.next()
      if (next.done) {
        stream.end()
        return
      }
      if (!stream.write(next.value)) {
        stream.once("drain", write)
        return
      }
    }
  }
  write()
}

export const serve = (stream: Duplex, role: Role): void => {
  if (role === "echo") {
    stream.pipe(stream)
    return
  }
  const service = role()
  stream.on("data", service.take)
  stream.once("end", () => pump(stream, service.answer()))
}

export const exchange = (
  stream: Duplex,
  request: Source,
  take: (chunk: Uint8Array) => void
): Promise<void> =>
  new Promise((resolve, reject) => {
    stream.once("error", reject)
    stream.on("data", take)
    stream.once("end", resolve)
    pump(stream, request)
  })

export const pingPong = (
  stream: Duplex,
  message: Uint8Array,
  onRoundTrip: (ms: number) => boolean
): Promise<void> =>
  new Promise((resolve, reject) => {
    const game = new PingPong(message, onRoundTrip)
    stream.once("error", reject)
    stream.on("data", (data: Buffer) => {
      const next = game.take(data)
      if (next === "again") stream.write(message)
      else if (next === "stop") stream.end(resolve)
    })
    stream.write(message)
  })
