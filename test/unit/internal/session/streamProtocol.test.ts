import { describe, expect, it } from "@effect/vitest"
import { BrokenPipe, NoCapacity, StreamReset, TransportFailure } from "effect-wsmux/WsmuxError"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { type Beginning, StreamProtocol } from "../../../../src/internal/session/streamProtocol.js"
import * as Frame from "../../../../src/internal/wire/frame.js"
import { bytes, concat, pattern } from "../../../support/bytes.js"
import { decodeMessage, reset, stop } from "../../../support/records.js"
import { dat, fin } from "../../../support/scriptedPeer.js"

/** How a stream of a peer that speaks the dialect differs. */
type Native = Partial<Pick<Beginning, "heldCredit" | "earlyWindow">>

/**
 * A stream without a session, and its frames and callbacks. While the link is stuck, frames wait for `send`. The peer
 * speaks the dialect where `native` is given.
 */
const makeStream = (state: "Opening" | "AwaitingAccept", window = 100, credit = 0, native?: Native) => {
  const events: Array<unknown> = []
  const link = { isStuck: false }
  /** The bytes that are booked for the stream. */
  let booked = window
  const send = () => {
    for (let frame = stream.sendHalf.nextFrame(1000); frame !== undefined; frame = stream.sendHalf.nextFrame(1000)) {
      events.push(Frame.decode(concat(frame)))
    }
  }
  const beginning = { id: 7, state, window, credit, label: "", metadata: {}, ...native }
  const stream: StreamProtocol = new StreamProtocol(beginning, {
    dialect: { has: () => native !== undefined },
    maxPeerWindow: 300,
    discardLimit: 50,
    tuner: undefined,
    memory: {
      bookSurplus: (bytes) => bytes,
      bookGrowth: () => true,
      giveBack: (window, growth) => booked -= window + growth
    },
    scheduler: {
      sendCredit: (id, bytes) => events.push(`credit for ${id}: ${bytes}`),
      schedule: () => {
        if (!link.isStuck) send()
      },
      trySend: ({ id }, payload) => {
        if (!link.isStuck) events.push(Frame.decode(concat([Frame.datHeader(id), ...payload])))
        return !link.isStuck
      },
      sendControl: (frame) => events.push(decodeMessage(frame))
    },
    stalled: () => {},
    over: (over) => events.push(over === stream ? "over" : "another is over")
  })
  return { stream, link, send, events: () => events.splice(0), booked: () => booked }
}

/** A stream of the peer after its acceptance. */
const makeAccepted = (window?: number, credit?: number, native?: Native) => {
  const made = makeStream("AwaitingAccept", window, credit, native)
  made.stream.accept((granted) => expect(granted).toBe((window ?? 100) - (native?.earlyWindow ?? 0)))
  return made
}

const lost = new TransportFailure({ code: 1006, reason: "" })
const read = (stream: StreamProtocol) => Effect.runSync(Effect.either(stream.recvHalf.read))

describe("StreamProtocol", () => {
  it("StreamProtocol opens with its window granted when it accepts the peer's stream", () => {
    const { events, stream } = makeStream("AwaitingAccept", 100, 30)
    expect([stream.state, stream.recvHalf.granted]).toEqual(["AwaitingAccept", 0])
    stream.accept((granted) => expect(granted).toBe(100))
    expect([stream.snapshot(), events()]).toEqual([
      {
        id: 7,
        label: "",
        state: "Open",
        bufferedBytes: 0,
        receiveCredit: 100,
        sendCredit: 30,
        waitingBytes: 0,
        discarding: false
      },
      []
    ])
  })

  it("StreamProtocol opens and grants the rest of its window when the peer accepts", () => {
    const { events, stream } = makeStream("Opening")
    stream.recvAccept(40)
    expect([stream.state, stream.sendHalf.credit, stream.recvHalf.granted, events()])
      .toEqual(["Open", 40, 100, ["credit for 7: 60"]])
  })

  it("StreamProtocol holds the window that an acceptor assumes up to its limits", () => {
    const granted = (window: number, believed: number) => {
      const { stream } = makeStream("Opening", window)
      stream.recvAccept(believed)
      return stream.recvHalf.granted
    }
    expect([granted(100, 200), granted(100, 500), granted(400, 500), granted(400, 350)]).toEqual([200, 300, 400, 400])
  })

  it("StreamProtocol.snapshot has the buffered and the waiting bytes", () => {
    const { link, stream } = makeAccepted(100, 30)
    link.isStuck = true
    Effect.runFork(stream.sendHalf.write([pattern(25)]))
    expect(stream.recvDat(pattern(10))).toBe("Taken")
    expect(stream.snapshot())
      .toEqual({
        id: 7,
        label: "",
        state: "Open",
        bufferedBytes: 10,
        receiveCredit: 90,
        sendCredit: 30,
        waitingBytes: 25,
        discarding: false
      })
  })

  it("StreamProtocol is over when both halves have ended, in either order", () => {
    const { events, stream } = makeAccepted()
    expect([stream.recvFin(), stream.state, events()]).toEqual([true, "HalfClosedRemote", []])
    Effect.runSync(stream.sendHalf.end)
    expect([stream.state, events()]).toEqual(["Closed", ["over", fin(7)]])
    const other = makeAccepted()
    Effect.runSync(other.stream.sendHalf.end)
    expect([other.stream.state, other.events()]).toEqual(["HalfClosedLocal", [fin(7)]])
    expect([other.stream.recvFin(), other.stream.state, other.events()]).toEqual([true, "Closed", ["over"]])
  })

  it("StreamProtocol ignores frames after the peer's FIN", () => {
    const { events, stream } = makeAccepted()
    stream.recvDat(bytes("ab"))
    stream.recvFin()
    expect([stream.recvFin(), stream.recvDat(bytes("cd")), stream.recvHalf.buffered]).toEqual([false, "Misplaced", 2])
    expect(read(stream)).toMatchObject({ right: Option.some(bytes("ab")) })
    expect(read(stream)).toMatchObject({ right: Option.none() })
    Effect.runSync(stream.sendHalf.end)
    expect([stream.recvFin(), stream.recvDat(bytes("ef")), events()]).toEqual([false, "Misplaced", ["over", fin(7)]])
  })

  it("StreamProtocol reports an overrun before and after it is accepted", () => {
    for (const { stream } of [makeStream("Opening"), makeAccepted(0)]) {
      expect([stream.recvDat(bytes("a")), read(stream)]).toMatchObject([
        "Overrun",
        { left: new NoCapacity({ streamId: 7 }) }
      ])
    }
  })

  it("StreamProtocol is over at once when the peer sends FIN before the acceptance", () => {
    for (const state of ["Opening", "AwaitingAccept"] as const) {
      const { events, stream } = makeStream(state)
      expect([stream.recvFin(), stream.state, events()]).toEqual([true, "Closed", ["over"]])
    }
  })

  it("StreamProtocol sends FIN at the late ACK when its open was cancelled", () => {
    const { events, stream } = makeStream("Opening")
    stream.cancel()
    expect([stream.state, events()]).toEqual(["Cancelling", []])
    stream.recvAccept(100)
    expect([stream.state, events()]).toEqual(["HalfClosedLocal", [fin(7)]])
    expect([stream.recvFin(), events()]).toEqual([true, ["over"]])
  })

  it("StreamProtocol ignores a cancellation when the peer has accepted", () => {
    const { events, stream } = makeStream("Opening")
    stream.recvAccept(100)
    stream.cancel()
    expect([stream.state, events()]).toEqual(["Open", []])
  })

  it("StreamProtocol fails both halves when the session ends", () => {
    const { stream } = makeAccepted()
    stream.fail(lost)
    expect(read(stream)).toMatchObject({
      left: new BrokenPipe({ streamId: 7, operation: "read", reason: "SessionEnded", written: 0, cause: lost })
    })
    expect(Effect.runSync(Effect.flip(stream.sendHalf.end)))
      .toEqual(new BrokenPipe({ streamId: 7, operation: "write", reason: "SessionEnded", written: 0, cause: lost }))
  })
})

describe("StreamProtocol.leave", () => {
  it("StreamProtocol.leave sends FIN and discards bytes until the peer's FIN", () => {
    const { events, stream } = makeAccepted()
    stream.leave()
    expect([stream.state, stream.recvDat(pattern(50)), events()])
      .toEqual(["HalfClosedLocal", "Taken", [fin(7), "credit for 7: 50"]])
    expect([stream.recvFin(), events()]).toEqual([true, ["over"]])
  })

  it("StreamProtocol.leave ends the stream when later bytes exceed discardLimit", () => {
    const { events, stream } = makeAccepted()
    stream.leave()
    expect([stream.recvDat(pattern(51)), stream.state, events()]).toEqual(["Taken", "HalfClosedLocal", [
      fin(7),
      "over"
    ]])
  })

  it("StreamProtocol.leave ends the stream at once when unread bytes exceed discardLimit", () => {
    const { events, stream } = makeAccepted()
    stream.recvDat(pattern(51))
    stream.leave()
    expect([stream.state, events()]).toEqual(["HalfClosedLocal", [fin(7), "over"]])
  })

  it("StreamProtocol.leave ends the stream after its FIN has left when discardLimit is spent", () => {
    const { events, link, send, stream } = makeAccepted()
    stream.recvDat(pattern(51))
    link.isStuck = true
    stream.leave()
    expect([stream.state, events()]).toEqual(["Open", []])
    send()
    expect([stream.state, events()]).toEqual(["HalfClosedLocal", ["over", fin(7)]])
  })

  it("StreamProtocol.leave sends no second FIN when the stream has sent FIN before", () => {
    const { events, stream } = makeAccepted(100, 30)
    expect(stream.sendHalf.writeNow([bytes("all")])).toBeUndefined()
    Effect.runSync(stream.sendHalf.end)
    stream.leave()
    expect(events()).toEqual([dat(7, bytes("all")), fin(7)])
    expect([stream.recvFin(), events()]).toEqual([true, ["over"]])
  })
})

describe("StreamProtocol of a native peer", () => {
  const resetBy = (by: "local" | "peer", operation: "read" | "write", code: number, reason = "", written = 0) =>
    new StreamReset({ streamId: 7, operation, by, code, reason, written })
  const write = (stream: StreamProtocol) => Effect.runSync(Effect.flip(stream.sendHalf.write([bytes("x")])))

  it("StreamProtocol.accept of a native peer grants what the window has beyond the early one", () => {
    const { stream } = makeStream("AwaitingAccept", 100, 0, { earlyWindow: 40 })
    expect([stream.recvHalf.granted, stream.recvDat(pattern(30)), stream.recvFin(), stream.state])
      .toEqual([40, "Taken", true, "AwaitingAcceptEnded"])
    expect([stream.recvDat(bytes("behind the end")), stream.recvFin()]).toEqual(["Misplaced", false])
    stream.accept((granted) => expect(granted).toBe(60))
    expect([stream.state, stream.recvHalf.granted, stream.recvHalf.buffered]).toEqual(["HalfClosedRemote", 70, 30])
  })

  it("StreamProtocol.recvDat of a native peer reports an overrun of the early window", () => {
    const { stream } = makeStream("AwaitingAccept", 100, 0, { earlyWindow: 40 })
    expect([stream.recvDat(pattern(40)), stream.recvDat(bytes("x"))]).toEqual(["Taken", "Overrun"])
  })

  const endings: Record<string, (stream: StreamProtocol) => void> = {
    "its opener resets it": (stream) => stream.recvReset(reset(7, 1)),
    "its opener ends and resets it": (stream) => {
      stream.recvFin()
      stream.recvReset(reset(7, 1))
    },
    "this end refuses it": (stream) => stream.refuse({ code: 5, reason: "" }),
    "the session ends": (stream) => stream.fail(lost)
  }
  for (const [when, end] of Object.entries(endings)) {
    it(`StreamProtocol of a native peer holds no early bytes when ${when} before it is accepted`, () => {
      const { booked, stream } = makeStream("AwaitingAccept", 100, 0, { earlyWindow: 40 })
      stream.recvDat(pattern(30))
      end(stream)
      expect([booked(), stream.recvHalf.buffered]).toEqual([0, 0])
    })
  }

  it("StreamProtocol.recvAccept of a native peer adds the held credit, and keeps its own window", () => {
    const { events, stream } = makeStream("Opening", 100, 0, { heldCredit: 16 })
    expect(stream.recvAccept(200)).toBe(0)
    expect([stream.sendHalf.credit, stream.recvHalf.granted, events()]).toEqual([216, 100, []])
  })

  it("StreamProtocol of a native peer sends early bytes and FIN, and is half-closed at the ACK", () => {
    const { events, stream } = makeStream("Opening", 100, 5, {})
    expect(stream.sendHalf.writeNow([bytes("early")])).toBeUndefined()
    Effect.runSync(stream.sendHalf.end)
    expect([stream.state, events()]).toEqual(["OpeningEnded", [dat(7, bytes("early")), fin(7)]])
    stream.recvAccept(100)
    expect([stream.state, stream.recvFin(), events()]).toEqual(["HalfClosedLocal", true, ["over"]])
  })

  it("StreamProtocol.cancel of a native peer sends RESET and STOP, and is over at the answer", () => {
    const { events, stream } = makeStream("Opening", 100, 0, {})
    stream.cancel()
    expect([stream.state, events()]).toEqual(["OpeningEnded", [reset(7, 1), stop(7, 1)]])
    expect([stream.recvReset(reset(7, 1)), stream.state, events()]).toEqual([true, "Closed", ["over"]])
  })

  it("StreamProtocol.refuse of a native peer sends RESET with the cause, and is over", () => {
    const { events, stream } = makeStream("AwaitingAccept", 100, 0, { earlyWindow: 40 })
    stream.recvDat(pattern(30))
    stream.refuse({ code: 5, reason: "late" })
    expect([stream.state, stream.recvHalf.buffered, events()]).toEqual(["Closed", 0, [reset(7, 5, "late"), "over"]])
  })

  it("StreamProtocol.leave of a native stream sends FIN and STOP, and grants no credit", () => {
    const { events, stream } = makeAccepted(100, 0, {})
    stream.recvDat(pattern(51))
    stream.leave()
    expect([stream.state, events()]).toEqual(["HalfClosedLocal", [fin(7), stop(7, 0)]])
    expect([stream.recvDat(pattern(49)), stream.recvHalf.buffered, events()]).toEqual(["Taken", 0, []])
    expect([stream.recvReset(reset(7, 0)), events()]).toEqual([true, ["over"]])
    expect(read(stream)).toMatchObject({
      left: new BrokenPipe({ streamId: 7, operation: "read", reason: "StreamEnded", written: 0 })
    })
  })

  it("StreamProtocol.leave of a native peer sends no STOP when the peer has ended", () => {
    const { events, stream } = makeAccepted(100, 0, {})
    stream.recvFin()
    stream.leave()
    expect([stream.state, events()]).toEqual(["Closed", ["over", fin(7)]])
  })

  it("StreamProtocol.leave of a native peer resets when bytes wait to be sent", async () => {
    const { events, stream } = makeAccepted(100, 0, {})
    const fiber = Effect.runFork(Effect.flip(stream.sendHalf.write([bytes("wait")])))
    stream.leave()
    expect([stream.state, events()]).toEqual(["HalfClosedLocal", [reset(7, 1), stop(7, 1)]])
    expect(await Effect.runPromise(fiber)).toEqual(resetBy("local", "write", 1))
  })

  it("StreamProtocol.reset of a native peer ends both halves with its code, once", () => {
    const { events, stream } = makeAccepted(100, 30, {})
    stream.recvDat(bytes("unread"))
    stream.reset({ code: 300, reason: "why" })
    expect([stream.state, events()]).toEqual(["HalfClosedLocal", [reset(7, 300, "why"), stop(7, 300)]])
    stream.reset({ code: 301, reason: "again" })
    stream.leave()
    expect(events()).toEqual([])
    expect([read(stream), write(stream)]).toMatchObject([
      { left: resetBy("local", "read", 300, "why") },
      resetBy("local", "write", 300, "why")
    ])
  })

  it("StreamProtocol.resetSending of a native peer leaves the other direction alone", () => {
    const { events, stream } = makeAccepted(100, 30, {})
    stream.resetSending({ code: 2, reason: "" })
    expect([stream.state, events(), stream.recvDat(bytes("more"))]).toEqual(["HalfClosedLocal", [reset(7, 2)], "Taken"])
    expect(read(stream)).toMatchObject({ right: Option.some(bytes("more")) })
  })

  it("StreamProtocol.recvReset of a native peer fails reads behind the bytes that had arrived", () => {
    const { events, stream } = makeAccepted(100, 30, {})
    stream.recvDat(bytes("ab"))
    expect([stream.recvReset(reset(7, 300, "why")), stream.recvReset(reset(7, 1)), stream.state]).toEqual([
      true,
      false,
      "HalfClosedRemote"
    ])
    expect(read(stream)).toMatchObject({ right: Option.some(bytes("ab")) })
    expect(read(stream)).toMatchObject({ left: resetBy("peer", "read", 300, "why") })
    expect([stream.sendHalf.writeNow([bytes("x")]), events()]).toEqual([undefined, [dat(7, bytes("x"))]])
  })

  it("StreamProtocol.recvReset of a native peer in place of an ACK fails both halves", () => {
    const { events, stream } = makeStream("Opening", 100, 5, {})
    expect([stream.recvReset(reset(7, 3, "full")), stream.state, events()]).toEqual([true, "Closed", ["over"]])
    expect([read(stream), write(stream)]).toMatchObject([
      { left: resetBy("peer", "read", 3, "full") },
      resetBy("peer", "write", 3, "full")
    ])
  })

  it("StreamProtocol.recvFin of a native peer in place of an ACK fails both halves", async () => {
    const { events, stream } = makeStream("Opening", 100, 5, {})
    const fiber = Effect.runFork(Effect.flip(stream.sendHalf.write([bytes("too many")])))
    expect([stream.recvFin(), stream.state, events()]).toEqual([true, "Closed", [dat(7, bytes("too m")), "over"]])
    expect(await Effect.runPromise(fiber)).toEqual(resetBy("peer", "write", 3, "", 5))
    expect(read(stream)).toMatchObject({ left: resetBy("peer", "read", 3) })
  })

  it("StreamProtocol.recvStop of a native peer answers with RESET once, and fails waiting writes", async () => {
    const { events, stream } = makeAccepted(100, 5, {})
    const fiber = Effect.runFork(Effect.flip(stream.sendHalf.write([bytes("too many")])))
    expect(events()).toEqual([dat(7, bytes("too m"))])
    stream.recvStop(400)
    stream.recvStop(401)
    expect([stream.state, events()]).toEqual(["HalfClosedLocal", [reset(7, 400)]])
    expect(await Effect.runPromise(fiber)).toEqual(resetBy("peer", "write", 400, "", 5))
  })

  it("StreamProtocol.recvStop of a native peer is answered behind the ACK when it comes before", () => {
    const { events, stream } = makeStream("AwaitingAccept", 100, 5, { earlyWindow: 40 })
    stream.recvStop(400)
    expect([stream.state, events()]).toEqual(["AwaitingAccept", []])
    stream.accept(() => expect(events()).toEqual([]))
    expect([stream.state, events()]).toEqual(["HalfClosedLocal", [reset(7, 400)]])
  })
})
