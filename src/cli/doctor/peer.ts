import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Queue from "effect/Queue"
import type * as Scope from "effect/Scope"
import { relayHeader, urlHeader } from "../../internal/text/relayHeaders.js"
import type { CloseInfo, Transport } from "../../Transport.js"
import { fail, type Finding, median, millis, ok, warn } from "./finding.js"

/** A WebSocket whose messages the doctor reads itself. */
export interface Line {
  readonly transport: Transport
  readonly events: Queue.Dequeue<Event>
}

export type Event =
  | { readonly _tag: "Message"; readonly bytes: Uint8Array }
  | { readonly _tag: "Text" }
  | { readonly _tag: "Close"; readonly info: CloseInfo }

/** Listens to a transport. A server would keep a session that ends without a close frame for its client to resume. */
export const listen = (transport: Transport): Effect.Effect<Line, never, Scope.Scope> =>
  Effect.acquireRelease(listenTo(transport), () => transport.close(1000, "", patience.close))

const listenTo = (transport: Transport): Effect.Effect<Line> =>
  Effect.map(Queue.unbounded<Event>(), (events) => {
    transport.listen({
      onMessage: (bytes) => void events.unsafeOffer({ _tag: "Message", bytes }),
      onText: () => void events.unsafeOffer({ _tag: "Text" }),
      onWritable: () => {},
      onClose: (info) => void events.unsafeOffer({ _tag: "Close", info })
    })
    return { transport, events }
  })

const pings = 7

/** How long pings go on, and how long one may take, in milliseconds. */
const pinging = 2000
const pingPatience = 10_000

/** The milliseconds of several round trips, at least one. Empty when the peer answers no ping in time. */
export const roundTrips = ({ transport }: Line): Effect.Effect<ReadonlyArray<number>> =>
  Effect.suspend(() => {
    const times: Array<number> = []
    let spent = 0
    return ping(transport).pipe(
      Effect.timeout(pingPatience),
      Effect.repeat({
        until: (time) => {
          times.push(time)
          spent += time
          return times.length === pings || spent >= pinging
        }
      }),
      Effect.ignore,
      Effect.as(times)
    )
  })

const ping = (transport: Transport): Effect.Effect<number> =>
  Effect.async((resume) => {
    const start = performance.now()
    transport.ping?.(() => resume(Effect.succeed(performance.now() - start)))
  })

/** A ping that takes so much longer than a TCP connection, in milliseconds, was held back, or has gone further. */
const held = 500

/** Judges the milliseconds of pings. `connect` is the time of a TCP connection to the first machine of the way. */
export const roundTripFinding = (times: ReadonlyArray<number>, connect: number): Finding => {
  if (times.length === 0) {
    return warn("round trip", "not measured: the peer answers no ping", "a proxy may hold back control frames")
  }
  const trip = median(times)
  const several = times.length === 1 ? "of one ping" : `the median of ${times.length} pings`
  const detail = `${millis(trip)}, ${several}; at most ${millis(Math.max(...times))}`
  return trip > 5 * connect + held
    ? warn(
      "round trip",
      `${detail}, where TCP connects in ${millis(connect)}`,
      "a proxy on the way holds bytes back, or is far from the server: turn off its buffers and scanners"
    )
    : ok("round trip", detail)
}

/** A relay: by whose agents this client is served, or where this agent is reached. */
export type Relay =
  | { readonly of: "client"; readonly name: string }
  | { readonly of: "agent"; readonly url: string }

/** Tells by the answer to the upgrade whether the peer is a relay. Go's websocktunnel answers agents alike. */
export const relayOf = ({ upgrade }: Transport): Relay | undefined => {
  const { [relayHeader]: name, [urlHeader]: url } = upgrade?.headers ?? {}
  if (typeof name === "string") return { of: "client", name }
  return typeof url === "string" ? { of: "agent", url } : undefined
}

/** What the other end of the WebSocket is. */
export type Peer = "native" | "go" | "other"

/** The beginning of a HELLO, which a peer with the dialect sends first (`src/README.md`). */
const hello = Buffer.from("00ffffffff0177737831", "hex")

/** A SYN and a FIN of stream 1, and a frame of no known type, as Go's wire has them. */
const syn = Uint8Array.of(1, 1, 0, 0, 0)
const fin = Uint8Array.of(3, 1, 0, 0, 0)
const unknown = Uint8Array.of(9, 1, 0, 0, 0)

const forwardAdvice = "use connect --listen: -L, -R, -D and -W need a wsmux serve as new as this command"

/** How long a peer may take for an answer, beside the round trip. A Go peer accepts once its target is connected. */
const patience = { hello: 1000, accept: 5000, close: 1000 }

/**
 * Tells what the peer is. A peer with the dialect introduces itself. Others get one stream, which this end ends at
 * once, and a frame of an unknown type, by which Go tells its generation.
 */
export const identify = (line: Line, times: ReadonlyArray<number>) =>
  Effect.gen(function*() {
    const { transport } = line
    const trip = 3 * median(times)
    const next = (limit: number): Effect.Effect<Event | undefined> =>
      Effect.map(Effect.timeoutOption(Queue.take(line.events), limit + trip), Option.getOrUndefined)
    const found = (peer: Peer, finding: Finding) => ({ peer, finding })
    const first = yield* next(patience.hello)
    if (first?._tag === "Message" && hello.equals(first.bytes.subarray(0, hello.length))) {
      return found("native", ok("peer", "speaks the dialect of wsmux"))
    }
    if (first !== undefined) return found("other", stranger(first))
    const relay = relayOf(transport)
    if (relay?.of === "agent") {
      return found("go", ok("peer", `a websocktunnel proxy, which serves this client at ${relay.url}`))
    }
    transport.send([syn])
    const answer = yield* next(patience.accept)
    const credit = answer?._tag === "Message" ? creditOf(answer.bytes) : undefined
    const isRefusal = answer?._tag === "Message" && equals(answer.bytes, fin)
    if (answer !== undefined && credit === undefined && !isRefusal) {
      return found("other", answer._tag === "Message" && equals(answer.bytes, syn) ? echo : stranger(answer))
    }
    if (credit !== undefined) transport.send([fin])
    transport.send([unknown])
    const isStrict = yield* closesBy1008(next)
    if (answer === undefined && !isStrict) {
      return found("other", warn("peer", "says nothing", "a Go peer that accepts no streams, or no wsmux at all"))
    }
    const generation = isStrict ? "Go wsmux from v103 on, or an older wsmux serve" : "Go wsmux up to v102"
    const said = credit !== undefined
      ? `accepts streams with a window of ${credit} bytes`
      : isRefusal
      ? "refuses streams: it may not reach its target"
      : "accepts no streams"
    return found("go", warn("peer", `${generation}; ${said}`, forwardAdvice))
  })

/** Reads on until the peer closes by the code of a protocol error. */
const closesBy1008 = (next: (limit: number) => Effect.Effect<Event | undefined>): Effect.Effect<boolean> =>
  Effect.flatMap(next(patience.close), (event) => {
    if (event === undefined) return Effect.succeed(false)
    return event._tag === "Close" ? Effect.succeed(event.info.code === 1008) : closesBy1008(next)
  })

const echo = fail("peer", "a WebSocket server that echoes messages", "this is no wsmux: check the address")

const stranger = (event: Event): Finding => {
  const what = event._tag === "Close"
    ? `closes the WebSocket with ${event.info.code}${event.info.reason === "" ? "" : `, ${event.info.reason}`}`
    : event._tag === "Text"
    ? "a WebSocket server that sends text"
    : "a WebSocket server that sends other messages"
  return fail("peer", what, "this is no wsmux: check the address")
}

/** The credit of an ACK for stream 1. */
const creditOf = (bytes: Uint8Array): number | undefined =>
  bytes.length === 9 && equals(bytes.subarray(0, 5), Uint8Array.of(2, 1, 0, 0, 0))
    ? Buffer.from(bytes).readUInt32LE(5)
    : undefined

const equals = (a: Uint8Array, b: Uint8Array): boolean => Buffer.from(a).equals(b)
