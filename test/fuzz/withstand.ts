import * as Frame from "effect-wsmux/Frame"
import type { MuxStream } from "effect-wsmux/MuxStream"
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/TestClock"
import { pattern } from "../support/bytes.js"
import { idle, leavingNothing, runDeterministically } from "../support/deterministic.js"
import { Random } from "../support/random.js"
import { ack, dat, fin, makePeer, syn } from "../support/scriptedPeer.js"
import { type Activity, checkOver, checkTight, tight } from "../support/withstanding.js"

/** How many streams a program opens or accepts itself at most. */
const maxOwn = 6

const sizes = [1, 0, 2, 49, 50, 51, 63, 64, 65, 127, 128, 129, 200, 201, 500, 1500]
const credits = [1, 0, 2, 50, 63, 64, 65, 128, 129, 1000, 65_536, 2 ** 31, Frame.maxUint32 - 1, Frame.maxUint32]
const millis = [0, 1, 999, 1000, 29_999, 30_000, 60_000]
const pick = <A>(values: ReadonlyArray<A>, byte: number): A => values[byte % values.length]!

/**
 * Reads any bytes as a program for a hostile peer and for the user of a session against it, three bytes a step, runs it, and
 * answers with how many messages the peer has sent. Throws where something is out of its bounds, hangs, has a defect or
 * leaves anything behind.
 */
export const withstand = (input: Uint8Array): number => {
  const [head = 0, width = 0] = input
  const order = { shuffled: (head & 16) !== 0, preemption: pick([0, 0.005, 0, 0.03], head >> 5) }
  const exit = runDeterministically(
    (timers) => leavingNothing(timers, program(input)),
    order,
    new Random(width)
  )
  if (Exit.isFailure(exit)) throw Cause.squash(exit.cause)
  return exit.value
}

const program = (input: Uint8Array): Effect.Effect<number, unknown> =>
  Effect.gen(function*() {
    const [head = 0, width = 0] = input
    const role = head & 1 ? "client" : "server"
    const link = { capacity: pick([64 * 1024, 30, 200], width) }
    const { pair, session, transport } = yield* makePeer(role, tight, link)
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
    let sent = 0
    let opens = 0
    const check = Effect.zipRight(idle, Effect.suspend(() => checkTight(session, opens)))
    const send = (message: Uint8Array) => {
      sent++
      transport.send([message])
    }

    /** What the user does with one of the streams. */
    const use = (what: number, stream: MuxStream, scope: Scope.CloseableScope): Effect.Effect<unknown, unknown> => {
      switch (what % 8) {
        case 0:
          return stream.read
        case 1:
          return Stream.runDrain(stream.readable)
        case 2:
          return stream.end
        case 3:
          return Scope.close(scope, Exit.void)
        case 4:
          return Effect.flatMap(Clock.currentTimeMillis, (now) => stream.setDeadline(now + pick(millis, what >> 3)))
        case 5:
          return stream.writeAll([pattern(what), pattern(3)])
        default:
          return stream.write(pattern(pick(sizes, what >> 3)))
      }
    }

    for (let at = 2; at + 2 < input.length; at += 3) {
      const [step, a, b] = [input[at]!, input[at + 1]!, input[at + 2]!]
      const id = a < 250 ? a % 14 : Frame.maxUint32 - (a % 4)
      switch (step % 12) {
        case 0:
          send(Frame.encode(syn(a < 248 ? (a & ~1) % 14 + (head & 1 ? 0 : 1) : id)))
          break
        case 1:
        case 2:
          send(Frame.encode(dat(id, pattern(pick(sizes, b)))))
          break
        case 3:
        case 4:
          send(Frame.encode(ack(id, pick(credits, b))))
          break
        case 5:
          send(Frame.encode(fin(id)))
          break
        case 6: // bytes of the program itself, as they come; seldom, as hardly any of them is a frame
          if (b === 0) send(input.subarray(at, at + a % 12))
          break
        case 7:
          yield* a & 1 ? check : Effect.repeatN(Effect.yieldNow(), b % 20)
          break
        case 8:
          yield* check
          yield* TestClock.adjust(pick(millis, a))
          break
        case 9:
          if (opens >= maxOwn) break
          if (a & 1) opens++
          yield* a & 1 ? fork("open", own(session.open())) : fork("accept", own(session.accept))
          break
        case 10:
          yield* a & 1 ? pair.stall(a & 2 ? "client" : "server") : pair.resume(a & 2 ? "client" : "server")
          break
        default: {
          yield* check
          const [stream, scope] = pick(streams, a) ?? []
          if (stream !== undefined) yield* fork(`use ${b % 8} of ${stream.id}`, use(b, stream, scope!))
          if (fibers.length > 0 && b === 255) yield* fork("interruption", Fiber.interrupt(pick(fibers, a)[1]))
        }
      }
    }
    yield* check
    yield* head & 8 ? Effect.forkIn(session.close, scope) : pair.cut
    // Whatever has a time limit comes to it, and so does what follows.
    yield* Effect.repeatN(Effect.zipRight(TestClock.adjust("1 minute"), idle), 3)
    yield* checkOver(session, fibers)
    for (const [, scope] of streams) yield* Scope.close(scope, Exit.void)
    yield* Scope.close(scope, Exit.void)
    return sent
  }).pipe(Effect.scoped)
