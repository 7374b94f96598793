/**
 * Every way in which an operation of this package can fail, each a tagged error for `Effect.catchTag`.
 *
 * Those of the Go package keep its names without `Err`. An error of the peer or of the network is a failure in the typed
 * channel; a fault of the caller that no program can handle is a defect.
 *
 * @since 0.1.0
 */
import * as Data from "effect/Data"
import { connectFailure, describe, detailed, notConnected } from "./internal/text/errorText.js"
import { plainText } from "./internal/text/plainText.js"

/**
 * The peer did not accept a stream in time (`ErrAcceptTimeout`). The id stays reserved until the peer's late answer.
 *
 * @since 0.1.0
 * @category errors
 */
export class AcceptTimeout extends Data.TaggedError("AcceptTimeout")<{
  /** How long `open` waited, in milliseconds. */
  readonly afterMillis: number
}> {
  override get message(): string {
    return `the peer did not accept the stream within ${this.afterMillis} ms`
  }
}

/**
 * Bytes cannot be written to or read from a stream any more (`ErrBrokenPipe`): the session is over, with its terminal
 * error as `cause`, or the writing side has been ended here (`cause` is undefined).
 *
 * @since 0.1.0
 * @category errors
 */
export class BrokenPipe extends Data.TaggedError("BrokenPipe")<{
  readonly streamId: number
  readonly operation: "read" | "write"
  /** The bytes of this write that had been handed to the socket; 0 for a read. */
  readonly written: number
  readonly cause?: TerminalError | undefined
}> {
  override get message(): string {
    const why = this.cause === undefined ? "the stream has been ended here" : this.cause.message
    return `broken pipe: cannot ${this.operation} stream ${this.streamId}: ${why}`
  }
}

/**
 * A write did not finish before its deadline (`ErrWriteTimeout`). The stream lives on.
 *
 * @since 0.1.0
 * @category errors
 */
export class WriteTimeout extends Data.TaggedError("WriteTimeout")<{
  readonly streamId: number
  /** The bytes of this write that had been handed to the socket. */
  readonly written: number
}> {
  override get message(): string {
    return `the write deadline of stream ${this.streamId} passed after ${this.written} bytes of the write`
  }
}

/**
 * Nothing arrived before the read deadline (`ErrReadTimeout`). The stream lives on.
 *
 * @since 0.1.0
 * @category errors
 */
export class ReadTimeout extends Data.TaggedError("ReadTimeout")<{ readonly streamId: number }> {
  override get message(): string {
    return `the read deadline of stream ${this.streamId} passed`
  }
}

/**
 * The peer sent more than its credit, so bytes of this stream are lost (`ErrNoCapacity`). What fitted was read before.
 *
 * @since 0.1.0
 * @category errors
 */
export class NoCapacity extends Data.TaggedError("NoCapacity")<{ readonly streamId: number }> {
  override get message(): string {
    return `the peer overran the window of stream ${this.streamId}; do both ends use the same buffer size?`
  }
}

/**
 * The id asked for is taken (`ErrDuplicateStream`).
 *
 * @since 0.1.0
 * @category errors
 */
export class DuplicateStream extends Data.TaggedError("DuplicateStream")<{ readonly streamId: number }> {
  override get message(): string {
    return `stream id ${this.streamId} is taken`
  }
}

/**
 * The session was closed (`ErrSessionClosed`), by this side or by a close frame of the peer.
 *
 * @since 0.1.0
 * @category errors
 */
export class SessionClosed extends Data.TaggedError("SessionClosed")<{
  readonly by: "local" | "peer"
  /** The WebSocket close code; 1005 where the peer gave none. */
  readonly code: number
  readonly reason: string
}> {
  override get message(): string {
    const who = this.by === "local" ? "this side" : "the peer"
    return `the session was closed by ${who} (${detailed(`code ${this.code}`, this.reason)})`
  }
}

/**
 * A deadline lies before the current time (`ErrInvalidDeadline`). The deadline in force is unchanged.
 *
 * @since 0.1.0
 * @category errors
 */
export class InvalidDeadline extends Data.TaggedError("InvalidDeadline")<{
  /** Milliseconds since the epoch. */
  readonly deadline: number
  readonly now: number
}> {
  override get message(): string {
    return Number.isNaN(this.deadline)
      ? "the deadline is not a valid time"
      : `the deadline lies ${this.now - this.deadline} ms in the past`
  }
}

/**
 * Nothing at all came from the peer for a whole keep-alive interval (`ErrKeepAliveExpired`).
 *
 * @since 0.1.0
 * @category errors
 */
export class KeepAliveExpired extends Data.TaggedError("KeepAliveExpired")<{
  readonly intervalMillis: number
  /** The last tick at which the peer was known to live, in milliseconds since the epoch. */
  readonly lastSeen: number
}> {
  override get message(): string {
    return `keep alive expired: nothing from the peer for ${this.intervalMillis} ms`
  }
}

/**
 * The peer sent a message that is no frame. The session ended with close code 1008.
 *
 * @since 0.1.0
 * @category errors
 */
export class MalformedFrame extends Data.TaggedError("MalformedFrame")<{
  readonly fault: "Truncated" | "UnknownType" | "UnexpectedPayload" | "InvalidCredit"
  readonly detail: string
}> {
  override get message(): string {
    return `malformed frame: ${plainText(this.detail)}`
  }
}

/**
 * The peer sent a text message; frames are binary. The session ended with close code 1008.
 *
 * @since 0.1.0
 * @category errors
 */
export class UnexpectedText extends Data.TaggedError("UnexpectedText") {
  override get message(): string {
    return "unexpected text message: frames are binary"
  }
}

/**
 * The peer opened a stream with an id of our own parity: both ends have the same role. The session ended with close code
 * 1008.
 *
 * @since 0.1.0
 * @category errors
 */
export class WrongParity extends Data.TaggedError("WrongParity")<{
  readonly streamId: number
  /** The role of this end. */
  readonly role: "client" | "server"
}> {
  override get message(): string {
    return `stream id ${this.streamId} belongs to the ${this.role}: are both ends ${this.role}s?`
  }
}

/**
 * The peer made us queue more answers than it reads. The session ended with close code 1008.
 *
 * @since 0.1.0
 * @category errors
 */
export class PeerFlood extends Data.TaggedError("PeerFlood")<{ readonly detail: string }> {
  override get message(): string {
    return `the peer floods the session: ${plainText(this.detail)}`
  }
}

/**
 * The peer refused a stream: its backlog is full, or it gave the stream up.
 *
 * @since 0.1.0
 * @category errors
 */
export class StreamRefused extends Data.TaggedError("StreamRefused")<{ readonly streamId: number }> {
  override get message(): string {
    return `the peer refused stream ${this.streamId}`
  }
}

/**
 * The WebSocket was lost without a close frame (code 1006), or failed. A Go peer ends every session like this.
 *
 * @since 0.1.0
 * @category errors
 */
export class TransportFailure extends Data.TaggedError("TransportFailure")<{
  readonly code: number
  readonly reason: string
  readonly cause?: unknown
}> {
  override get message(): string {
    return `the connection was lost (${detailed(`code ${this.code}`, describe(this.cause) || this.reason)})`
  }
}

/**
 * A WebSocket could not be established.
 *
 * @since 0.1.0
 * @category errors
 */
export class ConnectFailure extends Data.TaggedError("ConnectFailure")<{
  /** Without what may be secret in it (see `Address.redacted`). */
  readonly url: string
  /** `Rejected`: the server answered, but not with a WebSocket; `status` says how. */
  readonly reason: "Unreachable" | "Timeout" | "Rejected" | "InvalidUrl"
  readonly status?: number | undefined
  /** How long the server asks to wait before another attempt (`Retry-After`), in milliseconds. */
  readonly retryAfterMillis?: number | undefined
  readonly cause?: unknown
}> {
  override get message(): string {
    return connectFailure(this)
  }
}

/**
 * A `ReconnectingSession` has no session: none came in time, no more attempts are made, or it was closed here. `E` is
 * the type of the failures of its attempts.
 *
 * @since 0.1.0
 * @category errors
 */
export class NotConnected<out E = unknown> extends Data.TaggedError("NotConnected")<{
  readonly reason: "Timeout" | "GaveUp" | "Closed"
  readonly cause?: unknown
  /** The defect at which it gave up: a bug in an effect that it was given, not a failure of an attempt. */
  readonly defect?: unknown
}> {
  /** The failure of the last attempt, or the end of the last session. */
  declare readonly cause?: E | undefined

  override get message(): string {
    return notConnected(this)
  }
}

/**
 * A duplex of Node's or a pair of web streams that was joined with a stream could not be connected, or broke.
 *
 * @since 0.1.0
 * @category errors
 */
export class DuplexFailure extends Data.TaggedError("DuplexFailure")<{
  readonly detail: string
  readonly cause?: unknown
}> {
  override get message(): string {
    return plainText(this.detail)
  }
}

/**
 * The peer has ended its half of a joined stream, and takes nothing more: it has most likely gone.
 *
 * @since 0.1.0
 * @category errors
 */
export class Stalled extends Data.TaggedError("Stalled")<{ readonly afterMillis: number }> {
  override get message(): string {
    return `the other end has gone: it has taken nothing for ${this.afterMillis} ms`
  }
}

/**
 * A server could not listen at its address.
 *
 * @since 0.1.0
 * @category errors
 */
export class ListenFailure extends Data.TaggedError("ListenFailure")<{
  readonly address: string
  readonly cause?: unknown
}> {
  override get message(): string {
    return detailed(`cannot listen on ${this.address}`, describe(this.cause))
  }
}

/**
 * A setting, alone or beside the others, makes no sense. Fails when the session is made, never later.
 *
 * @since 0.1.0
 * @category errors
 */
export class InvalidConfiguration extends Data.TaggedError("InvalidConfiguration")<{
  readonly setting: string
  readonly detail: string
}> {
  override get message(): string {
    return `invalid ${this.setting}: ${this.detail}`
  }
}

/**
 * What can end a session. The first one wins, and is what every later operation reports.
 *
 * @since 0.1.0
 * @category unions
 */
export type TerminalError =
  | SessionClosed
  | KeepAliveExpired
  | MalformedFrame
  | UnexpectedText
  | WrongParity
  | PeerFlood
  | TransportFailure

/**
 * @since 0.1.0
 * @category guards
 */
export const isTerminalError = (u: unknown): u is TerminalError =>
  u instanceof SessionClosed || u instanceof KeepAliveExpired || u instanceof MalformedFrame ||
  u instanceof UnexpectedText || u instanceof WrongParity || u instanceof PeerFlood || u instanceof TransportFailure

/**
 * The failures of `Session.open`. An open with an id of the caller's choice may fail with `DuplicateStream`, too.
 *
 * @since 0.1.0
 * @category unions
 */
export type OpenError = AcceptTimeout | StreamRefused | TerminalError

/**
 * @since 0.1.0
 * @category unions
 */
export type AcceptError = TerminalError

/**
 * @since 0.1.0
 * @category unions
 */
export type ReadError = ReadTimeout | NoCapacity | BrokenPipe

/**
 * @since 0.1.0
 * @category unions
 */
export type WriteError = WriteTimeout | BrokenPipe

/**
 * Every failure of a session's streams: opening and accepting them, reading, writing, and setting deadlines.
 *
 * @since 0.2.0
 * @category unions
 */
export type StreamError = OpenError | DuplicateStream | AcceptError | ReadError | WriteError | InvalidDeadline
