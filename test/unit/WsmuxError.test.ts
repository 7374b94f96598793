import { describe, expect, it } from "@effect/vitest"
import * as WsmuxError from "effect-wsmux/WsmuxError"
import * as ConfigError from "effect/ConfigError"
import * as Effect from "effect/Effect"

const { isTerminalError, ...classes } = WsmuxError

type AnyError = InstanceType<(typeof classes)[keyof typeof classes]>

const broken = new Error("read ECONNRESET")
const refused = new AggregateError([new Error("connect ECONNREFUSED ::1:80"), "connect ECONNREFUSED 127.0.0.1:80"])
const closed = new WsmuxError.SessionClosed({ by: "peer", code: 1000, reason: "" })
const url = "ws://example.test"

const messages: ReadonlyArray<readonly [error: AnyError, message: string]> = [
  [
    new WsmuxError.AcceptTimeout({ afterMillis: 30_000 }),
    "cannot open a stream: the peer did not accept it within 30000 ms"
  ],
  [
    new WsmuxError.BrokenPipe({ streamId: 3, operation: "write", reason: "StreamEnded", written: 7 }),
    "cannot write stream 3: this end has ended the stream"
  ],
  [
    new WsmuxError.BrokenPipe({ streamId: 3, operation: "read", reason: "SessionEnded", written: 0, cause: closed }),
    "cannot read stream 3: the session was closed by the peer (code 1000)"
  ],
  [
    new WsmuxError.StreamReset({ streamId: 3, operation: "read", by: "peer", code: 2, reason: "why", written: 0 }),
    "cannot read stream 3: the peer reset it (code 2): why"
  ],
  [
    new WsmuxError.StreamReset({ streamId: 3, operation: "write", by: "local", code: 300, reason: "", written: 7 }),
    "cannot write stream 3: this end reset it (code 300)"
  ],
  [
    new WsmuxError.WriteTimeout({ streamId: 3, written: 7 }),
    "cannot write stream 3: the write deadline passed after 7 bytes"
  ],
  [new WsmuxError.ReadTimeout({ streamId: 3 }), "cannot read stream 3: the read deadline passed"],
  [
    new WsmuxError.NoCapacity({ streamId: 3 }),
    "cannot read stream 3: the peer exceeded the window; do both ends use the same buffer size?"
  ],
  [new WsmuxError.DuplicateStream({ streamId: 3 }), "cannot open stream 3: the id is taken"],
  [closed, "the session was closed by the peer (code 1000)"],
  [
    new WsmuxError.SessionClosed({ by: "local", code: 1001, reason: "going away" }),
    "the session was closed by this side (code 1001: going away)"
  ],
  [new WsmuxError.InvalidDeadline({ deadline: 1000, now: 1500 }), "cannot set the deadline: 500 ms in the past"],
  [new WsmuxError.InvalidDeadline({ deadline: NaN, now: 1500 }), "cannot set the deadline: not a valid time"],
  [
    new WsmuxError.KeepAliveExpired({ intervalMillis: 10_000, lastSeen: 5 }),
    "keep alive expired: nothing from the peer for 10000 ms"
  ],
  [
    new WsmuxError.MalformedFrame({ fault: "UnknownType", detail: "frame type 9" }),
    "malformed frame: frame type 9"
  ],
  [new WsmuxError.UnexpectedText(), "unexpected text message: frames are binary"],
  [
    new WsmuxError.WrongParity({ streamId: 3, role: "client" }),
    "stream id 3 belongs to the client: are both ends clients?"
  ],
  [
    new WsmuxError.WrongParity({ streamId: 2, role: "server" }),
    "stream id 2 belongs to the server: are both ends servers?"
  ],
  [new WsmuxError.PeerFlood({ detail: "too many SYNs" }), "the peer floods the session: too many SYNs"],
  [new WsmuxError.DialectMissing(), "the peer does not speak the dialect, which this session requires"],
  [new WsmuxError.StreamRefused({ streamId: 3 }), "cannot open stream 3: the peer refused it"],
  [
    new WsmuxError.StreamRefused({ streamId: 3, code: 3, reason: "the backlog is full" }),
    "cannot open stream 3: the peer refused it: the backlog is full"
  ],
  [
    new WsmuxError.LabelsUnsupported({ detail: "the peer does not speak the dialect" }),
    "cannot open a stream with a label or metadata: the peer does not speak the dialect"
  ],
  [
    new WsmuxError.SessionDraining({ by: "peer", graceMillis: 1000, redial: true, code: 0, reason: "a restart" }),
    "cannot open a stream: the peer drains the session; another session may open it: a restart"
  ],
  [new WsmuxError.TransportFailure({ code: 1006, reason: "" }), "the connection was lost (code 1006)"],
  [
    new WsmuxError.TransportFailure({ code: 1009, reason: "too big" }),
    "the connection was lost (code 1009: too big)"
  ],
  [
    new WsmuxError.TransportFailure({ code: 1006, reason: "", cause: broken }),
    "the connection was lost (code 1006: read ECONNRESET)"
  ],
  [
    new WsmuxError.ConnectFailure({ url: "nowhere", reason: "InvalidUrl" }),
    "cannot connect to nowhere: not a ws:// or wss:// address"
  ],
  [
    new WsmuxError.ConnectFailure({ url: "ws://host:99999", reason: "InvalidUrl" }),
    "cannot connect to ws://host:99999: expected a port from 0 to 65535, not 99999"
  ],
  [new WsmuxError.ConnectFailure({ url, reason: "Timeout" }), `cannot connect to ${url}: no answer in time`],
  [
    new WsmuxError.ConnectFailure({ url, reason: "Rejected", status: 401 }),
    `cannot connect to ${url}: the server answered 401`
  ],
  [new WsmuxError.ConnectFailure({ url, reason: "Unreachable" }), `cannot connect to ${url}`],
  [
    new WsmuxError.ConnectFailure({ url, reason: "Unreachable", cause: broken }),
    `cannot connect to ${url}: read ECONNRESET`
  ],
  [
    new WsmuxError.ConnectFailure({ url, reason: "Unreachable", cause: refused }),
    `cannot connect to ${url}: connect ECONNREFUSED ::1:80, connect ECONNREFUSED 127.0.0.1:80`
  ],
  [new WsmuxError.NotConnected({ reason: "Timeout" }), "waiting for a session timed out"],
  [
    new WsmuxError.NotConnected({ reason: "Timeout", cause: broken }),
    "waiting for a session timed out: read ECONNRESET"
  ],
  [
    new WsmuxError.NotConnected({ reason: "GaveUp", cause: closed }),
    "reconnecting gave up: the session was closed by the peer (code 1000)"
  ],
  [new WsmuxError.NotConnected({ reason: "Closed" }), "the reconnecting session was closed"],
  [new WsmuxError.DuplexFailure({ detail: "read ECONNRESET", cause: broken }), "read ECONNRESET"],
  [new WsmuxError.Stalled({ afterMillis: 60_000 }), "the other end has gone: no bytes were read there for 60000 ms"],
  [new WsmuxError.ListenFailure({ address: "127.0.0.1:80" }), "cannot listen on 127.0.0.1:80"],
  [
    new WsmuxError.ListenFailure({ address: "127.0.0.1:80", cause: new Error("listen EACCES") }),
    "cannot listen on 127.0.0.1:80: listen EACCES"
  ],
  [
    new WsmuxError.InvalidConfiguration({ setting: "streamBufferSize", detail: "0 is too small" }),
    "invalid streamBufferSize: 0 is too small"
  ],
  [
    new WsmuxError.ResumeFailure({
      reason: "GraceExpired",
      detail: "",
      loss: { code: 1006, reason: "", cause: new Error("read ECONNRESET") },
      cause: broken
    }),
    "cannot resume the session after its loss (code 1006: read ECONNRESET): no WebSocket took the place of the lost " +
    "one in time: read ECONNRESET"
  ],
  [
    new WsmuxError.ResumeFailure({ reason: "LostBytes", detail: "3 messages", loss: undefined }),
    "cannot resume the session: bytes are missing: 3 messages"
  ]
]

describe("WsmuxError", () => {
  it("WsmuxError has a message in this table for each exported error", () => {
    expect([...new Set(messages.map(([error]) => error._tag))].sort()).toEqual(Object.keys(classes).sort())
  })

  for (const [error, message] of messages) {
    it(`WsmuxError has the message: ${message}`, () => {
      expect(error.message).toBe(message)
    })
  }

  for (const [name, Class] of Object.entries(classes)) {
    it(`WsmuxError can be caught by its tag: ${name}`, () => {
      const [error] = messages.find(([error]) => error instanceof Class)!
      expect([Class.name, error._tag, error.name, error instanceof Error]).toEqual([name, name, name, true])
      const failure = Effect.fail<AnyError>(error)
      expect(Effect.runSync(Effect.catchTag(failure, error._tag, (caught) => Effect.succeed(caught)))).toBe(error)
    })
  }

  it("WsmuxError shows text of the peer on one line without control characters", () => {
    const hostile = "a\u001b[2J\nb\u202ec"
    const cause = new Error(hostile)
    const shown = [
      new WsmuxError.SessionClosed({ by: "peer", code: 1000, reason: hostile }),
      new WsmuxError.TransportFailure({ code: 1009, reason: hostile }),
      new WsmuxError.TransportFailure({ code: 1006, reason: "", cause }),
      new WsmuxError.ConnectFailure({ url, reason: "Unreachable", cause }),
      new WsmuxError.ConnectFailure({ url, reason: "Unreachable", cause: new AggregateError([cause], "") }),
      new WsmuxError.NotConnected({ reason: "GaveUp", cause }),
      new WsmuxError.DuplexFailure({ detail: hostile }),
      new WsmuxError.MalformedFrame({ fault: "Truncated", detail: hostile }),
      new WsmuxError.PeerFlood({ detail: hostile }),
      new WsmuxError.StreamRefused({ streamId: 3, code: 300, reason: hostile }),
      new WsmuxError.StreamReset({
        streamId: 3,
        operation: "read",
        by: "peer",
        code: 300,
        reason: hostile,
        written: 0
      }),
      new WsmuxError.ListenFailure({ address: "a", cause })
    ]
    for (const { message } of shown) {
      expect(message).toContain("a\ufffd[2J bc")
      expect(message).not.toMatch(/[\p{Cc}\p{Cf}]/u)
    }
  })

  it("NotConnected tells its cause when the cause is no Error", () => {
    const causes: ReadonlyArray<readonly [cause: unknown, told: string]> = [
      [ConfigError.MissingData(["TOKEN"], "Expected TOKEN"), ": Missing data at TOKEN: \"Expected TOKEN\""],
      ["no luck", ": no luck"],
      [{ _tag: "NoLuck" }, ": NoLuck"],
      [{}, ""]
    ]
    for (const [cause, told] of causes) {
      expect(new WsmuxError.NotConnected({ reason: "GaveUp", cause }).message).toBe(`reconnecting gave up${told}`)
    }
  })

  it("WsmuxError keeps its cause", () => {
    expect(messages.flatMap(([error]) => "cause" in error && error.cause !== undefined ? [error.cause] : []))
      .toEqual([closed, broken, broken, refused, broken, closed, broken, new Error("listen EACCES"), broken])
  })

  it("isTerminalError accepts errors of another copy of the package, and not their tags alone", () => {
    const mark = Symbol.for("effect-wsmux/WsmuxError/TerminalError")
    const foreign = Object.assign(Object.create({ [mark]: mark }), { _tag: "SessionClosed" })
    expect([foreign, { _tag: "SessionClosed" }, null, undefined, "SessionClosed"].map((u) => isTerminalError(u)))
      .toEqual([true, false, false, false, false])
    expect(Object.getOwnPropertySymbols(closed)).not.toContain(mark)
  })

  it("isTerminalError is true for the errors that end a session only", () => {
    const terminal = messages.map(([error]) => error).filter(isTerminalError).map(({ _tag }) => _tag)
    expect([...new Set(terminal)]).toEqual([
      ...["SessionClosed", "KeepAliveExpired", "MalformedFrame", "UnexpectedText", "WrongParity", "PeerFlood"],
      "DialectMissing",
      "TransportFailure"
    ])
  })
})
