import { describe, expect, it } from "@effect/vitest"
import * as FastCheck from "effect/FastCheck"
import * as HalfClose from "../../../../src/internal/wire/streamState.js"

const states: ReadonlyArray<HalfClose.State> = [
  "Opening",
  "Cancelling",
  "AwaitingAccept",
  "Open",
  "HalfClosedLocal",
  "HalfClosedRemote",
  "Closed"
]

const events: ReadonlyArray<HalfClose.Event> = ["cancel", "recvAccept", "sendAccept", "sendClose", "recvClose"]

const history = FastCheck.array(FastCheck.constantFrom(...events), { maxLength: 12 })

/** The states that a history leads through, and the events of it that had a place. */
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

describe("the half-close machine", () => {
  it("has the arrows of its diagram and no others", () => {
    const arrows = states.flatMap((state) =>
      events.flatMap((event) => {
        const next = HalfClose.next(state, event)
        return next === undefined ? [] : [`${state} ${event} ${next}`]
      })
    )
    expect(arrows).toEqual([
      "Opening cancel Cancelling",
      "Opening recvAccept Open",
      "Opening recvClose Closed",
      "Cancelling recvAccept Open",
      "Cancelling recvClose Closed",
      "AwaitingAccept sendAccept Open",
      "AwaitingAccept sendClose Closed",
      "AwaitingAccept recvClose Closed",
      "Open sendClose HalfClosedLocal",
      "Open recvClose HalfClosedRemote",
      "HalfClosedLocal recvClose Closed",
      "HalfClosedRemote sendClose Closed"
    ])
  })

  it("cares for the peer's bytes until the peer has ended", () => {
    expect(states.filter(HalfClose.receives)).toEqual([
      "Opening",
      "Cancelling",
      "AwaitingAccept",
      "Open",
      "HalfClosedLocal"
    ])
  })

  it.prop("never leaves Closed", [FastCheck.constantFrom(...states), history], ([start, history]) => {
    const { path } = walk(start, history)
    const closed = path.indexOf("Closed")
    expect(closed === -1 || closed === path.length - 1).toBe(true)
  })

  it.prop("counts the end of each side once", [FastCheck.constantFrom(...states), history], ([start, history]) => {
    const { taken } = walk(start, history)
    expect(Math.max(count(taken, "sendClose"), count(taken, "recvClose"))).toBeLessThanOrEqual(1)
  })

  it.prop("closes an accepted stream when both sides have ended, and not before", [
    FastCheck.constantFrom("Opening" as const, "AwaitingAccept" as const),
    history
  ], ([start, history]) => {
    const { end, path, taken } = walk(start, history)
    const ends = count(taken, "sendClose") + count(taken, "recvClose")
    expect(end === "Closed").toBe(ends === (path.includes("Open") ? 2 : 1))
  })

  it("can close every stream", () => {
    const ends: ReadonlyArray<HalfClose.Event> = ["sendClose", "recvClose"]
    expect(states.map((state) => walk(state, ends).end)).toEqual(states.map(() => "Closed"))
  })
})
