import * as MemoryTransport from "effect-wsmux/MemoryTransport"
import * as Session from "effect-wsmux/Session"
import type * as SessionConfig from "effect-wsmux/SessionConfig"
import { type CloseInfo, Transport } from "effect-wsmux/Transport"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Queue from "effect/Queue"
import * as Frame from "../../src/internal/wire/frame.js"
import type * as Record from "../../src/internal/wire/record.js"
import { decodeMessage, encodeMessage, hello, isHello, type Message } from "./records.js"
import { auto, settle } from "./sessions.js"
import { patience, within } from "./within.js"

/**
 * A session, and a peer that the test plays frame by frame, so that the peer can break every rule. The peer speaks the
 * wire of Go and ignores the session's HELLO.
 *
 * - `send` hands messages to the session, frames or raw bytes, and lets the session settle
 * - `next` waits for the session's next frame; `frames` are the frames that have come and were not taken
 * - `ended` completes with the end of the connection, as the peer sees the end
 */
export const makePeer = (
  role: "client" | "server",
  options?: SessionConfig.PartialSettings,
  link?: MemoryTransport.Options
) => make(role, Frame.decode, options, link)

/** The same with a peer that speaks the dialect, and has sent its HELLO. Records are decoded. */
export const makeNativePeer = (
  role: "client" | "server",
  options?: SessionConfig.PartialSettings,
  more?: Partial<Record.Hello>,
  link?: MemoryTransport.Options
) => Effect.tap(make<Message>(role, decodeMessage, options, link), (peer) => peer.send(hello(more)))

const make = <M extends Message>(
  role: "client" | "server",
  decode: (message: Uint8Array) => M,
  options?: SessionConfig.PartialSettings,
  link?: MemoryTransport.Options
) =>
  Effect.gen(function*() {
    const pair = yield* MemoryTransport.makePair(link)
    const [near, far] = role === "client" ? [pair.client, pair.server] : [pair.server, pair.client]
    const inbox = yield* Queue.unbounded<M>()
    const ended = yield* Deferred.make<CloseInfo>()
    let text = 0
    far.listen({
      onMessage: (bytes) => {
        if (!isHello(bytes)) inbox.unsafeOffer(decode(bytes))
      },
      onText: () => text++,
      onWritable: () => {},
      onClose: (end) => Deferred.unsafeDone(ended, Effect.succeed(end))
    })
    const makeSession = role === "client" ? Session.makeClient : Session.makeServer
    const session = yield* Effect.provideService(makeSession({ ...auto, ...options }), Transport, near)
    return {
      session,
      pair,
      transport: far,
      send: (...messages: ReadonlyArray<Exclude<Message, Frame.Malformed> | Uint8Array>) =>
        Effect.zipRight(
          Effect.sync(() => {
            for (const message of messages) {
              far.send([message instanceof Uint8Array ? message : encodeMessage(message)])
            }
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
