import { describe, expect, it } from "@effect/vitest"
import { BrokenPipe, NoCapacity, TransportFailure } from "effect-wsmux/WsmuxError"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { StreamProtocol } from "../../../../src/internal/session/streamProtocol.js"
import * as Frame from "../../../../src/internal/wire/frame.js"
import { bytes, concat, pattern } from "../../../support/bytes.js"
import { dat, fin } from "../../../support/scriptedPeer.js"

/** A stream without a session, and its frames and callbacks. While the link is stuck, frames wait for `send`. */
const makeStream = (state: "Opening" | "AwaitingAccept", window = 100, credit = 0) => {
  const events: Array<unknown> = []
  const link = { isStuck: false }
  const send = () => {
    for (let frame = stream.sendHalf.nextFrame(1000); frame !== undefined; frame = stream.sendHalf.nextFrame(1000)) {
      events.push(Frame.decode(concat(frame)))
    }
  }
  const stream: StreamProtocol = new StreamProtocol(7, state, window, credit, {
    maxPeerWindow: 300,
    discardLimit: 50,
    tuner: undefined,
    memory: {
      bookSurplus: (bytes) => bytes,
      bookGrowth: () => true,
      giveBack: () => {}
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
      sendControl: (frame) => events.push(Frame.decode(frame))
    },
    stalled: () => {},
    over: (over) => events.push(over === stream ? "over" : "another is over")
  })
  return { stream, link, send, events: () => events.splice(0) }
}

/** A stream of the peer after its acceptance. */
const makeAccepted = (window?: number, credit?: number) => {
  const made = makeStream("AwaitingAccept", window, credit)
  made.stream.accept()
  return made
}

const lost = new TransportFailure({ code: 1006, reason: "" })
const read = (stream: StreamProtocol) => Effect.runSync(Effect.either(stream.recvHalf.read))

describe("StreamProtocol", () => {
  it("StreamProtocol opens with its window granted when it accepts the peer's stream", () => {
    const { events, stream } = makeStream("AwaitingAccept", 100, 30)
    expect([stream.state, stream.recvHalf.granted]).toEqual(["AwaitingAccept", 0])
    stream.accept()
    expect([stream.snapshot(), events()]).toEqual([
      {
        id: 7,
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
