import * as Effect from "effect/Effect"
import * as Queue from "effect/Queue"
import type * as Scope from "effect/Scope"
import type { IncomingHttpHeaders } from "node:http"
import type { AddressInfo } from "node:net"
import { WebSocket, WebSocketServer } from "ws"
import * as Frame from "../../../src/internal/wire/frame.js"
import { isHello } from "../../support/records.js"
import { makeWaits } from "./waits.js"

/** A WebSocket to one of the commands, which gives the test each frame on the wire, without the HELLO. */
export interface Wire {
  readonly send: (frame: Frame.Frame) => Effect.Effect<void>
  /** The next frame. */
  readonly next: Effect.Effect<Frame.Frame | Frame.Malformed>
  /** The headers of an accepted upgrade request. A dialled wire has no headers. */
  readonly headers: IncomingHttpHeaders
  /** The number of pings so far. */
  readonly pings: () => number
  readonly pinged: (times: number) => Effect.Effect<number>
}

export const dial = (url: string): Effect.Effect<Wire, never, Scope.Scope> =>
  Effect.gen(function*() {
    const socket = yield* Effect.acquireRelease(
      Effect.sync(() => new WebSocket(url)),
      (socket) => Effect.sync(() => socket.terminate())
    )
    const wire = yield* make(socket)
    yield* Effect.async<void>((resume) => void socket.once("open", () => resume(Effect.void)))
    return wire
  })

/** Listens on a free port. `accept` takes the WebSockets in their order. */
export const listen: Effect.Effect<
  { readonly url: string; readonly accept: Effect.Effect<Wire> },
  never,
  Scope.Scope
> = Effect.gen(function*() {
  const accepted = yield* Queue.unbounded<Wire>()
  const server = yield* Effect.acquireRelease(
    Effect.async<WebSocketServer>((resume) => {
      const server: WebSocketServer = new WebSocketServer(
        { host: "127.0.0.1", port: 0 },
        () => resume(Effect.succeed(server))
      )
    }),
    (server) =>
      Effect.sync(() => {
        for (const socket of server.clients) socket.terminate()
        server.close()
      })
  )
  server.on("connection", (socket, { headers }) => accepted.unsafeOffer(Effect.runSync(make(socket, headers))))
  return { url: `ws://127.0.0.1:${(server.address() as AddressInfo).port}`, accept: Queue.take(accepted) }
})

const make = (socket: WebSocket, headers: IncomingHttpHeaders = {}): Effect.Effect<Wire> =>
  Effect.gen(function*() {
    const frames = yield* Queue.unbounded<Frame.Frame | Frame.Malformed>()
    const { until, wake } = makeWaits()
    let pings = 0
    socket.on("message", (data: Buffer) => {
      if (!isHello(data)) frames.unsafeOffer(Frame.decode(data))
    })
    socket.on("ping", () => {
      pings++
      wake()
    })
    return {
      headers,
      send: (frame) => Effect.sync(() => socket.send(Frame.encode(frame))),
      next: Queue.take(frames),
      pings: () => pings,
      pinged: (times) => until(() => pings >= times ? Effect.succeed(pings) : undefined)
    }
  })
