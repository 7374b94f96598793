import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import * as ByteStream from "../../ByteStream.js"
import type { MuxStream } from "../../MuxStream.js"
import * as Session from "../../Session.js"
import { Transport } from "../../Transport.js"
import type { ConnectFailure } from "../../WsmuxError.js"
import * as Codes from "../forwards/codes.js"
import * as Labels from "../forwards/labels.js"
import { settings } from "../session.js"
import { fail, type Finding, median, millis, ok, warn } from "./finding.js"
import type { Relay } from "./peer.js"

/** How long each direction is measured. The server ends a measurement after five seconds or 64 MiB. */
const duration = 2000
const maxBytes = 48 * 1024 * 1024

/** How long a direction may take to find its rate. A proxy that holds the ends of bursts takes half of that. */
const warmUp = 1000

/** In a shorter time one burst out of a buffer would look like a rate. */
const least = 500

const chunk = new Uint8Array(64 * 1024)

/** The messages of the test for buffers. */
const small = { size: 64, count: 7 }
const large = { size: 64 * 1024, count: 5 }

/** How long the messages of one size may take, in milliseconds, so that both sizes end before the server does. */
const sending = 1500

/** Tells what a peer with the dialect serves, and measures where the server lets its clients measure. */
export const measure = (
  dial: Effect.Effect<Transport, ConnectFailure, Scope.Scope>,
  trip: number,
  relay: Relay | undefined
): Effect.Effect<ReadonlyArray<Finding>> =>
  Effect.gen(function*() {
    const session = yield* Effect.provideServiceEffect(Session.makeClient(), Transport, dial)
    const about = yield* Session.withStream(
      session,
      (stream) => ByteStream.readText(stream, { maxBytes: 1024 }),
      { label: Labels.Label.about }
    ).pipe(Effect.timeout("10 seconds"), Effect.option)
    const { dialect } = yield* session.snapshot
    const software = dialect.state === "native" ? `${dialect.software}, ${dialect.features.join(" ")}` : "unknown"
    const served = new Set(Option.getOrElse(about, () => "").trim().split(" "))
    const isServer = Labels.features.split(" ").every((feature) => served.has(feature))
    const peer = peerFinding(software, isServer ? [...served].join(" ") : undefined, relay)
    if (!served.has(Labels.measures)) return [peer, ...unmeasured(relay !== undefined ? "relay" : isServer)]
    return [peer, yield* throughput(session), yield* buffering(session, trip)]
  }).pipe(
    Effect.scoped,
    Effect.provide(settings({ bufferSize: 1024 * 1024, keepAlive: Duration.seconds(10) })),
    Effect.catchAll((cause) =>
      Effect.succeed([fail("peer", `the session ended: ${cause.message}`, "look at the log of the server")])
    )
  )

/** Tells what a peer with the dialect is, and what it forwards, if it does. */
export const peerFinding = (software: string, forwards: string | undefined, relay: Relay | undefined): Finding => {
  if (relay?.of === "agent") return ok("peer", `wsmux relay (${software}), which serves this agent at ${relay.url}`)
  if (relay !== undefined) {
    const found = `wsmux relay (${software}), for clients of ${relay.name}`
    return forwards === undefined
      ? warn("peer", `${found}; no agent tells what it forwards`, "start wsmux agent with this name, and --allow")
      : ok("peer", `${found}; the agent forwards ${forwards}`)
  }
  return forwards === undefined
    ? warn(
      "peer",
      `speaks the dialect (${software}), and serves no forwards`,
      "this is a program with effect-wsmux, and not wsmux serve"
    )
    : ok("peer", `wsmux serve (${software}); forwards ${forwards}`)
}

/** The findings of a peer that does not measure: a relay, or a server that does or does not serve forwards. */
export const unmeasured = (peer: boolean | "relay"): ReadonlyArray<Finding> => {
  const advice = peer === "relay"
    ? "only wsmux serve measures, and no relay"
    : peer
    ? "wsmux serve measures only with --token-file or --rules, for clients who authenticate"
    : "only a wsmux serve as new as this command measures, with --token-file or --rules"
  return ["throughput", "buffering"].map((check) => warn(check, "not measured: the peer does not offer it", advice))
}

const opened = <A, E>(session: Session.Session, kind: string, use: (stream: MuxStream) => Effect.Effect<A, E>) =>
  // the server's time begins with the first bytes, and not a round trip before them
  Session.withStream(session, use, { label: Labels.Label.measure, metadata: { kind }, early: true })

const throughput = (session: Session.Session) =>
  Effect.gen(function*() {
    const up = yield* opened(session, "sink", upload)
    const down = yield* opened(session, "source", download)
    return ok("throughput", `${up.toFixed(1)} MB/s to the server, ${down.toFixed(1)} MB/s from it`)
  }).pipe(Effect.catchAll(failed("throughput")))

/** Counts the bytes of one direction. */
export class Meter {
  readonly #now: () => number
  readonly #start: number
  #bytes = 0
  /** The bytes and the time at the end of the warm-up. */
  #warm: { readonly bytes: number; readonly at: number } | undefined

  /** @param now the monotonic time in milliseconds */
  constructor(now: () => number) {
    this.#now = now
    this.#start = now()
  }

  /** Returns whether the measurement is over. */
  add(bytes: number): boolean {
    this.#bytes = Math.min(this.#bytes + bytes, maxBytes)
    const at = this.#now()
    if (at - this.#start >= warmUp) this.#warm ??= { bytes: this.#bytes, at }
    return at - this.#start >= duration || this.#bytes === maxBytes
  }

  /** The rate in MB/s: of all, or of what came after the warm-up where that is more. */
  get rate(): number {
    const end = this.#now()
    const since = (bytes: number, at: number) => (this.#bytes - bytes) / 1000 / Math.max(end - at, 1)
    const whole = since(0, this.#start)
    const warm = this.#warm
    return warm === undefined || end - warm.at < least ? whole : Math.max(whole, since(warm.bytes, warm.at))
  }
}

const now = () => performance.now()

/** The time ends with the server's answer, so that bytes in buffers do not count as carried. */
const upload = (stream: MuxStream) =>
  Effect.gen(function*() {
    const meter = new Meter(now)
    const more = Effect.map(stream.write(chunk), () => meter.add(chunk.byteLength))
    yield* Effect.repeat(more, { until: (isOver) => isOver })
    yield* stream.end
    yield* ByteStream.readText(stream, { maxBytes: 64 })
    return meter.rate
  })

const download = (stream: MuxStream) =>
  Effect.gen(function*() {
    const meter = new Meter(now)
    yield* Effect.repeat(stream.read, {
      until: (read) => Option.isNone(read) || meter.add(read.value.byteLength)
    })
    const { rate } = meter
    yield* stream.reset()
    return rate
  })

const buffering = (session: Session.Session, trip: number) =>
  opened(session, "echo", (stream) =>
    Effect.gen(function*() {
      const reader = ByteStream.buffered(stream)
      const times = ({ count, size }: typeof small) =>
        Effect.replicateEffect(
          Effect.gen(function*() {
            const start = performance.now()
            yield* stream.write(chunk.subarray(0, size))
            yield* reader.readExactly(size)
            return performance.now() - start
          }),
          Math.max(1, Math.min(count, Math.floor(sending / trip)))
        )
      const ofSmall = yield* times(small)
      const ofLarge = yield* times(large)
      yield* stream.end
      return judgeBuffering(trip, median(ofSmall), median(ofLarge))
    })).pipe(Effect.catchAll(failed("buffering")))

/** A delay beyond the round trip that a busy machine may cause. */
const slack = 30

/** Judges the milliseconds of a ping, and of the echoes of small and of large messages. */
export const judgeBuffering = (trip: number, ofSmall: number, ofLarge: number): Finding => {
  const detail = `${small.size} bytes come back in ${millis(ofSmall)}, and 64 KiB in ${millis(ofLarge)}`
  return ofSmall > 2 * trip + slack
    ? warn(
      "buffering",
      `${detail}, where a ping takes ${millis(trip)}`,
      "something on the way holds small messages back: turn off the buffers of the proxy"
    )
    : ok("buffering", detail)
}

const failed = (check: string) => (cause: { readonly message: string; readonly code?: unknown }) =>
  Effect.succeed(
    cause.code === Codes.Code.TimedOut
      ? warn(check, "not measured: the server gives a measurement 5 s", "see the round trip: answers come too late")
      : warn(check, `not measured: ${cause.message}`, "look at the log of the server")
  )
