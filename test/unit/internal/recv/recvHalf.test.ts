import { describe, expect, it } from "@effect/vitest"
import { BrokenPipe, NoCapacity, ReadTimeout, TransportFailure } from "effect-wsmux/WsmuxError"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Scheduler from "effect/Scheduler"
import * as Stream from "effect/Stream"
import { RecvHalf } from "../../../../src/internal/recv/recvHalf.js"
import type { WindowTuner } from "../../../../src/internal/recv/windowTuner.js"
import { pattern } from "../../../support/bytes.js"
import { settle } from "../../../support/sessions.js"

/**
 * Memory with `spare` bytes left. The stream has booked `booked` bytes, and its window has grown by `growth` bytes.
 */
const makeMemory = (window: number, spare = Infinity) => {
  const memory = {
    booked: window,
    growth: 0,
    bookSurplus: (bytes: number) => {
      const surplus = Math.min(bytes, spare)
      memory.booked += surplus
      return surplus
    },
    bookGrowth: (bytes: number) => {
      if (bytes > spare) return false
      memory.growth += bytes
      return true
    },
    giveBack: (window: number, growth: number) => {
      memory.booked -= window
      memory.growth -= growth
    }
  }
  return memory
}

type Tuner = Pick<WindowTuner, "growth" | "now" | "release">

/** The receive half of stream 7 without a session, and the credit that it returns. */
const makeRecvHalf = (size: number, granted: number, tuner?: Tuner, spare?: number) => {
  const credits: Array<readonly [id: number, bytes: number]> = []
  const memory = makeMemory(size, spare)
  const recvHalf = new RecvHalf(7, size, {
    scheduler: { sendCredit: (id, bytes) => credits.push([id, bytes]) },
    tuner: tuner as WindowTuner | undefined,
    memory
  })
  const believed = recvHalf.open(size, granted)
  return {
    recvHalf,
    memory,
    believed,
    credits: () => credits.splice(0).map(([id, bytes]) => id === 7 ? bytes : `${bytes} to ${id}`)
  }
}

/** Reads once. Returns the number of bytes, the error, "no more" at the end, or "waits". */
const read = (recvHalf: RecvHalf) => {
  const exit = Effect.runSyncExit(Effect.either(recvHalf.read))
  if (Exit.isFailure(exit)) return "waits"
  if (Either.isLeft(exit.value)) return exit.value.left
  return Option.match(exit.value.right, { onNone: () => "no more", onSome: ({ byteLength }) => byteLength })
}

const lost = new TransportFailure({ code: 1006, reason: "" })
const overrun = new NoCapacity({ streamId: 7 })
const left = new BrokenPipe({ streamId: 7, operation: "read", reason: "StreamEnded", written: 0 })
const broken = new BrokenPipe({ streamId: 7, operation: "read", reason: "SessionEnded", written: 0, cause: lost })

describe("RecvHalf", () => {
  it("RecvHalf.open grants the difference when the peer has less credit than the window", () => {
    expect([makeRecvHalf(100, 30), makeRecvHalf(100, 100), makeRecvHalf(100, 250)].map(({ credits }) => credits()))
      .toEqual([[70], [], []])
  })

  it("RecvHalf stores no bytes before it is open", () => {
    const recvHalf = new RecvHalf(7, 0, {
      scheduler: { sendCredit: () => {} },
      tuner: undefined,
      memory: makeMemory(0)
    })
    expect([recvHalf.granted, recvHalf.receive(pattern(1)), read(recvHalf)]).toEqual([0, "Overrun", overrun])
  })

  it("RecvHalf returns credit for bytes that are read before the end or a failure only", () => {
    for (const [finish, then] of [["", "waits"], ["end", "no more"], ["fail", broken], ["overrun", overrun]] as const) {
      const { credits, recvHalf } = makeRecvHalf(100, 100)
      expect(recvHalf.receive(pattern(60))).toBe("Taken")
      if (finish === "end") recvHalf.end()
      if (finish === "fail") recvHalf.fail(lost)
      if (finish === "overrun") expect(recvHalf.receive(pattern(41))).toBe("Overrun")
      expect([read(recvHalf), credits()]).toEqual([60, finish === "" ? [60] : []])
      if (finish === "overrun") expect([read(recvHalf), credits()]).toEqual([40, []])
      expect([read(recvHalf), recvHalf.buffered]).toEqual([then, 0])
    }
  })

  it("RecvHalf keeps only unread bytes booked when no more bytes can arrive", () => {
    for (const finish of ["end", "fail", "overrun"] as const) {
      const { recvHalf, memory } = makeRecvHalf(100, 100)
      recvHalf.receive(pattern(60))
      expect([finish, read(recvHalf), memory.booked]).toEqual([finish, 60, 100]) // more bytes may arrive
      recvHalf.receive(pattern(60))
      if (finish === "end") recvHalf.end()
      if (finish === "fail") recvHalf.fail(lost)
      if (finish === "overrun") recvHalf.receive(pattern(41)) // 40 of these fit
      const unread = finish === "overrun" ? 100 : 60
      expect([finish, memory.booked, read(recvHalf), memory.booked]).toEqual([finish, unread, 60, unread - 60])
    }
  })

  it("RecvHalf keeps no bytes booked when it is abandoned while the peer may still send", () => {
    const { recvHalf, memory } = makeRecvHalf(100, 300)
    recvHalf.receive(pattern(60))
    expect(memory.booked).toBe(300)
    recvHalf.abandon(1000)
    recvHalf.receive(pattern(40))
    expect([memory.booked, recvHalf.buffered]).toEqual([0, 0])
  })

  it("RecvHalf holds the window that the peer assumes only up to the spare memory", () => {
    const { believed, recvHalf, memory } = makeRecvHalf(100, 300, undefined, 50)
    expect([believed, memory.booked, recvHalf.receive(pattern(151)), recvHalf.buffered]).toEqual([
      150,
      150,
      "Overrun",
      150
    ])
  })

  it("RecvHalf keeps its window and returns the growth when memory is short", () => {
    const released: Array<number> = []
    const tuner = { now: () => 0, growth: () => 100, release: (bytes: number) => released.push(bytes) }
    const { credits, recvHalf, memory } = makeRecvHalf(100, 100, tuner, 99)
    recvHalf.receive(pattern(100))
    expect([read(recvHalf), credits(), memory.growth, released]).toEqual([100, [100], 0, [100]])
  })

  it("RecvHalf keeps the first event that stopped it", () => {
    const after = (...events: ReadonlyArray<"end" | "fail" | "overrun" | "leave">) => {
      const { recvHalf } = makeRecvHalf(10, 10)
      for (const event of events) {
        if (event === "end") recvHalf.end()
        else if (event === "fail") recvHalf.fail(lost)
        else if (event === "leave") recvHalf.abandon(100)
        else recvHalf.receive(pattern(11))
      }
      const first = read(recvHalf)
      return typeof first === "number" ? read(recvHalf) : first
    }
    expect([after("end", "fail"), after("fail", "end"), after("overrun", "end"), after("overrun", "fail")])
      .toEqual(["no more", broken, overrun, overrun])
    expect([after("leave"), after("leave", "end"), after("leave", "fail"), after("overrun", "leave")])
      .toEqual([left, left, left, left])
    // No unread byte is lost at this point.
    expect([after("end", "leave"), after("fail", "leave")]).toEqual(["no more", broken])
  })

  it("RecvHalf.abandon hides the end and the cause when unread bytes are lost", () => {
    for (const finish of ["end", "fail"] as const) {
      const { recvHalf } = makeRecvHalf(100, 100)
      recvHalf.receive(pattern(1))
      if (finish === "end") recvHalf.end()
      else recvHalf.fail(lost)
      expect([recvHalf.abandon(0), recvHalf.buffered, read(recvHalf)]).toEqual([true, 0, left])
    }
  })

  it("RecvHalf.abandon discards bytes up to its limit, and returns their credit", () => {
    const { credits, recvHalf } = makeRecvHalf(100, 100)
    expect([recvHalf.abandon(150), recvHalf.receive(pattern(100)), credits()]).toEqual([true, "Taken", [100]])
    expect([recvHalf.receive(pattern(49)), credits()]).toEqual(["Taken", []])
    expect([recvHalf.receive(pattern(1)), credits()]).toEqual(["Taken", [50]])
    expect([recvHalf.receive(pattern(99)), credits()]).toEqual(["BudgetSpent", []])
  })

  it("RecvHalf.abandon counts unread bytes against its limit", () => {
    for (const [budget, kept] of [[60, true], [59, false]] as const) {
      const { credits, recvHalf } = makeRecvHalf(100, 100)
      recvHalf.receive(pattern(60))
      expect([recvHalf.abandon(budget), credits()]).toEqual([kept, kept ? [60] : []])
    }
  })

  it("RecvHalf.abandon returns the credit of all bytes when it follows an overrun", () => {
    const { credits, recvHalf } = makeRecvHalf(100, 100)
    recvHalf.receive(pattern(101))
    expect([recvHalf.abandon(1000), credits()]).toEqual([true, [100]])
    expect([recvHalf.receive(pattern(50)), credits()]).toEqual(["Taken", [50]])
  })

  it("RecvHalf drops bytes that arrive after a failure", () => {
    const { credits, recvHalf } = makeRecvHalf(100, 100)
    recvHalf.fail(lost)
    expect([recvHalf.receive(pattern(10)), recvHalf.receive(pattern(1000))]).toEqual(["Taken", "Taken"])
    expect([recvHalf.buffered, read(recvHalf), credits()]).toEqual([0, broken, []])
  })

  it("RecvHalf fails reads with ReadTimeout while its deadline has passed and it is empty", () => {
    const { recvHalf } = makeRecvHalf(100, 100)
    recvHalf.receive(pattern(1))
    recvHalf.setExpired(true)
    expect([read(recvHalf), read(recvHalf)]).toEqual([1, new ReadTimeout({ streamId: 7 })])
    recvHalf.setExpired(false)
    expect(read(recvHalf)).toBe("waits")
    recvHalf.setExpired(true)
    recvHalf.end()
    expect(read(recvHalf)).toBe("no more")
  })

  it("RecvHalf asks its tuner for growth when it returns credit", () => {
    const asked: Array<readonly [window: number, read: number, elapsed: number]> = []
    let now = 1000
    const growths = [100, 0]
    const released: Array<number> = []
    const { credits, recvHalf, memory } = makeRecvHalf(100, 100, {
      now: () => now,
      growth: (window, read, elapsed) => {
        asked.push([window, read, elapsed])
        return growths.shift() ?? 50
      },
      release: (bytes) => released.push(bytes)
    })
    const turn = (bytes: number) => {
      recvHalf.receive(pattern(bytes))
      now += 5
      return [read(recvHalf), credits(), memory.growth]
    }
    expect([turn(49), turn(1), turn(10)]).toEqual([[49, [], 0], [1, [150], 100], [10, [], 100]])
    expect([turn(90), turn(100)]).toEqual([[90, [100], 100], [100, [150], 150]])
    expect(asked).toEqual([[100, 50, 10], [200, 100, 10], [200, 100, 5]])
    recvHalf.end()
    expect([released, memory]).toMatchObject([[150], { booked: 0, growth: 0 }])
  })

  it.effect("RecvHalf.chunks takes no step while it waits", () =>
    Effect.gen(function*() {
      const { recvHalf } = makeRecvHalf(100, 100)
      let steps = 0
      const scheduler = Scheduler.make(
        (task, priority, fiber) => Scheduler.defaultScheduler.scheduleTask(task, priority, fiber),
        (fiber) => {
          steps++
          return Scheduler.defaultScheduler.shouldYield(fiber)
        }
      )
      const reader = Effect.runFork(Stream.runCollect(Stream.fromChannel(recvHalf.chunks)), { scheduler })
      yield* settle
      const before = steps
      yield* settle
      expect([steps - before, before > 0]).toEqual([0, true])
      recvHalf.receive(pattern(5))
      recvHalf.end()
      expect([...yield* Fiber.join(reader)]).toEqual([pattern(5)])
    }))
})
