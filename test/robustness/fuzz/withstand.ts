import type { MuxStream } from "effect-wsmux/MuxStream"
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/TestClock"
import assert from "node:assert"
import * as Frame from "../../../src/internal/wire/frame.js"
import * as Record from "../../../src/internal/wire/record.js"
import { pattern } from "../../support/bytes.js"
import { idle, leavingNothing, runDeterministically, type Timers } from "../../support/deterministic.js"
import { Random } from "../../support/random.js"
import { encodeMessage, goAway, hello, open, reset, stop } from "../../support/records.js"
import { ack, dat, fin, makePeer, syn } from "../../support/scriptedPeer.js"
import {
  type Activity,
  checkBounds,
  checkOver,
  furthest,
  type Reached,
  tight,
  tightHello,
  whole
} from "../../support/withstanding.js"

/** The most streams that the user of a program opens. */
const maxOpens = 6

/** The number of ids of each end: more than a session may have streams, and few enough to occur again. */
const ids = 12

/** The steps of a program. A step that occurs twice is twice as likely. */
const steps = [
  ...Array<"syn">(3).fill("syn"),
  ...Array<"dat">(4).fill("dat"),
  ...Array<"ack">(3).fill("ack"),
  ...Array<"use">(6).fill("use"),
  "fin",
  "raw",
  "rest",
  "time",
  "open",
  "accept",
  "link",
  "interrupt"
] as const

const payloads = [1, 0, 2, 49, 50, 51, 63, 64, 65, 127, 128, 129, 200, 201, 1024, 1500]
const writes = [0, 1, 50, 51, 200, 1024, 1500, 40_000]
const credits = [1, 0, 2, 50, 63, 64, 65, 128, 129, 1000, 65_536, 2 ** 31, Frame.maxUint32 - 1, Frame.maxUint32]
const millis = [0, 1, 999, 1000, 29_999, 30_000, 60_000]
const source = pattern(Math.max(...writes))
const bytes = (size: number) => source.subarray(0, size)
/** The HELLO of a peer that takes announcements of a drain and answers pings, or does not answer them. */
const drainingHello = hello({
  ...tightHello,
  features: Record.Feature.open | Record.Feature.reset | Record.Feature.goAway | Record.Feature.ping
})
const pick = <A>(values: ReadonlyArray<A>, byte: number): A => values[byte % values.length]!

export interface Withstood {
  /** The number of messages that the peer has sent to an open session. */
  readonly messages: number
  readonly reached: Reached
}

/**
 * Runs any bytes as a program of a hostile peer and of the user of a session, three bytes a step, and answers with the
 * outcome. Throws when the session exceeds its bounds, hangs, has a defect or leaves a resource behind.
 */
export const withstand = (input: Uint8Array): Withstood => {
  const [head = 0, width = 0] = input
  const order = { shuffled: (head & 16) !== 0, preemption: pick([0, 0.005, 0, 0.03], head >> 5) }
  let fault: unknown // the first fault: closing after it may need the clock, which stands still
  const noted = Effect.onError(program(input), (cause) => Effect.sync(() => fault = Cause.squash(cause)))
  try {
    const run = (timers: Timers) => leavingNothing(timers, Effect.scoped(noted))
    const exit = runDeterministically(run, order, new Random(width))
    if (Exit.isSuccess(exit)) return exit.value
    fault ??= Cause.squash(exit.cause)
  } catch (error) {
    fault ??= error
  }
  throw fault
}

/** The settings of a session, small ones and the additions of some bits, and the bounds by these settings. */
const draw = (bits: number) => {
  const settings = {
    ...tight,
    keepAliveInterval: bits & 1 ? Duration.seconds(10) : Duration.infinity,
    maxFrameSize: bits & 2 ? 4096 : tight.maxFrameSize,
    maxStreamBufferSize: bits & 4 ? 160 : tight.streamBufferSize,
    maxWindowGrowth: bits & 4 ? 200 : 0,
    maxSessionBufferSize: bits & 64 ? 200 : whole * 2
  }
  const bounds = {
    ...tight,
    window: Math.max(settings.maxPeerWindow, settings.maxStreamBufferSize),
    session: Math.min(settings.maxSessionBufferSize, whole) + settings.maxWindowGrowth
  }
  return { settings, bounds }
}

/** A record: most of the time one that opens or ends a stream. */
const record = (byte: number, peerId: number, id: number): Uint8Array => {
  const rest = byte >> 3
  switch (byte % 8) {
    case 0:
    case 1:
    case 2:
      return encodeMessage(open(peerId, pick(credits, rest), rest % 2 === 0 ? "" : "label", { at: String(rest) }))
    case 3:
    case 4:
      return encodeMessage(reset(id, rest, "why"))
    case 5:
      return encodeMessage(stop(id, rest))
    case 6:
      return encodeMessage({ _tag: rest % 2 === 0 ? "Ping" : "Pong", payload: new Uint8Array(8).fill(rest) })
    default:
      return encodeMessage(
        rest % 2 === 0
          ? hello()
          : rest % 4 === 1
          ? goAway(pick(millis, rest >> 2), rest)
          : { _tag: "Unknown", kind: 100 + rest }
      )
  }
}

const program = (input: Uint8Array): Effect.Effect<Withstood, unknown, Scope.Scope> =>
  Effect.gen(function*() {
    const [head = 0, width = 0, bits = 0] = input
    const role = head & 1 ? "client" : "server"
    const { bounds, settings } = draw(bits)
    const { pair, session, transport } = yield* makePeer(role, settings, {
      capacity: pick([64 * 1024, 30, 200], width),
      latency: bits & 8 ? 20 : 0,
      ping: (bits & 48) > 0
    })
    const scope = yield* Scope.make()
    const streams: Array<readonly [MuxStream, Scope.CloseableScope]> = []
    const fibers: Array<Activity> = []
    const fork = (what: string, effect: Effect.Effect<unknown, unknown>) =>
      Effect.map(Effect.fork(effect), (fiber) => fibers.push([what, fiber]))
    const own = (acquire: Effect.Effect<MuxStream, unknown, Scope.Scope>) =>
      Effect.gen(function*() {
        const scope = yield* Scope.make()
        streams.push([
          yield* Scope.extend(acquire, scope).pipe(
            Effect.onError((cause) => Scope.close(scope, Exit.failCause(cause)))
          ),
          scope
        ])
      })
    if (head & 2) {
      yield* fork("run", session.run((stream) => head & 4 ? Stream.run(stream.readable, stream.writable) : Effect.void))
    }
    const isNative = (bits & 128) > 0
    if (isNative) transport.send([encodeMessage(width < 192 ? hello(tightHello) : drainingHello)])
    let messages = 0
    let isOver = false
    let opens = 0
    let reached: Reached = { backlog: 0, unanswered: 0, streams: 0, held: 0 }
    /** When the session must be over by a drain of its own. A drain that is interrupted may never have begun. */
    const drains: Array<readonly [by: number, fiber: Fiber.RuntimeFiber<unknown, unknown>]> = []
    const check = Effect.zipRight(
      idle,
      Effect.gen(function*() {
        reached = furthest(reached, yield* checkBounds(session, { ...bounds, opens }))
        const now = yield* Clock.currentTimeMillis
        const isDue = drains.some(([by, fiber]) => now >= by && fiber.unsafePoll() === null) ||
          (yield* session.snapshot).localDrain?.remainingMillis === 0
        assert(!isDue || (yield* session.isClosed), "the session lives although the grace of its drain has passed")
      })
    )
    const send = (message: Frame.Frame | Uint8Array) => {
      if (!isOver) messages++
      transport.send([message instanceof Uint8Array ? message : Frame.encode(message)])
    }

    /** An operation of the user on a stream. */
    const use = (what: number, stream: MuxStream, scope: Scope.CloseableScope): Effect.Effect<unknown, unknown> => {
      switch (what % 8) {
        case 0:
          return stream.read
        case 1:
          return Stream.runDrain(stream.readable)
        case 2:
          return stream.end
        case 3:
          return what < 200 ? Scope.close(scope, Exit.void) : stream.reset({ code: what })
        case 4:
          return Effect.flatMap(Clock.currentTimeMillis, (now) => {
            const set = pick([stream.setDeadline, stream.setReadDeadline, stream.setWriteDeadline], what)
            return set(what < 16 ? now - 1 : now + pick(millis, what >> 3))
          })
        case 5:
          return stream.writeAll([bytes(what), bytes(3)])
        default:
          return stream.write(bytes(pick(writes, what >> 3)))
      }
    }

    for (let at = 3; at + 2 < input.length; at += 3) {
      const [step, a, b] = [input[at]!, input[at + 1]!, input[at + 2]!]
      const { backlog, closed, streams: alive } = yield* session.snapshot
      isOver = closed
      const id = a < 192 && alive.length > 0
        ? pick(alive, a).id
        : a < 252
        ? a % (2 * ids)
        : Frame.maxUint32 - (a % 4)
      switch (pick(steps, step)) {
        case "syn": // seldom with an id of the session's own parity, since that ends the session
          send(syn(a < 252 ? 2 * (a % ids) + (role === "client" ? 0 : 1) : Frame.maxUint32 - (a % 4)))
          break
        case "dat":
          send(dat(id, bytes(pick(payloads, b))))
          break
        case "ack":
          send(ack(id, pick(credits, b)))
          break
        case "fin":
          send(fin(id))
          break
        case "raw": // bytes of the program itself, seldom, since few of them are a frame
          if (b === 0) send(input.subarray(at, at + a % 12))
          else if (isNative) send(record(b, 2 * (a % ids) + (role === "client" ? 0 : 1), id))
          break
        case "rest":
          yield* a & 1 ? check : Effect.repeatN(Effect.yieldNow(), b % 20)
          break
        case "time":
          yield* check
          yield* TestClock.adjust(pick(millis, a))
          break
        case "open":
          if (opens === maxOpens) break
          opens++
          yield* fork(
            "open",
            own(
              session.open(
                b >= 192 ? { early: true } : b < 64 ? { id: 2 * (b % ids) + (role === "client" ? 1 : 0) } : {}
              )
            )
          )
          break
        case "accept": // most of the time with streams that wait, so that a backlog can form
          if (a < 32 || backlog > 0) yield* fork("accept", own(session.accept))
          break
        case "link": {
          if (a >= 240) { // the user drains the session
            const grace = pick(millis, b)
            const by = (yield* Clock.currentTimeMillis) + grace
            yield* fork("drain", session.drain({ grace, code: b }))
            drains.push([by, fibers.at(-1)![1]])
            break
          }
          const side = a & 1 ? "client" : "server"
          yield* a < 64 ? pair.stall(side) : pair.resume(side)
          break
        }
        case "interrupt":
          if (fibers.length > 0) yield* fork("interruption", Fiber.interrupt(pick(fibers, a)[1]))
          break
        case "use": {
          if (b < 128) yield* check
          const [stream, scope] = pick(streams, a) ?? []
          if (stream !== undefined) yield* fork(`use ${b % 8} of ${stream.id}`, use(b, stream, scope!))
        }
      }
    }
    yield* check
    yield* head & 8 ? Effect.forkIn(session.close, scope) : pair.cut
    // every time limit passes, and the time limits that follow
    yield* Effect.repeatN(Effect.zipRight(TestClock.adjust("1 minute"), idle), 3)
    yield* checkOver(session, fibers)
    for (const [, held] of streams) yield* Scope.close(held, Exit.void)
    yield* Scope.close(scope, Exit.void)
    return { messages, reached }
  })
