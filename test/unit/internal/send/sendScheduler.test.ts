import { describe, expect, it } from "@effect/vitest"
import type { Transport } from "effect-wsmux/Transport"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import { SharedBudget } from "../../../../src/internal/memory/sharedBudget.js"
import { Counters } from "../../../../src/internal/observe/counters.js"
import type { CongestionController } from "../../../../src/internal/send/congestion.js"
import { type FrameSource, SendScheduler } from "../../../../src/internal/send/sendScheduler.js"
import * as Frame from "../../../../src/internal/wire/frame.js"
import { bytes, concat } from "../../../support/bytes.js"
import { expectWaiting, start } from "../../../support/observe.js"

const kib = 1024

interface Link {
  /** How many more messages the socket takes. */
  takes: number
  /** The largest frame that the flight has room for; without one, the link cannot be measured. */
  room?: number
}

/** An outbox over a link, and what it hands over: `5:100` are 100 bytes of stream 5. */
const makeOutbox = (link: Link) => {
  const sent: Array<string> = []
  const asked: Array<number> = []
  const flown: Array<number> = []
  const counters = new Counters()
  const transport: Pick<Transport, "pollWritable" | "send"> = {
    pollWritable: () => link.takes > 0,
    send: (parts) => {
      link.takes--
      const frame = Frame.decode(concat(parts))
      if (frame._tag === "Dat") sent.push(`${frame.id}:${frame.payload.byteLength}`)
      else if (frame._tag === "Ack") sent.push(`${frame.id} credit ${frame.credit}`)
      else if (frame._tag !== "Malformed") sent.push(`${frame.id} ${frame._tag}`)
    }
  }
  const flight: Pick<CongestionController, "reserve" | "onSent"> | undefined = link.room === undefined ? undefined : {
    reserve: (wanted) => {
      asked.push(wanted)
      return Math.min(wanted, link.room!)
    },
    onSent: (size) => flown.push(size)
  }
  const answers = new SharedBudget(100)
  const outbox = new SendScheduler(
    transport as Transport,
    4 * kib,
    counters,
    flight as CongestionController | undefined,
    answers.join()
  )
  const flush = (takes: number) => {
    link.takes = takes
    outbox.flush()
    return sent.splice(0)
  }
  return { outbox, answers, link, counters, flush, sent: () => sent.splice(0), asked: () => asked.splice(0), flown }
}

/** A stream with so many bytes to send; or one that has nothing when its turn comes. */
const makeSender = (id: number, waiting: number, idle = false) => {
  const given: Array<number> = []
  const sender: FrameSource & { waiting: number; readonly given: ReadonlyArray<number> } = {
    queued: false,
    waiting,
    given,
    hasFrame: () => !idle && sender.waiting > 0,
    nextFrame: (maxPayload: number) => {
      given.push(maxPayload)
      if (!sender.hasFrame()) return undefined
      const size = Math.min(maxPayload, sender.waiting)
      sender.waiting -= size
      return [Frame.datHeader(id), new Uint8Array(size)]
    }
  }
  return sender
}

describe("an outbox", () => {
  it("hands over at once while the socket takes it, and keeps the rest in order", () => {
    const { flush, outbox, sent } = makeOutbox({ takes: 1 })
    for (const id of [1, 3, 5]) outbox.sendControl(Frame.fin(id))
    expect([sent(), outbox.waitingControl]).toEqual([["1 Fin"], 2])
    expect([flush(1), outbox.waitingControl]).toEqual([["3 Fin"], 1])
    expect([flush(9), outbox.waitingControl]).toEqual([["5 Fin"], 0])
  })

  it("Outbox drops the credit that waits for a stream when the stream is over", () => {
    const { flush, outbox } = makeOutbox({ takes: 0 })
    outbox.sendCredit(1, 10)
    outbox.sendCredit(3, 20)
    outbox.forgetCredit(1)
    expect(flush(9)).toEqual(["3 credit 20"])
  })

  it("Outbox refuses an answer when its share of all waiting answers is taken", () => {
    const { answers, flush, outbox } = makeOutbox({ takes: 0 })
    for (let i = 0; i < 50; i++) expect(outbox.sendAnswer(Frame.fin(1))).toBe(true)
    expect([answers.used, answers.join().take(1), outbox.sendAnswer(Frame.fin(1))]).toEqual([50, true, false])
    flush(60)
    expect([answers.used, outbox.sendAnswer(Frame.fin(1))]).toEqual([1, true])
    for (let i = 0; i < 9; i++) outbox.sendAnswer(Frame.fin(1))
    outbox.clear()
    expect(answers.used).toBe(1)
  })

  it("merges the credit of a stream that waits, up to what a frame can tell", () => {
    const { flush, outbox, sent } = makeOutbox({ takes: 1 })
    outbox.sendCredit(1, 10)
    outbox.sendCredit(1, 20)
    outbox.sendCredit(3, 5)
    outbox.sendCredit(1, 30)
    expect([sent(), flush(9)]).toEqual([["1 credit 10"], ["1 credit 50", "3 credit 5"]])
    flush(0)
    outbox.sendCredit(1, Frame.maxUint32)
    outbox.sendCredit(1, 1)
    expect(flush(9)).toEqual([`1 credit ${Frame.maxUint32}`])
  })

  it("sends control first, then credit, then little, then much", () => {
    const { flush, outbox } = makeOutbox({ takes: 0 })
    outbox.schedule(makeSender(1, 5000))
    outbox.schedule(makeSender(3, kib))
    outbox.sendCredit(5, 7)
    outbox.sendControl(Frame.syn(7))
    expect(flush(9)).toEqual(["7 Syn", "5 credit 7", "3:1024", "1:4096", "1:904"])
  })

  it("sends what waits behind the credit that finds the socket writable again", () => {
    const { link, outbox, sent } = makeOutbox({ takes: 0 })
    outbox.schedule(makeSender(1, 100))
    link.takes = 9 // once it has said so to the credit, nobody else may hear of it
    outbox.sendCredit(5, 7)
    expect(sent()).toEqual(["5 credit 7", "1:100"])
  })

  it("gives those with much a frame each in turn, and the rest of one that has little left goes first", () => {
    const { flush, outbox } = makeOutbox({ takes: 0 })
    const senders = [makeSender(1, 9000), makeSender(3, 5000), makeSender(5, kib + 1)]
    for (const sender of senders) outbox.schedule(sender)
    expect(flush(2)).toEqual(["1:4096", "3:4096"])
    expect(senders.map(({ queued }) => queued)).toEqual([true, true, true])
    expect(flush(1)).toEqual(["3:904"])
    expect(flush(9)).toEqual(["5:1025", "1:4096", "1:808"])
    expect(senders.map(({ queued }) => queued)).toEqual([false, false, false])
  })

  it("lets 64 small frames pass those with much, and no more before one of these", () => {
    const { flush, outbox } = makeOutbox({ takes: 0 })
    outbox.schedule(makeSender(1, 10_000))
    for (let i = 0; i < 100; i++) outbox.schedule(makeSender(3, 1))
    const out = flush(1000)
    expect([out.indexOf("1:4096"), out.lastIndexOf("1:4096"), out.length]).toEqual([64, 101, 103])
    expect(out.filter((frame) => frame === "3:1")).toHaveLength(100)
  })

  it("lets small frames pass on where nobody has much", () => {
    const { flush, outbox } = makeOutbox({ takes: 0 })
    for (let i = 0; i < 100; i++) outbox.schedule(makeSender(3, 1))
    expect(flush(1000)).toHaveLength(100)
  })

  it("queues a sender once, however often it asks", () => {
    const { flush, outbox } = makeOutbox({ takes: 0 })
    const sender = makeSender(1, 10)
    outbox.schedule(sender)
    outbox.schedule(sender)
    expect([sender.queued, flush(9), sender.given]).toEqual([true, ["1:10"], [kib]])
    sender.waiting = 20
    outbox.schedule(sender)
    expect([sender.queued, flush(9)]).toEqual([false, ["1:20"]])
  })

  it("passes over those that have nothing when their turn comes", () => {
    const { flush, outbox } = makeOutbox({ takes: 0 })
    const idle = [makeSender(1, 10, true), makeSender(3, 5000, true)]
    for (const sender of [...idle, makeSender(5, 10), makeSender(7, 5000)]) outbox.schedule(sender)
    expect(flush(9)).toEqual(["5:10", "7:4096", "7:904"])
    expect(idle.map(({ queued, given }) => [queued, given])).toEqual([[false, [kib]], [false, [4096]]])
  })

  it("asks the flight for what a stream has, and waits while there is no room", () => {
    const { asked, flown, flush, link, outbox, sent } = makeOutbox({ takes: 9, room: 0 })
    const [light, heavy] = [makeSender(1, 10), makeSender(3, 2000)]
    outbox.schedule(heavy)
    outbox.schedule(light)
    expect([light.queued, heavy.queued, asked()]).toEqual([true, true, [2000, kib, 2000]])
    outbox.sendControl(Frame.fin(5))
    expect([sent(), flown]).toEqual([["5 Fin"], []])
    link.room = 1500
    expect([flush(9), flown]).toEqual([["1:10", "3:1500", "3:500"], [10, 1500, 500]])
  })

  it("asks the flight for no more than a frame may hold, and for something where only a FIN waits", () => {
    const { asked, flush, outbox } = makeOutbox({ takes: 0, room: 10_000 })
    outbox.schedule(makeSender(1, 10_000))
    flush(1)
    expect(asked()).toEqual([4 * kib])
    const empty = makeSender(3, 2000)
    outbox.schedule(empty)
    empty.waiting = 0
    flush(9)
    expect([asked().includes(1), empty.given]).toEqual([true, [1]])
  })

  it("counts what it hands over, and tells the flight of payload alone", () => {
    const { counters, flown, outbox, sent } = makeOutbox({ takes: 9, room: 10_000 })
    outbox.sendNow([Frame.datHeader(1), bytes("abc"), bytes("de")])
    outbox.sendCredit(1, 5)
    outbox.sendControl(Frame.fin(1))
    expect([sent(), flown]).toEqual([["1:5", "1 credit 5", "1 Fin"], [5]])
    expect([counters.framesOut, counters.bytesOut]).toEqual([{ dat: 1, syn: 0, ack: 1, fin: 1 }, 5])
  })
})

describe("the way of an outbox", () => {
  it("is clear while nobody waits, and the socket and the flight have room for all of it", () => {
    const clear = (size: number, link: Link) => makeOutbox(link).outbox.isClear(size)
    expect([clear(4096, { takes: 1 }), clear(4097, { takes: 1 }), clear(1, { takes: 0 })]).toEqual([true, false, false])
    expect([clear(10, { takes: 1, room: 10 }), clear(11, { takes: 1, room: 10 })]).toEqual([true, false])
  })

  it("is not clear while anything waits, of whatever kind", () => {
    const waits: ReadonlyArray<(outbox: SendScheduler) => void> = [
      (outbox) => outbox.sendControl(Frame.fin(1)),
      (outbox) => outbox.sendCredit(1, 1),
      (outbox) => outbox.schedule(makeSender(1, 1)),
      (outbox) => outbox.schedule(makeSender(1, 5000))
    ]
    for (const wait of waits) {
      const { flush, link, outbox } = makeOutbox({ takes: 0 })
      wait(outbox)
      link.takes = 9
      expect(outbox.isClear(1)).toBe(false)
      flush(9)
      expect(outbox.isClear(1)).toBe(true)
    }
  })

  it.effect("is awaited until all has been handed over", () =>
    Effect.gen(function*() {
      const { flush, outbox } = makeOutbox({ takes: 0 })
      yield* outbox.awaitEmpty
      outbox.sendControl(Frame.fin(1))
      outbox.sendControl(Frame.fin(3))
      const empty = yield* start(outbox.awaitEmpty)
      flush(1)
      yield* expectWaiting(empty)
      flush(1)
      yield* expectWaiting(empty) // the socket is full, and nobody has looked since
      flush(1)
      expect(yield* empty.await).toEqual(Exit.void)
    }))
})

describe("an outbox whose transport is gone", () => {
  it.effect("forgets what waits, and lets nobody wait", () =>
    Effect.gen(function*() {
      const { flush, outbox } = makeOutbox({ takes: 0 })
      const senders = [makeSender(1, 10), makeSender(3, 5000)]
      for (const sender of senders) outbox.schedule(sender)
      outbox.sendControl(Frame.fin(5))
      outbox.sendCredit(5, 1)
      const empty = yield* start(outbox.awaitEmpty)
      outbox.clear()
      expect(yield* empty.await).toEqual(Exit.void)
      expect([senders.map(({ queued }) => queued), outbox.waitingControl, flush(9)]).toEqual([[false, false], 0, []])
    }))

  it("takes nothing any more", () => {
    const { flush, link, outbox, sent } = makeOutbox({ takes: 0 })
    outbox.clear()
    const sender = makeSender(1, 10)
    link.takes = 9
    outbox.schedule(sender)
    outbox.sendControl(Frame.fin(5))
    outbox.sendCredit(5, 1)
    expect([sender.queued, outbox.waitingControl, outbox.isClear(1), sent(), flush(9)]).toEqual([
      false,
      0,
      true,
      [],
      []
    ])
  })
})
