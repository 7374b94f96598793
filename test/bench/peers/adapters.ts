import * as MuxSocket from "effect-wsmux/MuxSocket"
import type { MuxStream } from "effect-wsmux/MuxStream"
import * as NodeDuplex from "effect-wsmux/NodeDuplex"
import * as WebStreams from "effect-wsmux/WebStreams"
import * as Effect from "effect/Effect"
import { once } from "node:events"
import type { Source } from "../content.js"
import { make, streams } from "./ours.js"
import type { Peer } from "./peer.js"

/** Writes the request and the end, and reads the answer to its end, through an adapter at this end. */
type Exchange = (
  stream: MuxStream,
  request: Source,
  take: (chunk: Uint8Array) => void
) => Effect.Effect<unknown, unknown>

const overDuplex: Exchange = (stream, request, take) =>
  Effect.scoped(Effect.flatMap(NodeDuplex.fromMuxStream(stream), (duplex) =>
    Effect.promise(async () => {
      for (const chunk of request) {
        if (!duplex.write(chunk)) await once(duplex, "drain")
      }
      duplex.end()
      duplex.on("data", take)
      await once(duplex, "end")
    })))

const overWebStreams: Exchange = (stream, request, take) =>
  Effect.scoped(
    Effect.flatMap(WebStreams.fromMuxStream(stream), ({ readable, writable }) =>
      Effect.promise(async () => {
        const writer = writable.getWriter()
        for (const chunk of request) await writer.write(chunk)
        await writer.close()
        const reader = readable.getReader()
        for (;;) {
          const { done, value } = await reader.read()
          if (done) return
          take(value)
        }
      }))
  )

const overSocket: Exchange = (stream, request, take) =>
  Effect.flatMap(MuxSocket.fromMuxStream(stream), (socket) => {
    const writing = Effect.flatMap(socket.writer, (write) =>
      Effect.gen(function*() {
        for (const chunk of request) yield* write(chunk)
      }))
    return Effect.all([socket.run<void, never, never>(take), Effect.scoped(writing)], { concurrency: 2 })
  })

const through = (exchange: Exchange): Peer => make({ ...streams, exchange })

export const duplex = through(overDuplex)
export const webStreams = through(overWebStreams)
export const socket = through(overSocket)
