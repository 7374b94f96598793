import { afterAll, expect, it } from "@effect/vitest"
import type { MuxStream } from "effect-wsmux/MuxStream"
import * as Effect from "effect/Effect"
import * as FastCheck from "effect/FastCheck"
import * as Fiber from "effect/Fiber"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/TestClock"
import * as Frame from "../../../src/internal/wire/frame.js"
import { pattern } from "../../support/bytes.js"
import { count } from "../../support/count.js"
import { extent } from "../../support/extent.js"
import { encodeMessage, goAway, hello, type Message, open, reset, stop } from "../../support/records.js"
import { ack, dat, fin, makePeer, syn } from "../../support/scriptedPeer.js"
import { settle } from "../../support/sessions.js"
import { type Activity, checkBounds, checkOver, tight, tightHello, whole } from "../../support/withstanding.js"

/** The number of random messages of hostile peers, which `WSMUX_HOSTILE_FRAMES` sets. */
const total = count("WSMUX_HOSTILE_FRAMES", extent(20_000, 5000))
const perRun = 100

type Role = "client" | "server"

/** Few ids, so that frames reach streams in every state. */
const id = FastCheck.oneof(
  { weight: 80, arbitrary: FastCheck.nat(12) },
  { weight: 1, arbitrary: FastCheck.integer({ min: 0, max: Frame.maxUint32 }) }
)
/** Ids that the peer of this role may open, and seldom a wrong id, which ends the session. */
const opened = (role: Role) => {
  const parity = role === "client" ? 0 : 1
  return FastCheck.oneof(
    { weight: 300, arbitrary: FastCheck.nat(6).map((n) => 2 * n + parity) },
    { weight: 1, arbitrary: FastCheck.nat(6).map((n) => 2 * n + 1 - parity) }
  )
}
const size = FastCheck.oneof(FastCheck.nat(3), FastCheck.nat(70), FastCheck.nat(300))
const credit = FastCheck.oneof(
  FastCheck.nat(3),
  FastCheck.nat(1000),
  FastCheck.integer({ min: 0, max: Frame.maxUint32 })
)
const frame = (role: Role): FastCheck.Arbitrary<Frame.Frame> =>
  FastCheck.oneof(
    { weight: 3, arbitrary: opened(role).map(syn) },
    { weight: 5, arbitrary: FastCheck.tuple(id, size).map(([id, size]) => dat(id, pattern(size))) },
    { weight: 3, arbitrary: FastCheck.tuple(id, credit).map(([id, credit]) => ack(id, credit)) },
    { weight: 2, arbitrary: id.map(fin) }
  )
const text = FastCheck.constantFrom("", "rpc", "\u202e", "x".repeat(200))
const code = FastCheck.oneof(FastCheck.nat(6), FastCheck.integer({ min: 0, max: Frame.maxUint32 }))
const record = (role: Role): FastCheck.Arbitrary<Exclude<Message, Frame.Frame | Frame.Malformed>> =>
  FastCheck.oneof(
    {
      weight: 6,
      arbitrary: FastCheck.tuple(opened(role), credit, text).map(([id, window, label]) =>
        open(id, window, label, { label })
      )
    },
    { weight: 4, arbitrary: FastCheck.tuple(id, code, text).map(([id, code, text]) => reset(id, code, text)) },
    { weight: 3, arbitrary: FastCheck.tuple(id, code).map(([id, code]) => stop(id, code)) },
    { weight: 1, arbitrary: FastCheck.tuple(credit, code, text).map((parts) => goAway(...parts)) },
    {
      weight: 1,
      arbitrary: FastCheck.constantFrom(
        hello(),
        { _tag: "Ping", payload: new Uint8Array(8) } as const,
        { _tag: "Pong", payload: new Uint8Array(8) } as const,
        { _tag: "Unknown", kind: 200 } as const
      )
    }
  )
/** A valid frame or record, or seldom a truncated or altered one. */
const message = (role: Role) =>
  FastCheck.oneof(
    { weight: 200, arbitrary: frame(role).map(Frame.encode) },
    { weight: 100, arbitrary: record(role).map(encodeMessage) },
    {
      weight: 1,
      arbitrary: FastCheck.tuple(FastCheck.oneof(frame(role), record(role)), FastCheck.nat(16), FastCheck.nat(255)).map(
        ([frame, at, byte]) => {
          const bytes = Uint8Array.from(encodeMessage(frame))
          bytes[at % bytes.length] = byte
          return bytes.subarray(0, bytes.length - (byte % 3))
        }
      )
    }
  )

const attacks = FastCheck.constantFrom<Role>("client", "server").chain((role) =>
  FastCheck.record({
    role: FastCheck.constant(role),
    /** Whether the peer speaks the dialect. */
    isNative: FastCheck.boolean(),
    handler: FastCheck.constantFrom("echo" as const, "ignore" as const, "leave" as const, "none" as const),
    opens: FastCheck.nat(4),
    capacity: FastCheck.constantFrom(30, 64 * 1024),
    /** The number of messages that come at once. */
    burst: FastCheck.integer({ min: 1, max: 20 }),
    /** Behind how many messages the session drains, if at all. */
    drainsAt: FastCheck.option(FastCheck.integer({ min: 40, max: 99 }), { freq: 2 }),
    messages: FastCheck.array(message(role), { minLength: perRun, maxLength: perRun, size: "max" })
  })
)

type Attack = typeof attacks extends FastCheck.Arbitrary<infer A> ? A : never

const handlers: Record<Attack["handler"], ((stream: MuxStream) => Effect.Effect<unknown, unknown>) | undefined> = {
  echo: (stream) => Stream.run(stream.readable, stream.writable),
  ignore: () => Effect.never,
  leave: () => Effect.void,
  none: undefined
}

/** The number of messages that did not end their session. */
let survived = 0

const withstand = ({ burst, capacity, drainsAt, handler, isNative, messages, opens, role }: Attack) =>
  Effect.gen(function*() {
    const { pair, session, transport } = yield* makePeer(role, tight, { capacity })
    if (isNative) transport.send([encodeMessage(hello(tightHello))])
    const work = handlers[handler]
    const running = yield* Effect.fork(work === undefined ? Effect.never : session.run(work))
    const opening = yield* Effect.forEach(
      Array.from({ length: opens }),
      () =>
        Effect.fork(Effect.scoped(Effect.flatMap(session.open({ early: true }), (stream) =>
          Effect.zipRight(
            stream.write(pattern(500)),
            Stream.runDrain(stream.readable)
          ))))
    )
    let drain: Fiber.RuntimeFiber<void> | undefined
    for (let at = 0; at < messages.length; at += burst) {
      if (drainsAt !== null && at >= drainsAt) drain ??= yield* Effect.fork(session.drain({ grace: "20 seconds" }))
      yield* Effect.sync(() => messages.slice(at, at + burst).forEach((bytes) => transport.send([bytes])))
      yield* Effect.repeatN(Effect.yieldNow(), 10 + burst)
      const { closed } = yield* session.snapshot
      if (!closed) survived += Math.min(burst, messages.length - at)
      yield* checkBounds(session, { ...tight, opens, window: tight.maxPeerWindow, session: whole })
    }
    yield* pair.cut
    yield* TestClock.adjust("1 minute") // every time limit passes
    if (handler === "ignore" || work === undefined) yield* Fiber.interrupt(running)
    yield* settle
    if (drain !== undefined) yield* checkOver(session, [["drain", drain]])
    yield* checkOver(session, [["run", running], ...opening.map((fiber): Activity => ["open", fiber])])
  })

it.scoped.prop(
  "session neither throws, hangs nor exceeds its bounds when a peer sends random frames",
  [attacks],
  ([attack]) => Effect.scoped(withstand(attack)),
  { timeout: 60_000 + 5 * total, fastCheck: { numRuns: Math.ceil(total / perRun) } }
)

afterAll(() => {
  console.log(`hostile peers: ${survived} of ${total} messages did not end their session`)
  expect(survived).toBeGreaterThan(total / 2) // fewer would mean that the attacks are too short
})
