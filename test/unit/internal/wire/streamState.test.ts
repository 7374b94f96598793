import { describe, expect, it } from "@effect/vitest"
import * as FastCheck from "effect/FastCheck"
import * as HalfClose from "../../../../src/internal/wire/streamState.js"

const states: ReadonlyArray<HalfClose.State> = [
  "Opening",
  "OpeningEnded",
  "Cancelling",
  "AwaitingAccept",
  "AwaitingAcceptEnded",
  "Open",
  "HalfClosedLocal",
  "HalfClosedRemote",
  "Closed"
]

const events: ReadonlyArray<HalfClose.Event> = [
  "cancel",
  "recvAccept",
  "sendAccept",
  "sendClose",
  "recvClose",
  "recvEarlyClose"
]

const history = FastCheck.array(FastCheck.constantFrom(...events), { maxLength: 12 })

/** Returns the states that a history leads through, and its events that caused a transition. */
const walk = (start: HalfClose.State, history: ReadonlyArray<HalfClose.Event>) => {
  const path = [start]
  const taken: Array<HalfClose.Event> = []
  for (const event of history) {
    const state = HalfClose.next(path[path.length - 1]!, event)
    if (state === undefined) continue
    path.push(state)
    taken.push(event)
  }
  return { path, taken, end: path[path.length - 1]! }
}

const count = (events: ReadonlyArray<HalfClose.Event>, event: HalfClose.Event) =>
  events.filter((e) => e === event).length

describe("HalfClose", () => {
  it("HalfClose.next has exactly the transitions of its diagram", () => {
    const arrows = states.flatMap((state) =>
      events.flatMap((event) => {
        const next = HalfClose.next(state, event)
        return next === undefined ? [] : [`${state} ${event} ${next}`]
      })
    )
    expect(arrows).toEqual([
      "Opening cancel Cancelling",
      "Opening recvAccept Open",
      "Opening sendClose OpeningEnded",
      "Opening recvClose Closed",
      "OpeningEnded recvAccept HalfClosedLocal",
      "OpeningEnded recvClose Closed",
      "Cancelling recvAccept Open",
      "Cancelling recvClose Closed",
      "AwaitingAccept sendAccept Open",
      "AwaitingAccept sendClose Closed",
      "AwaitingAccept recvClose Closed",
      "AwaitingAccept recvEarlyClose AwaitingAcceptEnded",
      "AwaitingAcceptEnded sendAccept HalfClosedRemote",
      "AwaitingAcceptEnded sendClose Closed",
      "AwaitingAcceptEnded recvClose Closed",
      "Open sendClose HalfClosedLocal",
      "Open recvClose HalfClosedRemote",
      "HalfClosedLocal recvClose Closed",
      "HalfClosedRemote sendClose Closed"
    ])
  })

  it("HalfClose.receives is true until the peer has ended", () => {
    expect(states.filter(HalfClose.receives)).toEqual([
      "Opening",
      "OpeningEnded",
      "Cancelling",
      "AwaitingAccept",
      "Open",
      "HalfClosedLocal"
    ])
  })

  it("HalfClose.isOpening and isAwaitingAccept are true until the acceptor has answered", () => {
    expect([states.filter(HalfClose.isOpening), states.filter(HalfClose.isAwaitingAccept)]).toEqual([
      ["Opening", "OpeningEnded", "Cancelling"],
      ["AwaitingAccept", "AwaitingAcceptEnded"]
    ])
  })

  it.prop("HalfClose never leaves Closed", [FastCheck.constantFrom(...states), history], ([start, history]) => {
    const { path } = walk(start, history)
    const closed = path.indexOf("Closed")
    expect(closed === -1 || closed === path.length - 1).toBe(true)
  })

  it.prop("HalfClose takes each side's end once", [FastCheck.constantFrom(...states), history], ([start, history]) => {
    const { taken } = walk(start, history)
    expect(Math.max(count(taken, "sendClose"), count(taken, "recvClose"))).toBeLessThanOrEqual(1)
  })

  it.prop("HalfClose.next closes an accepted stream when both sides have ended", [
    FastCheck.constantFrom("Opening" as const, "AwaitingAccept" as const),
    history
  ], ([start, history]) => {
    const { end, taken } = walk(start, history)
    const isAccepted = taken.includes("recvAccept") || taken.includes("sendAccept")
    const ends = taken.filter((event) => event.endsWith("Close"))
    // A stream that is not accepted is over when its acceptor refuses it, or when its opener gives it up.
    const isGivenUp = taken.includes("recvClose") || (start === "AwaitingAccept" && taken.includes("sendClose"))
    expect(end === "Closed").toBe(isAccepted ? ends.length === 2 : isGivenUp)
  })

  it("HalfClose.next reaches Closed from each state", () => {
    const ends: ReadonlyArray<HalfClose.Event> = ["sendClose", "recvClose"]
    expect(states.map((state) => walk(state, ends).end)).toEqual(states.map(() => "Closed"))
  })
})
