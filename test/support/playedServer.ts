import * as MemoryTransport from "effect-wsmux/MemoryTransport"
import * as ResumableTransport from "effect-wsmux/ResumableTransport"
import * as Session from "effect-wsmux/Session"
import type * as SessionConfig from "effect-wsmux/SessionConfig"
import { type CloseInfo, Transport } from "effect-wsmux/Transport"
import { ConnectFailure } from "effect-wsmux/WsmuxError"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type * as Frame from "../../src/internal/wire/frame.js"
import { addResume, type ResumeOffer } from "../../src/internal/wire/record.js"
import * as Record from "../../src/internal/wire/resumeRecord.js"
import { decodeMessage, encodeMessage, hello, type Message } from "./records.js"
import { auto, settle } from "./sessions.js"

/** The offer that a played server makes, unless a test says otherwise. */
export const offer: ResumeOffer = {
  sessionId: new Uint8Array(Record.sessionIdSize).fill(1),
  token: new Uint8Array(Record.tokenSize).fill(2),
  graceMillis: 120_000,
  keptBytes: 1 << 20
}

/** The HELLO of an accepting end with an offer. */
export const offering = (more: Partial<ResumeOffer> = {}): Uint8Array =>
  addResume(encodeMessage(hello({ features: 15 })), { ...offer, ...more })

export interface Options {
  readonly link?: MemoryTransport.Options
  readonly client?: SessionConfig.PartialSettings
  readonly transport?: ResumableTransport.Options
}

/** One connection as the server sees it. */
export interface PlayedLink {
  readonly pair: MemoryTransport.Pair
  /** All messages of the client so far. */
  readonly received: Array<Uint8Array>
  readonly end: () => CloseInfo | undefined
  readonly send: (...messages: ReadonlyArray<Exclude<Message, Frame.Malformed> | Uint8Array>) => Effect.Effect<void>
  /** The RESUME with which the client began. */
  readonly resume: () => Record.Resume
  /** The frames and records of the session, without those of the transport. */
  readonly messages: () => ReadonlyArray<Message>
}

/** A client that can resume, and a server that the test plays message by message. */
export const makePlayedServer = (options: Options = {}) =>
  Effect.gen(function*() {
    const links: Array<PlayedLink> = []
    const network = { failure: undefined as ConnectFailure | undefined, requests: 0 }
    const dial: Effect.Effect<Transport, ConnectFailure, Scope.Scope> = Effect.gen(function*() {
      network.requests++
      if (network.failure !== undefined) return yield* network.failure
      const pair = yield* MemoryTransport.makePair(options.link)
      links.push(play(pair))
      return pair.client
    })
    const transport = yield* ResumableTransport.connect(dial, options.transport)
    const client = yield* Effect.provideService(
      Session.makeClient({ ...auto, ...options.client }),
      Transport,
      transport
    )
    const lastLink = () => links[links.length - 1]!
    return {
      transport,
      client,
      links,
      network,
      lastLink,
      /** Loses the current connection, and lets the client dial. */
      cut: Effect.zipRight(Effect.suspend(() => lastLink().pair.cut), settle)
    }
  })

/** The same after the server's HELLO. */
export const makeOffered = (options: Options = {}, more: Partial<ResumeOffer> = {}) =>
  Effect.tap(makePlayedServer(options), ({ lastLink }) => lastLink().send(offering(more)))

export const unreachable = new ConnectFailure({ url: "memory:played", reason: "Unreachable" })

const play = (pair: MemoryTransport.Pair): PlayedLink => {
  const received: Array<Uint8Array> = []
  let end: CloseInfo | undefined
  pair.server.listen({
    onMessage: (message) => received.push(message),
    onText: () => {},
    onWritable: () => {},
    onClose: (info) => {
      end = info
    }
  })
  return {
    pair,
    received,
    end: () => end,
    send: (...messages) =>
      Effect.zipRight(
        Effect.sync(() => {
          for (const message of messages) {
            pair.server.send([message instanceof Uint8Array ? message : encodeMessage(message)])
          }
        }),
        settle
      ),
    resume: () => {
      const record = Record.decode(received[0]!)
      if (record?._tag !== "Resume") throw new Error("the client did not begin with RESUME")
      return record
    },
    messages: () => received.filter((message) => Record.decode(message) === undefined).map(decodeMessage)
  }
}
