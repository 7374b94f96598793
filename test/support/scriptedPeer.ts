import * as MemoryTransport from "effect-wsmux/MemoryTransport"
import * as Session from "effect-wsmux/Session"
import type * as SessionConfig from "effect-wsmux/SessionConfig"
import { type CloseInfo, Transport } from "effect-wsmux/Transport"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Queue from "effect/Queue"
import * as Frame from "../../src/internal/wire/frame.js"
import { settle } from "./sessions.js"
import { patience, within } from "./within.js"

/**
 * A session, and a peer that the test plays frame by frame, so that the peer can break every rule.
 *
 * - `send` hands messages to the session, frames or raw bytes, and lets the session settle
 * - `next` waits for the session's next frame; `frames` are the frames that have come and were not taken
 * - `ended` completes with the end of the connection, as the peer sees the end
 */
export const makePeer = (
  role: "client" | "server",
  options?: SessionConfig.PartialSettings,
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
      next: Queue.take(inbox).pipe(within(patience, "the next frame of the session")),
      frames: Effect.zipRight(settle, Effect.map(Queue.takeAll(inbox), (frames) => Array.from(frames))),
      ended: Deferred.await(ended).pipe(within(patience, "the end of the connection"))
    }
  })

export const syn = (id: number): Frame.Frame => ({ _tag: "Syn", id })
export const fin = (id: number): Frame.Frame => ({ _tag: "Fin", id })
export const ack = (id: number, credit: number): Frame.Frame => ({ _tag: "Ack", id, credit })
export const dat = (id: number, payload: Uint8Array): Frame.Frame => ({ _tag: "Dat", id, payload })
