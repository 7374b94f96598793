import { describe, expect, it } from "@effect/vitest"
import * as Status from "effect-wsmux/cli/status/status"

const total = { sessions: 1, streams: 2, bytesIn: 3, bytesOut: 4, rateIn: 5, rateOut: 6 }

const session: Status.SessionStatus = {
  number: 1,
  peer: "127.0.0.1:1",
  user: null,
  dialect: "native",
  state: "up",
  since: 0,
  suspendedSince: null,
  resumed: 0,
  roundTripMillis: 1,
  streams: 0,
  bytesIn: 0,
  bytesOut: 0,
  rateIn: 0,
  rateOut: 0,
  worker: 1
}

const status: Status.Status = {
  command: "serve",
  version: "1",
  address: "ws://127.0.0.1:1",
  ready: true,
  readiness: "listening",
  at: 10,
  startedAt: 0,
  total,
  sessions: [session],
  forwards: [],
  streams: [],
  lastEnd: null
}

describe("Status", () => {
  it("Status.merge adds the totals, joins the lists and keeps the latest end", () => {
    const ended = (at: number): Status.Status => ({ ...status, lastEnd: { at, peer: "p", reason: `${at}` } })
    const parent = { ...status, ready: false, total: { ...total, sessions: 0 }, sessions: [] }
    const merged = Status.merge(parent, [ended(5), ended(9), ended(7)])
    expect(merged.total).toEqual({ sessions: 3, streams: 8, bytesIn: 12, bytesOut: 16, rateIn: 20, rateOut: 24 })
    expect([merged.ready, merged.sessions.length, merged.lastEnd?.at]).toEqual([false, 3, 9])
  })

  it("Status.merge lists at most maxListed sessions, and counts all", () => {
    const many = { ...status, total: { ...total, sessions: 150 }, sessions: Array.from({ length: 150 }, () => session) }
    const merged = Status.merge(many, [many])
    expect([merged.total.sessions, merged.sessions.length]).toEqual([300, Status.maxListed])
  })
})
