import * as MemoryTransport from "effect-wsmux/MemoryTransport"
import * as Session from "effect-wsmux/Session"
import type * as SessionConfig from "effect-wsmux/SessionConfig"
import { type CloseInfo, Transport } from "effect-wsmux/Transport"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Queue from "effect/Queue"
import * as Frame from "../../src/internal/wire/frame.js"
import { settle } from "./sessions.js"

/**
 * One of our sessions, and its peer played frame by frame: so that it can behave as badly as any peer can.
 *
 * - `send` hands messages to the session, frames or raw bytes, and lets it settle
 * - `next` waits for the session's next frame; `frames` are those that came and were not taken
 * - `ended` is how the connection ended, as the peer sees it
 */
export const makePeer = (
  role: "client" | "server",
  options?: SessionConfig.Options,
  link?: MemoryTransport.Options
) =>
  Effect.gen(function*() {
    const pair = yield* MemoryTransport.makePair(link)
    const [near, far] = role === "client" ? [pair.client, pair.server] : [pair.server, pair.client]
    const inbox = yield* Queue.unbounded<Frame.Frame | Frame.Malformed>()
    const ended = yield* Deferred.make<CloseInfo>()
    let text = 0
    far.listen({
      onMessage: (message) => inbox.unsafeOffer(Frame.decode(message)),
      onText: () => text++,
      onWritable: () => {},
      onClose: (end) => Deferred.unsafeDone(ended, Effect.succeed(end))
    })
    const make = role === "client" ? Session.makeClient : Session.makeServer
    const session = yield* Effect.provideService(make(options), Transport, near)
    return {
      session,
      pair,
      transport: far,
      send: (...messages: ReadonlyArray<Frame.Frame | Uint8Array>) =>
        Effect.zipRight(
          Effect.sync(() => {
            for (const message of messages) far.send([message instanceof Uint8Array ? message : Frame.encode(message)])
          }),
          settle
        ),
      next: Queue.take(inbox),
      frames: Effect.zipRight(settle, Effect.map(Queue.takeAll(inbox), (frames) => Array.from(frames))),
      ended: Deferred.await(ended)
    }
  })

export const syn = (id: number): Frame.Frame => ({ _tag: "Syn", id })
export const fin = (id: number): Frame.Frame => ({ _tag: "Fin", id })
export const ack = (id: number, credit: number): Frame.Frame => ({ _tag: "Ack", id, credit })
export const dat = (id: number, payload: Uint8Array): Frame.Frame => ({ _tag: "Dat", id, payload })
