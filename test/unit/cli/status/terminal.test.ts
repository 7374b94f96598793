import { describe, expect, it } from "@effect/vitest"
import type * as Status from "effect-wsmux/cli/status/status"
import { render } from "effect-wsmux/cli/status/terminal"

const session: Status.SessionStatus = {
  number: 1,
  peer: "10.1.2.3:45678",
  user: "ada",
  dialect: "native",
  state: "up",
  since: 0,
  suspendedSince: null,
  resumed: 1,
  roundTripMillis: 12.4,
  streams: 2,
  bytesIn: 2048,
  bytesOut: 4096,
  rateIn: 1024,
  rateOut: 0,
  worker: null
}

const stream: Status.StreamStatus = {
  session: 1,
  id: 3,
  label: "tcp",
  state: "Open",
  from: "10.1.2.3:45678",
  to: "db:5432",
  since: 3_000_000,
  bytesIn: 10,
  bytesOut: 20,
  unread: 0,
  unsent: 0,
  worker: null
}

const status: Status.Status = {
  command: "serve",
  version: "0.2.0",
  address: "ws://127.0.0.1:8080",
  ready: true,
  readiness: "listening",
  at: 3_660_000,
  startedAt: 0,
  total: { sessions: 1, streams: 2, bytesIn: 2048, bytesOut: 4096, rateIn: 1024, rateOut: 0 },
  sessions: [session],
  forwards: [{ option: "-R", listen: "127.0.0.1:8080", target: "10.1.2.3:45678 (ada)" }],
  streams: [stream],
  lastEnd: { at: 3_655_000, peer: "10.9.9.9:1", reason: "the connection was lost (code 1006)" }
}

describe("Terminal", () => {
  it("Terminal.render writes a status as tables of plain text", () => {
    expect(render(status).split("\n")).toEqual([
      "wsmux serve 0.2.0 at ws://127.0.0.1:8080: listening, for 1 h 1 m",
      "1 session, 2 streams; received 2.0 KiB (1.0 KiB/s), sent 4.0 KiB (0 B/s)",
      "the last session ended 5 s ago: 10.9.9.9:1: the connection was lost (code 1006)",
      "",
      "SESSION  PEER            USER  STATE  AGE    RTT  OPEN     IN/S  OUT/S",
      "1        10.1.2.3:45678  ada   up     1 h  12 ms     2  1.0 KiB    0 B",
      "",
      "FORWARD  LISTENS ON      LEADS TO",
      "-R       127.0.0.1:8080  10.1.2.3:45678 (ada)",
      "",
      "STREAM  LABEL  FROM            TO       STATE   AGE    IN   OUT",
      "1/3     tcp    10.1.2.3:45678  db:5432  Open   11 m  10 B  20 B"
    ])
  })

  it("Terminal.render fits 80 columns without control characters when texts are hostile", () => {
    const long = `\u001b[31m${"long ".repeat(60)}\u202e${"x".repeat(300)}`
    const hostile: Status.Status = {
      ...status,
      address: `ws://${"h".repeat(300)}`,
      readiness: long,
      sessions: [{ ...session, peer: long, user: long, dialect: "negotiating", state: "suspended", rateIn: 1e12 }],
      forwards: [{ option: "--target", listen: long, target: long }],
      streams: [{ ...stream, label: long, from: long, to: long, state: "AwaitingAcceptEnded", bytesIn: 1e15 }],
      lastEnd: { at: 0, peer: long, reason: long }
    }
    const lines = render(hostile).split("\n")
    expect(lines.filter(({ length }) => length > 80)).toEqual([])
    expect(lines.join("")).not.toMatch(/[\p{Cc}\p{Cf}]/u)
  })
})
