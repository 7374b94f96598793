/**
 * The failures of this package's operations: tagged errors for `Effect.catchTag`.
 *
 * Errors that the Go package has keep their names without `Err`. Faults of the peer and of the network are failures in
 * the typed channel. A fault of the caller that no program can handle is a defect.
 *
 * @since 0.1.0
 */
import * as Data from "effect/Data"
import * as Predicate from "effect/Predicate"
import { connectFailure, describe, detailed, notConnected } from "./internal/text/errorText.js"
import { plainText } from "./internal/text/plainText.js"
import { TerminalTaggedError, TerminalTypeId } from "./internal/text/terminalError.js"

/**
 * The peer did not accept a stream in time (`ErrAcceptTimeout`). The id remains reserved until the peer answers.
 *
 * @since 0.1.0
 * @category errors
 */
export class AcceptTimeout extends Data.TaggedError("AcceptTimeout")<{
  /** How long `open` waited, in milliseconds. */
  readonly afterMillis: number
}> {
  override get message(): string {
    return `cannot open a stream: the peer did not accept it within ${this.afterMillis} ms`
  }
}

/**
 * A stream can no longer be read or written (`ErrBrokenPipe`). `reason` tells why:
 *
 * - `SessionEnded`: the session has ended, with its terminal error as `cause`
 * - `StreamEnded`: this end has ended the stream, or has left the stream's scope
 *
 * @since 0.1.0
 * @category errors
 */
export class BrokenPipe extends Data.TaggedError("BrokenPipe")<{
  readonly streamId: number
  readonly operation: "read" | "write"
  readonly reason: "SessionEnded" | "StreamEnded"
  /** The bytes of this write that had been handed to the socket; 0 for a read. */
  readonly written: number
  /** The terminal error of the session, where `reason` is `SessionEnded`. */
  readonly cause?: TerminalError | undefined
}> {
  override get message(): string {
    const why = this.reason === "StreamEnded" ? "this end has ended the stream" : describe(this.cause)
    return detailed(`cannot ${this.operation} stream ${this.streamId}`, why)
  }
}

/**
 * A write did not complete before the write deadline (`ErrWriteTimeout`). The stream remains usable.
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
    return `cannot write stream ${this.streamId}: the write deadline passed after ${this.written} bytes`
  }
}

/**
 * No bytes arrived before the read deadline (`ErrReadTimeout`). The stream remains usable.
 *
 * @since 0.1.0
 * @category errors
 */
export class ReadTimeout extends Data.TaggedError("ReadTimeout")<{ readonly streamId: number }> {
  override get message(): string {
    return `cannot read stream ${this.streamId}: the read deadline passed`
  }
}

/**
 * The peer sent more bytes than its credit, so bytes of this stream are lost (`ErrNoCapacity`). The bytes that fitted
 * the window are read before this failure.
 *
 * @since 0.1.0
 * @category errors
 */
export class NoCapacity extends Data.TaggedError("NoCapacity")<{ readonly streamId: number }> {
  override get message(): string {
    return `cannot read stream ${this.streamId}: the peer exceeded the window; do both ends use the same buffer size?`
  }
}

/**
 * The requested id is in use, or was used before (`ErrDuplicateStream`).
 *
 * @since 0.1.0
 * @category errors
 */
export class DuplicateStream extends Data.TaggedError("DuplicateStream")<{ readonly streamId: number }> {
  override get message(): string {
    return `cannot open stream ${this.streamId}: the id is taken`
  }
}

/**
 * The session was closed (`ErrSessionClosed`), by this side or by a close frame of the peer.
 *
 * @since 0.1.0
 * @category errors
 */
export class SessionClosed extends TerminalTaggedError("SessionClosed")<{
  readonly by: "local" | "peer"
  /** The WebSocket close code: 1005 if the peer sent none. */
  readonly code: number
  readonly reason: string
}> {
  override get message(): string {
    const who = this.by === "local" ? "this side" : "the peer"
    return `the session was closed by ${who} (${detailed(`code ${this.code}`, this.reason)})`
  }
}

/**
 * The given deadline lies before the current time (`ErrInvalidDeadline`). The deadline in force is unchanged.
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
    const why = Number.isNaN(this.deadline) ? "not a valid time" : `${this.now - this.deadline} ms in the past`
    return `cannot set the deadline: ${why}`
  }
}

/**
 * The session received nothing from the peer during a whole keep-alive interval (`ErrKeepAliveExpired`).
 *
 * @since 0.1.0
 * @category errors
 */
export class KeepAliveExpired extends TerminalTaggedError("KeepAliveExpired")<{
  readonly intervalMillis: number
  /** The last tick at which the peer was known to be alive, in milliseconds since the epoch. */
  readonly lastSeen: number
}> {
  override get message(): string {
    return `keep alive expired: nothing from the peer for ${this.intervalMillis} ms`
  }
}

/**
 * The peer sent a malformed frame. The session ended with close code 1008.
 *
 * @since 0.1.0
 * @category errors
 */
export class MalformedFrame extends TerminalTaggedError("MalformedFrame")<{
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
export class UnexpectedText extends TerminalTaggedError("UnexpectedText") {
  override get message(): string {
    return "unexpected text message: frames are binary"
  }
}

/**
 * The peer opened a stream with an id of this end's parity, so both ends have the same role. The session ended with
 * close code 1008.
 *
 * @since 0.1.0
 * @category errors
 */
export class WrongParity extends TerminalTaggedError("WrongParity")<{
  readonly streamId: number
  /** The role of this end. */
  readonly role: "client" | "server"
}> {
  override get message(): string {
    return `stream id ${this.streamId} belongs to the ${this.role}: are both ends ${this.role}s?`
  }
}

/**
 * The peer caused more replies than it reads. The session ended with close code 1008.
 *
 * @since 0.1.0
 * @category errors
 */
export class PeerFlood extends TerminalTaggedError("PeerFlood")<{ readonly detail: string }> {
  override get message(): string {
    return `the peer floods the session: ${plainText(this.detail)}`
  }
}

/**
 * The peer refused a stream, because its backlog is full or the program closed the stream.
 *
 * @since 0.1.0
 * @category errors
 */
export class StreamRefused extends Data.TaggedError("StreamRefused")<{ readonly streamId: number }> {
  override get message(): string {
    return `cannot open stream ${this.streamId}: the peer refused it`
  }
}

/**
 * The WebSocket failed, or was lost without a close frame (code 1006). A Go peer ends every session without one.
 *
 * @since 0.1.0
 * @category errors
 */
export class TransportFailure extends TerminalTaggedError("TransportFailure")<{
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
  /** The address without user, password and query (see `Address.redacted`). */
  readonly url: string
  /** `Rejected`: the server answered with the HTTP status `status` instead of a WebSocket. */
  readonly reason: "Unreachable" | "Timeout" | "Rejected" | "InvalidUrl"
  readonly status?: number | undefined
  /** The delay before another attempt that the server asks for (`Retry-After`), in milliseconds. */
  readonly retryAfterMillis?: number | undefined
  readonly cause?: unknown
}> {
  override get message(): string {
    return connectFailure(this)
  }
}

/**
 * A `ReconnectingSession` has no session. `E` is the type of the failures of its attempts. `reason` tells why:
 *
 * - `Timeout`: no attempt succeeded in time
 * - `GaveUp`: no more attempts are made
 * - `Closed`: this end closed the reconnecting session
 *
 * @since 0.1.0
 * @category errors
 */
export class NotConnected<out E = unknown> extends Data.TaggedError("NotConnected")<{
  readonly reason: "Timeout" | "GaveUp" | "Closed"
  readonly cause?: unknown
  /** The defect after which no more attempts are made: a bug in an effect of the program, not a failed attempt. */
  readonly defect?: unknown
}> {
  /** The failure of the last attempt, or the end of the last session. */
  declare readonly cause?: E | undefined

  override get message(): string {
    return notConnected(this)
  }
}

/**
 * A Node duplex or a pair of web streams that was joined with a stream could not be connected, or broke.
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
 * The peer has ended its half of a joined stream and reads nothing more, so the peer has most likely gone.
 *
 * @since 0.1.0
 * @category errors
 */
export class Stalled extends Data.TaggedError("Stalled")<{ readonly afterMillis: number }> {
  override get message(): string {
    return `the other end has gone: no bytes were read there for ${this.afterMillis} ms`
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
 * A setting is invalid, alone or together with others. A session fails with this error only when it is made.
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
 * The errors that end a session. Every later operation reports the first of them.
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
 * Whether a value is an error that ends a session. Recognises the errors of another copy of this package, too.
 *
 * @since 0.1.0
 * @category guards
 */
export const isTerminalError = (u: unknown): u is TerminalError => Predicate.hasProperty(u, TerminalTypeId)

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
 * All failures of a session's streams: of opening, accepting, reading, writing, and setting deadlines.
 *
 * @since 0.2.0
 * @category unions
 */
export type StreamError = OpenError | DuplicateStream | AcceptError | ReadError | WriteError | InvalidDeadline
