import { describe, expect, it } from "@effect/vitest"
import type { Transport } from "effect-wsmux/Transport"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import { SharedBudget } from "../../../../src/internal/budget/sharedBudget.js"
import { Counters } from "../../../../src/internal/observe/counters.js"
import { CongestionController } from "../../../../src/internal/send/congestion.js"
import { type FrameSource, SendScheduler } from "../../../../src/internal/send/sendScheduler.js"
import { RttEstimator } from "../../../../src/internal/time/rtt.js"
import * as Frame from "../../../../src/internal/wire/frame.js"
import { type FrameParts, payloadSize } from "../../../../src/internal/wire/frameParts.js"
import * as Record from "../../../../src/internal/wire/record.js"
import { bytes, concat } from "../../../support/bytes.js"
import { expectWaiting, start } from "../../../support/observe.js"

const kib = 1024

interface Link {
  /** How many more messages the socket takes. */
  takes: number
  /** The largest frame that the controller grants. Undefined where the transport cannot ping. */
  room?: number
  /** Whether the last message can be extended. */
  extends?: boolean
}

/** A scheduler over a link, and the frames that it sends: `5:100` stands for 100 bytes of stream 5. */
const makeScheduler = (link: Link, firstFrame?: Uint8Array) => {
  const sent: Array<string> = []
  const asked: Array<number> = []
  const booked: Array<number> = []
  const rests: Array<number> = []
  const counters = new Counters()
  const transport: Pick<Transport, "pollWritable" | "send" | "extend"> = {
    pollWritable: () => link.takes > 0,
    extend: (parts) => {
      if (link.extends === true) sent.push(`+${concat(parts).byteLength}`)
      return link.extends === true
    },
    send: (parts) => {
      link.takes--
      const frame = Frame.decode(concat(parts))
      if (frame._tag === "Dat") sent.push(`${frame.id}:${frame.payload.byteLength}`)
      else if (frame._tag === "Ack") sent.push(`${frame.id} credit ${frame.credit}`)
      else if (frame._tag !== "Malformed") sent.push(`${frame.id} ${frame._tag}`)
    }
  }
  const congestion: Pick<CongestionController, "reserve" | "onSent"> | undefined = link.room === undefined ?
    undefined :
    {
      reserve: (wanted) => {
        asked.push(wanted)
        return Math.min(wanted, link.room!)
      },
      onSent: (size, _sender, isLarge) => {
        booked.push(size)
        if (isLarge === true && size <= kib) rests.push(size)
      }
    }
  const answers = new SharedBudget(100)
  const scheduler = new SendScheduler(
    transport as Transport,
    4 * kib,
    counters,
    answers.join(),
    firstFrame
  )
  if (congestion !== undefined) scheduler.limitBy(congestion as CongestionController)
  const flush = (takes: number) => {
    link.takes = takes
    scheduler.flush()
    return sent.splice(0)
  }
  return {
    scheduler,
    answers,
    link,
    counters,
    flush,
    sent: () => sent.splice(0),
    asked: () => asked.splice(0),
    booked,
    rests
  }
}

/** A source with `waiting` bytes. An idle source has no frame when its turn comes. */
const makeSource = (id: number, waiting: number, idle = false) => {
  const given: Array<number> = []
  const source: FrameSource & { waiting: number; readonly given: ReadonlyArray<number> } = {
    id,
    queued: false,
    isLarge: false,
    largeSent: 0,
    waiting,
    given,
    hasFrame: () => !idle && source.waiting > 0,
    nextFrame: (maxPayload: number) => {
      given.push(maxPayload)
      if (!source.hasFrame()) return undefined
      const size = Math.min(maxPayload, source.waiting)
      source.waiting -= size
      return [Frame.datHeader(id), new Uint8Array(size)]
    }
  }
  return source
}

describe("SendScheduler", () => {
  it("SendScheduler sends while the transport is writable, and keeps the rest in order", () => {
    const { flush, scheduler, sent } = makeScheduler({ takes: 1 })
    for (const id of [1, 3, 5]) scheduler.sendControl(Frame.fin(id))
    expect([sent(), scheduler.waitingControl]).toEqual([["1 Fin"], 2])
    expect([flush(1), scheduler.waitingControl]).toEqual([["3 Fin"], 1])
    expect([flush(9), scheduler.waitingControl]).toEqual([["5 Fin"], 0])
  })

  it("SendScheduler drops the waiting credit of a stream when the stream is over", () => {
    const { flush, scheduler } = makeScheduler({ takes: 0 })
    scheduler.sendCredit(1, 10)
    scheduler.sendCredit(3, 20)
    scheduler.forgetCredit(1)
    expect(flush(9)).toEqual(["3 credit 20"])
  })

  it("SendScheduler refuses an answer when its share of all waiting answers is taken", () => {
    const { answers, flush, scheduler } = makeScheduler({ takes: 0 })
    for (let i = 0; i < 50; i++) expect(scheduler.sendAnswer(Frame.fin(1))).toBe(true)
    expect([answers.used, answers.join().take(1), scheduler.sendAnswer(Frame.fin(1))]).toEqual([50, true, false])
    flush(60)
    expect([answers.used, scheduler.sendAnswer(Frame.fin(1))]).toEqual([1, true])
    for (let i = 0; i < 9; i++) scheduler.sendAnswer(Frame.fin(1))
    scheduler.clear()
    expect(answers.used).toBe(1)
  })

  it("SendScheduler merges the waiting credit of a stream, up to 2^32-1", () => {
    const { flush, scheduler, sent } = makeScheduler({ takes: 1 })
    scheduler.sendCredit(1, 10)
    scheduler.sendCredit(1, 20)
    scheduler.sendCredit(3, 5)
    scheduler.sendCredit(1, 30)
    expect([sent(), flush(9)]).toEqual([["1 credit 10"], ["1 credit 50", "3 credit 5"]])
    flush(0)
    scheduler.sendCredit(1, Frame.maxUint32)
    scheduler.sendCredit(1, 1)
    expect(flush(9)).toEqual([`1 credit ${Frame.maxUint32}`])
  })

  it("SendScheduler sends control first, then credit, interactive and bulk streams", () => {
    const { flush, scheduler } = makeScheduler({ takes: 0 })
    scheduler.schedule(makeSource(1, 5000))
    scheduler.schedule(makeSource(3, kib))
    scheduler.sendCredit(5, 7)
    scheduler.sendControl(Frame.syn(7))
    expect(flush(9)).toEqual(["7 Syn", "5 credit 7", "3:1024", "1:4096", "1:904"])
  })

  it("SendScheduler sends the waiting frames when credit finds the transport writable", () => {
    const { link, scheduler, sent } = makeScheduler({ takes: 0 })
    scheduler.schedule(makeSource(1, 100))
    link.takes = 9 // the call for the credit consumes the change, so it has to send the rest as well
    scheduler.sendCredit(5, 7)
    expect(sent()).toEqual(["5 credit 7", "1:100"])
  })

  it("SendScheduler gives bulk streams a frame each in turn, and a short rest first", () => {
    const { flush, scheduler } = makeScheduler({ takes: 0 })
    const sources = [makeSource(1, 9000), makeSource(3, 5000), makeSource(5, kib + 1)]
    for (const source of sources) scheduler.schedule(source)
    expect(flush(2)).toEqual(["1:4096", "3:4096"])
    expect(sources.map(({ queued }) => queued)).toEqual([true, true, true])
    expect(flush(1)).toEqual(["3:904"])
    expect(flush(9)).toEqual(["5:1025", "1:4096", "1:808"])
    expect(sources.map(({ queued }) => queued)).toEqual([false, false, false])
  })

  it("SendScheduler sends at most 64 interactive frames between two bulk frames", () => {
    const { flush, scheduler } = makeScheduler({ takes: 0 })
    scheduler.schedule(makeSource(1, 10_000))
    for (let i = 0; i < 100; i++) scheduler.schedule(makeSource(3, 1))
    const out = flush(1000)
    expect([out.indexOf("1:4096"), out.lastIndexOf("1:4096"), out.length]).toEqual([64, 101, 103])
    expect(out.filter((frame) => frame === "3:1")).toHaveLength(100)
  })

  it("SendScheduler sends more than 64 interactive frames when no bulk stream waits", () => {
    const { flush, scheduler } = makeScheduler({ takes: 0 })
    for (let i = 0; i < 100; i++) scheduler.schedule(makeSource(3, 1))
    expect(flush(1000)).toHaveLength(100)
  })

  it("SendScheduler queues a source once when it is scheduled twice", () => {
    const { flush, scheduler } = makeScheduler({ takes: 0 })
    const source = makeSource(1, 10)
    scheduler.schedule(source)
    scheduler.schedule(source)
    expect([source.queued, flush(9), source.given]).toEqual([true, ["1:10"], [kib]])
    source.waiting = 20
    scheduler.schedule(source)
    expect([source.queued, flush(9)]).toEqual([false, ["1:20"]])
  })

  it("SendScheduler skips a source that has no frame when its turn comes", () => {
    const { flush, scheduler } = makeScheduler({ takes: 0 })
    const idle = [makeSource(1, 10, true), makeSource(3, 5000, true)]
    for (const source of [...idle, makeSource(5, 10), makeSource(7, 5000)]) scheduler.schedule(source)
    expect(flush(9)).toEqual(["5:10", "7:4096", "7:904"])
    expect(idle.map(({ queued, given }) => [queued, given])).toEqual([[false, [kib]], [false, [4096]]])
  })

  it("SendScheduler reserves the waiting bytes of a stream, and waits when refused", () => {
    const { asked, booked, flush, link, scheduler, sent } = makeScheduler({ takes: 9, room: 0 })
    const [light, heavy] = [makeSource(1, 10), makeSource(3, 2000)]
    scheduler.schedule(heavy)
    scheduler.schedule(light)
    expect([light.queued, heavy.queued, asked()]).toEqual([true, true, [2000, kib, 2000]])
    scheduler.sendControl(Frame.fin(5))
    expect([sent(), booked]).toEqual([["5 Fin"], []])
    link.room = 1500
    expect([flush(9), booked]).toEqual([["1:10", "3:1500", "3:500"], [10, 1500, 500]])
  })

  it("SendScheduler reserves at most a frame, and at least 1 byte for a FIN", () => {
    const { asked, flush, scheduler } = makeScheduler({ takes: 0, room: 10_000 })
    scheduler.schedule(makeSource(1, 10_000))
    flush(1)
    expect(asked()).toEqual([4 * kib])
    const empty = makeSource(3, 2000)
    scheduler.schedule(empty)
    empty.waiting = 0
    flush(9)
    expect([asked().includes(1), empty.given]).toEqual([true, [1]])
  })

  it("SendScheduler counts every frame, and books payload only", () => {
    const { counters, booked, scheduler, sent } = makeScheduler({ takes: 9, room: 10_000 })
    expect(scheduler.trySend(makeSource(1, 0), [bytes("abc"), bytes("de")], 5)).toBe(true)
    scheduler.sendCredit(1, 5)
    scheduler.sendControl(Frame.fin(1))
    scheduler.sendControl(Record.encodeStop(1, 0))
    const record = `${Record.reservedId}:9`
    expect([sent(), booked]).toEqual([["1:5", "1 credit 5", "1 Fin", record], [5]])
    expect([counters.framesOut, counters.bytesOut]).toEqual([{ dat: 1, syn: 0, ack: 1, fin: 1, record: 1 }, 5])
  })

  it("SendScheduler sends its first frame ahead of all others, once a frame or a flush follows", () => {
    const { flush, scheduler, sent } = makeScheduler({ takes: 9 }, Frame.syn(1))
    expect(sent()).toEqual([])
    scheduler.sendCredit(3, 5)
    expect(sent()).toEqual(["1 Syn", "3 credit 5"])
    expect(makeScheduler({ takes: 9 }, Frame.syn(1)).flush(9)).toEqual(["1 Syn"])
    expect(flush(9)).toEqual([])
  })
})

describe("SendScheduler and CongestionController", () => {
  it("SendScheduler books the rest of a large write as large, and the next small write as small", () => {
    const { booked, flush, rests, scheduler } = makeScheduler({ takes: 0, room: 4 * kib })
    const source = makeSource(1, 4 * kib + 100)
    const write = (size: number) => {
      source.waiting = size
      scheduler.schedule(source)
      flush(9)
      return [booked.splice(0), rests.splice(0)]
    }
    expect([write(4 * kib + 100), write(100)]).toEqual([[[4096, 100], [100]], [[100], []]])
  })

  it("SendScheduler returns to the whole window when writes that are cut leave small rests", () => {
    let now = 0
    let linkFreeAt = 0
    const answers: Array<{ readonly at: number; readonly answer: () => void }> = []
    const rtt = new RttEstimator({
      now: () => now,
      ping: (answer) => answers.push({ at: Math.max(linkFreeAt, now) + 0.1, answer })
    })
    const congestion: CongestionController = new CongestionController(rtt, {
      onFull: () => {},
      onBlind: () => {},
      onRoom: () => scheduler.flush()
    })
    rtt.record(0.1)
    const transport: Pick<Transport, "pollWritable" | "send"> = {
      pollWritable: () => true,
      send: (parts) => {
        linkFreeAt = Math.max(linkFreeAt, now) + payloadSize(parts as FrameParts) / 300_000
      }
    }
    const scheduler: SendScheduler = new SendScheduler(
      transport as Transport,
      64 * kib,
      new Counters(),
      new SharedBudget(100).join(),
      undefined
    )
    scheduler.limitBy(congestion)
    const chunk = 3 * 16 * kib + 500 // leaves 500 bytes where frames have 16 KiB
    const sources = Array.from({ length: 16 }, (_, id) => {
      const source = makeSource(id, chunk)
      const { nextFrame } = source
      return Object.assign(source, {
        nextFrame: (maxPayload: number) => {
          const frame = nextFrame(maxPayload)
          if (source.waiting === 0) source.waiting = chunk
          return frame
        }
      })
    })
    const run = (millis: number) => {
      const end = now + millis
      for (let next = answers.shift(); next !== undefined; next = answers.shift()) {
        if (next.at > end) {
          answers.unshift(next)
          break
        }
        now = next.at
        next.answer()
      }
      now = end
    }
    for (const source of sources) scheduler.schedule(source)
    run(300)
    const before = congestion.inFlight
    scheduler.schedule(makeSource(99, 64)) // a key stroke
    run(50)
    const during = congestion.inFlight
    run(200)
    expect(before).toBeGreaterThan(512 * kib)
    expect(during).toBeLessThan(128 * kib)
    expect(congestion.inFlight).toBeGreaterThan(512 * kib)
  })
})

describe("SendScheduler.trySend", () => {
  it("SendScheduler trySend sends when transport and controller take the whole frame", () => {
    const trySend = (size: number, link: Link) => {
      const { booked, scheduler, sent } = makeScheduler(link)
      return [scheduler.trySend(makeSource(7, 0), [new Uint8Array(size)], size), sent(), booked]
    }
    expect(trySend(4096, { takes: 1 })).toEqual([true, ["7:4096"], []])
    expect(trySend(4097, { takes: 1 })).toEqual([false, [], []])
    expect(trySend(1, { takes: 0 })).toEqual([false, [], []])
    expect(trySend(10, { takes: 1, room: 10 })).toEqual([true, ["7:10"], [10]])
    expect(trySend(11, { takes: 1, room: 10 })).toEqual([false, [], []])
  })

  it("SendScheduler trySend extends the last frame when it is of the same stream and has room", () => {
    const { booked, counters, scheduler, sent } = makeScheduler({ takes: 99, room: 4096, extends: true })
    const [seven, nine] = [makeSource(7, 0), makeSource(9, 0)]
    const trySend = (source: FrameSource, size: number) => {
      scheduler.trySend(source, [new Uint8Array(size)], size)
      return sent()
    }
    expect(trySend(seven, 1000)).toEqual(["7:1000"])
    expect(trySend(seven, 3000)).toEqual(["+3000"])
    expect(trySend(seven, 96)).toEqual(["+96"])
    expect(trySend(seven, 1)).toEqual(["7:1"]) // the frame is as large as frames may be
    expect(trySend(nine, 1)).toEqual(["9:1"])
    scheduler.sendCredit(3, 10)
    expect(sent()).toEqual(["3 credit 10"])
    expect(trySend(nine, 1)).toEqual(["9:1"])
    expect(booked).toEqual([1000, 3000, 96, 1, 1, 1])
    expect([counters.framesOut.dat, counters.bytesOut]).toEqual([4, 4099])
  })

  it("SendScheduler trySend sends a frame of its own when the last frame has left", () => {
    const { scheduler, sent } = makeScheduler({ takes: 99, extends: false })
    const source = makeSource(7, 0)
    for (let i = 0; i < 2; i++) scheduler.trySend(source, [bytes("a")], 1)
    expect(sent()).toEqual(["7:1", "7:1"])
  })

  it("SendScheduler trySend refuses when a frame of any kind waits", () => {
    const waits: ReadonlyArray<(scheduler: SendScheduler) => void> = [
      (scheduler) => scheduler.sendControl(Frame.fin(1)),
      (scheduler) => scheduler.sendCredit(1, 1),
      (scheduler) => scheduler.schedule(makeSource(1, 1)),
      (scheduler) => scheduler.schedule(makeSource(1, 5000))
    ]
    for (const wait of waits) {
      const { flush, link, scheduler, sent } = makeScheduler({ takes: 0 })
      wait(scheduler)
      link.takes = 9
      expect(scheduler.trySend(makeSource(7, 0), [bytes("a")], 1)).toBe(false)
      expect(flush(9)).not.toContain("7:1")
      link.takes = 1
      expect([scheduler.trySend(makeSource(7, 0), [bytes("a")], 1), sent()]).toEqual([true, ["7:1"]])
    }
  })

  it.effect("SendScheduler awaitEmpty completes when every frame has been sent", () =>
    Effect.gen(function*() {
      const { flush, scheduler } = makeScheduler({ takes: 0 })
      yield* scheduler.awaitEmpty
      scheduler.sendControl(Frame.fin(1))
      scheduler.sendControl(Frame.fin(3))
      const empty = yield* start(scheduler.awaitEmpty)
      flush(1)
      yield* expectWaiting(empty)
      flush(1)
      yield* expectWaiting(empty) // the transport has no room, so flush could not see that all is sent
      flush(1)
      expect(yield* empty.await).toEqual(Exit.void)
    }))
})

describe("SendScheduler.clear", () => {
  it.effect("SendScheduler clear drops all waiting frames and completes awaitEmpty", () =>
    Effect.gen(function*() {
      const { flush, scheduler } = makeScheduler({ takes: 0 })
      const sources = [makeSource(1, 10), makeSource(3, 5000)]
      for (const source of sources) scheduler.schedule(source)
      scheduler.sendControl(Frame.fin(5))
      scheduler.sendCredit(5, 1)
      const empty = yield* start(scheduler.awaitEmpty)
      scheduler.clear()
      expect(yield* empty.await).toEqual(Exit.void)
      expect([sources.map(({ queued }) => queued), scheduler.waitingControl, flush(9)]).toEqual([[false, false], 0, []])
    }))

  it("SendScheduler sends nothing after clear", () => {
    const { flush, link, scheduler, sent } = makeScheduler({ takes: 0 })
    scheduler.clear()
    const source = makeSource(1, 10)
    link.takes = 9
    scheduler.schedule(source)
    scheduler.sendControl(Frame.fin(5))
    scheduler.sendCredit(5, 1)
    expect([source.queued, scheduler.waitingControl, scheduler.trySend(makeSource(7, 0), [bytes("a")], 1)]).toEqual([
      false,
      0,
      false
    ])
    expect([sent(), flush(9)]).toEqual([[], []])
  })
})
