import { describe, expect, it } from "@effect/vitest"
import { BrokenPipe, TransportFailure, WriteTimeout } from "effect-wsmux/WsmuxError"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as FiberId from "effect/FiberId"
import * as Scheduler from "effect/Scheduler"
import { SendHalf } from "../../../../src/internal/send/sendHalf.js"
import * as Frame from "../../../../src/internal/wire/frame.js"
import type { FrameParts } from "../../../../src/internal/wire/frameParts.js"
import { bytes, concat, pattern } from "../../../support/bytes.js"
import { expectWaiting, start } from "../../../support/observe.js"
import { dat, fin } from "../../../support/scriptedPeer.js"
import { settle } from "../../../support/sessions.js"

/**
 * The send half of stream 7 without a session: the calls to its context and its stream, and the frames of its turns.
 */
const makeSendHalf = (credit: number, onSchedule: (sendHalf: SendHalf) => void = () => {}) => {
  const events: Array<unknown> = []
  const tried: Array<number> = []
  const link = { isClear: true }
  const sendHalf: SendHalf = new SendHalf(7, credit, {
    scheduler: {
      schedule: (source) => {
        events.push(source === sendHalf ? "is scheduled" : "schedules another source")
        onSchedule(sendHalf)
      },
      trySend: ({ id }, payload, size, more) => {
        tried.push(size)
        if (more === true) events.push("more follows")
        if (link.isClear) events.push(["now", decode([Frame.datHeader(id), ...payload])])
        return link.isClear
      },
      sendControl: (frame) => events.push(["control", Frame.decode(frame)])
    },
    stalled: () => events.push("stalls")
  }, { finSent: () => events.push("FIN sent"), leftOut: () => {} })
  const turn = (maxPayload = 1000) => {
    const frame = sendHalf.nextFrame(maxPayload)
    return frame === undefined ? undefined : decode(frame)
  }
  return { sendHalf, link, turn, events: () => events.splice(0), tried: () => tried.splice(0) }
}

const decode = (frame: FrameParts) => Frame.decode(concat(frame))

/** A send half whose writes wait for credit or for their turn, and the fibers that wait. */
const makeWaiting = (credit: number, ...writes: ReadonlyArray<ReadonlyArray<Uint8Array>>) =>
  Effect.gen(function*() {
    const made = makeSendHalf(credit)
    made.link.isClear = false
    const fibers = yield* Effect.forEach(writes, (chunks) => start(made.sendHalf.write(chunks)))
    yield* expectWaiting(...fibers)
    made.events()
    return { ...made, fibers }
  })

/** The result of a fiber after all other fibers have run. A fiber that still waits fails the test at once. */
const outcome = <A, E>(fiber: Fiber.RuntimeFiber<A, E>): Effect.Effect<A, E> =>
  Effect.flatMap(settle, () => fiber.unsafePoll() ?? Effect.dieMessage("it still waits"))
const failure = <A, E>(fiber: Fiber.RuntimeFiber<A, E>): Effect.Effect<E, A> => Effect.flip(outcome(fiber))
const run = <A, E>(operation: Effect.Effect<A, E>): Effect.Effect<A, E> => Effect.flatMap(start(operation), outcome)
const refusal = <A, E>(operation: Effect.Effect<A, E>): Effect.Effect<E, A> => Effect.flip(run(operation))

const lost = new TransportFailure({ code: 1006, reason: "" })
const broken = (written: number) =>
  new BrokenPipe({ streamId: 7, operation: "write", reason: "SessionEnded", written, cause: lost })
const endedHere = (written: number) =>
  new BrokenPipe({ streamId: 7, operation: "write", reason: "StreamEnded", written })
const late = (written: number) => new WriteTimeout({ streamId: 7, written })

describe("SendHalf", () => {
  it("SendHalf sends a write at once when credit and scheduler allow it", () => {
    const { tried, events, sendHalf } = makeSendHalf(10)
    expect([sendHalf.queued, sendHalf.hasEnded]).toEqual([false, false])
    expect(sendHalf.writeNow([bytes("abc")])).toBeUndefined()
    expect([sendHalf.credit, sendHalf.waiting, tried()]).toEqual([7, 0, [3]])
    expect(sendHalf.writeNow([bytes("defg"), bytes("hij")])).toBeUndefined()
    expect([sendHalf.credit, sendHalf.waiting, tried()]).toEqual([0, 0, [7]])
    expect(events()).toEqual([["now", dat(7, bytes("abc"))], ["now", dat(7, bytes("defghij"))]])
  })

  it("SendHalf sends nothing for a write of 0 bytes, with credit or without", () => {
    for (const credit of [0, 10]) {
      const { events, sendHalf } = makeSendHalf(credit)
      expect([[], [bytes("")], [bytes(""), bytes("")]].map((chunks) => sendHalf.writeNow(chunks)))
        .toEqual([undefined, undefined, undefined])
      expect([sendHalf.waiting, events()]).toEqual([0, []])
    }
  })

  it.effect("SendHalf queues a write when the scheduler refuses it or a write waits", () =>
    Effect.gen(function*() {
      const { events, link, sendHalf, turn } = makeSendHalf(10)
      link.isClear = false
      const write = yield* start(sendHalf.write([bytes("abc")]))
      yield* expectWaiting(write)
      expect([sendHalf.waiting, sendHalf.hasFrame(), events()]).toEqual([3, true, ["is scheduled"]])
      link.isClear = true
      const second = yield* start(sendHalf.write([bytes("d")])) // would pass the first
      yield* expectWaiting(write, second)
      expect(events()).toEqual(["is scheduled"])
      expect([turn(), sendHalf.waiting, sendHalf.credit]).toEqual([dat(7, bytes("abcd")), 0, 6])
      yield* outcome(write)
      yield* outcome(second)
      expect([sendHalf.hasFrame(), turn(), events()]).toEqual([false, undefined, []])
    }))

  it.effect("SendHalf reports a stall once when writes wait for credit", () =>
    Effect.gen(function*() {
      const { events, sendHalf, turn } = makeSendHalf(0)
      const first = yield* start(sendHalf.write([bytes("abc")]))
      expect(events()).toEqual(["stalls"])
      const second = yield* start(sendHalf.write([bytes("de")]))
      yield* expectWaiting(first, second)
      expect([events(), sendHalf.hasFrame(), turn()]).toEqual([[], false, undefined])
      expect([sendHalf.grant(0), events()]).toEqual([true, []])
      expect([sendHalf.grant(4), events(), sendHalf.hasFrame()]).toEqual([true, ["is scheduled"], true])
      expect([turn(), events(), sendHalf.waiting]).toEqual([dat(7, bytes("abcd")), ["stalls"], 1])
      yield* outcome(first)
      yield* expectWaiting(second)
      expect([sendHalf.grant(1), turn(), events()]).toEqual([true, dat(7, bytes("e")), ["is scheduled"]])
      yield* outcome(second)
    }))

  it.effect("SendHalf reports no stall when the turn was short or all bytes were sent", () =>
    Effect.gen(function*() {
      const { events, turn } = yield* makeWaiting(10, [pattern(10)])
      expect([turn(4), turn(4), turn(4), events()]).toEqual([
        dat(7, pattern(10).subarray(0, 4)),
        dat(7, pattern(10).subarray(4, 8)),
        dat(7, pattern(10).subarray(8)),
        []
      ])
    }))

  it("SendHalf refuses credit beyond 2^32-1, and asks for no turn when no write waits", () => {
    const { events, sendHalf } = makeSendHalf(10)
    expect([sendHalf.grant(Frame.maxUint32 - 10), sendHalf.grant(1), sendHalf.credit, events()])
      .toEqual([true, false, Frame.maxUint32, []])
  })

  it.effect("SendHalf cuts chunks where a frame is full, and copies no bytes", () =>
    Effect.gen(function*() {
      const chunks = [bytes("abcdefgh"), bytes(""), bytes("ij")]
      const { fibers, sendHalf } = yield* makeWaiting(100, chunks, [bytes("klm")])
      const frames = [sendHalf.nextFrame(3)!, sendHalf.nextFrame(3)!, sendHalf.nextFrame(5)!, sendHalf.nextFrame(5)!]
      expect(frames.map(decode)).toEqual(["abc", "def", "ghijk", "lm"].map((text) => dat(7, bytes(text))))
      const [, ...whole] = frames[2]!
      expect([whole.length, whole[2]]).toEqual([4, chunks[2]])
      expect(whole[2]).toBe(chunks[2])
      expect(whole[0]!.buffer).toBe(chunks[0]!.buffer)
      for (const fiber of fibers) yield* outcome(fiber)
    }))

  it.effect("SendHalf cuts a chunk that started in the frame before", () =>
    Effect.gen(function*() {
      const { turn } = yield* makeWaiting(100, [bytes("ab"), bytes("cdefg")])
      expect([turn(3), turn(3), turn(3)]).toEqual(["abc", "def", "g"].map((text) => dat(7, bytes(text))))
    }))

  it.effect("SendHalf completes a write when its last byte is sent", () =>
    Effect.gen(function*() {
      const { fibers: [first, second], turn } = yield* makeWaiting(100, [bytes("abc")], [bytes("def")])
      turn(2)
      yield* expectWaiting(first!, second!)
      turn(1)
      yield* outcome(first!)
      yield* expectWaiting(second!)
      turn(3)
      yield* outcome(second!)
    }))

  it.effect("SendHalf completes a write synchronously when its turn comes at once", () =>
    Effect.gen(function*() {
      const frames: Array<unknown> = []
      const { link, sendHalf } = makeSendHalf(100, (sendHalf) => frames.push(decode(sendHalf.nextFrame(1000)!)))
      link.isClear = false
      const write = Effect.runFork(sendHalf.write([bytes("abc")]))
      expect([write.unsafePoll(), frames]).toEqual([Exit.void, [dat(7, bytes("abc"))]])
    }))

  // A fiber that has run for long yields before any step, and much may happen meanwhile.
  for (const incident of ["sent", "sent and interrupted", "interrupted and sent"] as const) {
    it.effect(`SendHalf keeps bytes and credit in step when a write is ${incident} at any step`, () =>
      Effect.gen(function*() {
        for (let at = 0, happened = true; happened; at++) {
          const { link, sendHalf, turn } = makeSendHalf(100)
          link.isClear = false
          const sent: Array<unknown> = []
          const others: Array<Fiber.RuntimeFiber<void, unknown>> = []
          const send = () => {
            for (let frame = turn(3); frame !== undefined; frame = turn(3)) sent.push(frame)
          }
          let steps = 0
          const scheduler = Scheduler.make(
            (task, priority, fiber) => Scheduler.defaultScheduler.scheduleTask(task, priority, fiber),
            (fiber) => {
              if (steps++ !== at) return false
              if (incident === "interrupted and sent") fiber.unsafeInterruptAsFork(FiberId.none)
              send()
              if (incident === "sent and interrupted") fiber.unsafeInterruptAsFork(FiberId.none)
              others.push(Effect.runFork(sendHalf.write([bytes("def")])))
              return 0
            }
          )
          const write = Effect.runFork(sendHalf.write([bytes("abc")]), { scheduler })
          yield* settle
          send()
          yield* settle // where what is done may still have its incident
          send()
          yield* settle
          happened = steps > at
          const exit = write.unsafePoll()
          const whole = incident === "sent" || !happened || exit?._tag === "Success"
          expect([at, exit?._tag, others.map((other) => other.unsafePoll())]).toEqual([
            at,
            whole ? "Success" : "Failure",
            happened ? [Exit.void] : []
          ])
          if (whole) expect(sent).toContainEqual(dat(7, bytes("abc")))
          if (happened) expect(sent).toContainEqual(dat(7, bytes("def")))
          expect([at, sendHalf.waiting, 100 - sendHalf.credit]).toEqual([at, 0, 3 * sent.length])
        }
      }))
  }

  it.effect("SendHalf drops the unsent bytes of a write when it is interrupted", () =>
    Effect.gen(function*() {
      const { events, fibers, sendHalf, turn } = yield* makeWaiting(100, [bytes("abcd")], [bytes("ef")], [bytes("gh")])
      turn(1)
      yield* Fiber.interrupt(fibers[1]!)
      expect([sendHalf.waiting, events()]).toEqual([5, ["is scheduled"]])
      yield* Fiber.interrupt(fibers[0]!)
      expect([sendHalf.waiting, events()]).toEqual([2, ["is scheduled"]])
      expect(turn()).toEqual(dat(7, bytes("gh")))
      yield* outcome(fibers[2]!)
    }))

  it.effect("SendHalf asks for no turn when the last write is interrupted, unless FIN waits", () =>
    Effect.gen(function*() {
      for (const ending of [false, true]) {
        const { events, fibers, sendHalf, turn } = yield* makeWaiting(100, [bytes("abc")])
        if (ending) yield* start(sendHalf.end)
        events()
        yield* Fiber.interrupt(fibers[0]!)
        expect([sendHalf.waiting, events()]).toEqual([0, ending ? ["is scheduled"] : []])
        expect(turn()).toEqual(ending ? fin(7) : undefined)
      }
    }))
})

describe("SendHalf.end", () => {
  it.effect("SendHalf end sends one FIN in its turn, and completes every caller", () =>
    Effect.gen(function*() {
      const { events, sendHalf, turn } = makeSendHalf(0)
      const ends = [yield* start(sendHalf.end), yield* start(sendHalf.end)]
      yield* expectWaiting(...ends)
      expect([sendHalf.hasEnded, sendHalf.hasFrame(), events()]).toEqual([false, true, ["is scheduled"]])
      expect([turn(), sendHalf.hasEnded, sendHalf.hasFrame(), events()]).toEqual([fin(7), true, false, ["FIN sent"]])
      for (const end of ends) yield* outcome(end)
      yield* run(sendHalf.end)
      sendHalf.abandon()
      expect([turn(), sendHalf.hasFrame(), events()]).toEqual([undefined, false, []])
    }))

  it.effect("SendHalf end sends FIN behind the writes that wait for credit", () =>
    Effect.gen(function*() {
      const { events, fibers: [write], sendHalf, turn } = yield* makeWaiting(0, [bytes("abc")])
      const end = yield* start(sendHalf.end)
      expect([sendHalf.hasFrame(), turn(), events()]).toEqual([false, undefined, []])
      sendHalf.grant(3)
      expect([turn(2), turn(), turn(), turn()]).toEqual([dat(7, bytes("ab")), dat(7, bytes("c")), fin(7), undefined])
      yield* outcome(write!)
      yield* outcome(end)
    }))

  it.effect("SendHalf refuses writes after end, even a write that was made before", () =>
    Effect.gen(function*() {
      const { link, sendHalf } = makeSendHalf(100)
      link.isClear = false
      const write = sendHalf.writeNow([bytes("abc")])!
      yield* start(sendHalf.end)
      expect([yield* refusal(write), sendHalf.waiting]).toEqual([endedHere(0), 0])
      link.isClear = true
      expect(yield* refusal(sendHalf.write([bytes("abc")]))).toEqual(endedHere(0))
    }))

  it.effect("SendHalf abandon fails the waiting writes and sends FIN", () =>
    Effect.gen(function*() {
      const { events, fibers, sendHalf, turn } = yield* makeWaiting(2, [bytes("abc")], [bytes("def")])
      expect([turn(), events()]).toEqual([dat(7, bytes("ab")), ["stalls"]])
      sendHalf.abandon()
      expect([yield* failure(fibers[0]!), yield* failure(fibers[1]!)]).toEqual([endedHere(2), endedHere(0)])
      expect([sendHalf.waiting, events(), turn(), turn()]).toEqual([0, ["is scheduled"], fin(7), undefined])
    }))
})

describe("SendHalf.writeEnd", () => {
  it.effect("SendHalf writeEnd asks for the FIN in the step in which it sends the bytes", () =>
    Effect.gen(function*() {
      const { events, sendHalf, turn } = makeSendHalf(10)
      const fiber = yield* start(sendHalf.writeEnd([bytes("abc")]))
      expect(events()).toEqual(["more follows", ["now", dat(7, bytes("abc"))], "is scheduled"])
      yield* expectWaiting(fiber)
      expect([turn(), turn()]).toEqual([fin(7), undefined])
      yield* outcome(fiber)
      expect(yield* refusal(sendHalf.writeEnd([bytes("d")]))).toEqual(endedHere(0))
    }))

  it.effect("SendHalf writeEnd of 0 bytes sends FIN alone", () =>
    Effect.gen(function*() {
      const { events, sendHalf, turn } = makeSendHalf(0, (half) => half.nextFrame(10))
      yield* run(sendHalf.writeEnd([]))
      expect([events(), turn(), sendHalf.hasEnded]).toEqual([["is scheduled", "FIN sent"], undefined, true])
    }))

  it.effect("SendHalf writeEnd sends FIN behind its last byte when it waits for credit", () =>
    Effect.gen(function*() {
      const { sendHalf, turn } = makeSendHalf(2)
      const fiber = yield* start(sendHalf.writeEnd([bytes("abc")]))
      expect([turn(), turn()]).toEqual([dat(7, bytes("ab")), undefined])
      yield* expectWaiting(fiber)
      sendHalf.grant(1)
      expect([turn(), turn(), turn()]).toEqual([dat(7, bytes("c")), fin(7), undefined])
      yield* outcome(fiber)
    }))

  it.effect("SendHalf writeEnd sends FIN behind the writes of others that wait", () =>
    Effect.gen(function*() {
      const { fibers, sendHalf, turn } = yield* makeWaiting(10, [bytes("ab")])
      const fiber = yield* start(sendHalf.writeEnd([bytes("cd")]))
      expect([turn(3), turn(3), turn(3)]).toEqual([dat(7, bytes("abc")), dat(7, bytes("d")), fin(7)])
      yield* Effect.forEach([...fibers, fiber], outcome)
    }))

  it.effect("SendHalf writeEnd sends no FIN when it is interrupted before its last byte", () =>
    Effect.gen(function*() {
      const { sendHalf, turn } = makeSendHalf(2)
      const fiber = yield* start(sendHalf.writeEnd([bytes("abc")]))
      expect(turn()).toEqual(dat(7, bytes("ab")))
      yield* Fiber.interrupt(fiber)
      sendHalf.grant(10)
      expect([turn(), sendHalf.hasEnded, sendHalf.waiting]).toEqual([undefined, false, 0])
      yield* run(sendHalf.write([bytes("d")]))
    }))
})

describe("SendHalf.fail", () => {
  it.effect("SendHalf fails waiting and later writes with the cause when the session ends", () =>
    Effect.gen(function*() {
      const { events, fibers, link, sendHalf, turn } = yield* makeWaiting(2, [bytes("abc")], [bytes("def")])
      turn()
      events()
      const write = sendHalf.writeNow([bytes("ghi")])!
      sendHalf.fail(lost)
      expect([yield* failure(fibers[0]!), yield* failure(fibers[1]!)]).toEqual([broken(2), broken(0)])
      link.isClear = true
      expect([
        yield* refusal(write),
        yield* refusal(sendHalf.write([bytes("")])),
        yield* refusal(sendHalf.end)
      ]).toEqual([broken(0), broken(0), broken(0)])
      sendHalf.abandon()
      sendHalf.grant(100)
      expect([sendHalf.hasEnded, sendHalf.waiting, turn(), events()]).toEqual([true, 0, undefined, []])
    }))

  it.effect("SendHalf sends a waiting FIN as control frame when the session ends", () =>
    Effect.gen(function*() {
      const { events, sendHalf, turn } = makeSendHalf(0)
      const end = yield* start(sendHalf.end)
      events()
      sendHalf.fail(lost)
      expect(yield* failure(end)).toEqual(broken(0))
      expect([events(), turn()]).toEqual([[["control", fin(7)]], undefined])
    }))

  it.effect("SendHalf sends no FIN when bytes before it are lost or end was not called", () =>
    Effect.gen(function*() {
      const { events, fibers: [write], sendHalf } = yield* makeWaiting(0, [bytes("abc")])
      const end = yield* start(sendHalf.end)
      sendHalf.fail(lost)
      expect([yield* failure(write!), yield* failure(end), events()]).toEqual([broken(0), broken(0), []])
      const other = makeSendHalf(0)
      other.sendHalf.fail(lost)
      expect(other.events()).toEqual([])
    }))

  it.effect("SendHalf stays ended when its FIN was sent before the session ended", () =>
    Effect.gen(function*() {
      const { events, sendHalf, turn } = makeSendHalf(0)
      const end = yield* start(sendHalf.end)
      turn()
      events()
      sendHalf.fail(lost)
      yield* outcome(end)
      yield* run(sendHalf.end)
      expect([yield* refusal(sendHalf.write([bytes("x")])), events()]).toEqual([endedHere(0), []])
    }))
})

describe("SendHalf.setExpired", () => {
  it.effect("SendHalf fails waiting and later writes with WriteTimeout(written) when expired", () =>
    Effect.gen(function*() {
      const { events, fibers, link, sendHalf, turn } = yield* makeWaiting(4, [bytes("abc")], [bytes("def")])
      turn()
      events()
      sendHalf.grant(10)
      const write = sendHalf.writeNow([bytes("ghi")])!
      events()
      sendHalf.setExpired(true)
      yield* outcome(fibers[0]!)
      expect([yield* failure(fibers[1]!), sendHalf.waiting, events(), turn()]).toEqual([late(1), 0, [], undefined])
      link.isClear = true
      expect([yield* refusal(write), yield* refusal(sendHalf.write([bytes("")]))]).toEqual([late(0), late(0)])
      sendHalf.setExpired(false)
      yield* run(sendHalf.write([bytes("jkl")]))
      expect(events()).toEqual([["now", dat(7, bytes("jkl"))]])
    }))

  it.effect("SendHalf keeps waiting writes when the deadline is moved", () =>
    Effect.gen(function*() {
      const { events, fibers, sendHalf, turn } = yield* makeWaiting(100, [bytes("abc")])
      sendHalf.setExpired(false)
      yield* expectWaiting(...fibers)
      expect([sendHalf.waiting, events(), turn()]).toEqual([3, [], dat(7, bytes("abc"))])
    }))

  it.effect("SendHalf sends a FIN when the writes before it have expired", () =>
    Effect.gen(function*() {
      const { events, fibers: [write], sendHalf, turn } = yield* makeWaiting(0, [bytes("abc")])
      const end = yield* start(sendHalf.end)
      sendHalf.setExpired(true)
      expect([yield* failure(write!), events(), turn()]).toEqual([late(0), ["is scheduled"], fin(7)])
      yield* outcome(end)
      expect(yield* refusal(sendHalf.write([bytes("x")]))).toEqual(endedHere(0))
    }))
})
