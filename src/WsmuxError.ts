/**
 * The failures of this package's operations: tagged errors for `Effect.catchTag`.
 *
 * Errors that the Go package has keep their names without `Err`. Faults of the peer and of the network are failures in
 * the typed channel. A fault of the caller that no program can handle is a defect.
 *
 * @since 0.1.0
 */
import * as Data from "effect/Data"
import { describe, detailed } from "./internal/text/describe.js"
import { connectFailure, notConnected, resumeFailure } from "./internal/text/errorText.js"
import { plainText } from "./internal/text/plainText.js"
import type { TerminalError } from "./TerminalError.js"
import type { CloseInfo } from "./Transport.js"

export * from "./TerminalError.js"

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
 * One end reset the stream, or reads no more of it: a half of the stream ended abnormally. Only peers that speak the
 * dialect reset streams. `code` is one of `MuxStream.ResetCode`, or a code of the program from 256 on.
 *
 * @since 0.2.0
 * @category errors
 */
export class StreamReset extends Data.TaggedError("StreamReset")<{
  readonly streamId: number
  readonly operation: "read" | "write"
  /** The end that reset the stream. */
  readonly by: "local" | "peer"
  readonly code: number
  /** Unchecked text of the peer where `by` is `peer`. */
  readonly reason: string
  /** The bytes of this write that had been handed to the socket; 0 for a read. */
  readonly written: number
}> {
  override get message(): string {
    const who = this.by === "local" ? "this end" : "the peer"
    return detailed(
      `cannot ${this.operation} stream ${this.streamId}`,
      detailed(`${who} reset it (code ${this.code})`, plainText(this.reason))
    )
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
 * The peer refused a stream, because a limit was reached or the program left the stream. A peer that speaks the dialect
 * tells why. The peer's program has seen no byte of the stream.
 *
 * @since 0.1.0
 * @category errors
 */
export class StreamRefused extends Data.TaggedError("StreamRefused")<{
  readonly streamId: number
  /** One of `MuxStream.ResetCode`, or a code of the peer's program from 256 on. Undefined without the dialect. */
  readonly code?: number | undefined
  /** Unchecked text of the peer. Undefined without the dialect. */
  readonly reason?: string | undefined
}> {
  override get message(): string {
    return detailed(`cannot open stream ${this.streamId}: the peer refused it`, plainText(this.reason ?? ""))
  }
}

/**
 * A stream could not be opened, because an end of the session takes no new streams. None of its bytes were sent, so
 * another session may open the stream without harm.
 *
 * @since 0.2.0
 * @category errors
 */
export class SessionDraining extends Data.TaggedError("SessionDraining")<{
  /** The end that takes no new streams. */
  readonly by: "local" | "peer"
  /** How long that end serves the streams that run, from its announcement, in milliseconds. */
  readonly graceMillis: number
  /** Whether that end wants the peer to dial again now. */
  readonly redial: boolean
  /** A code of that end's program, or 0. */
  readonly code: number
  /** Unchecked text of the peer where `by` is `peer`. */
  readonly reason: string
}> {
  override get message(): string {
    const who = this.by === "local" ? "this end" : "the peer"
    const what = `cannot open a stream: ${who} drains the session; another session may open it`
    return detailed(what, plainText(this.reason))
  }
}

/**
 * A stream with a label or metadata could not be opened, because the peer does not speak the dialect, or takes only
 * shorter ones.
 *
 * @since 0.2.0
 * @category errors
 */
export class LabelsUnsupported extends Data.TaggedError("LabelsUnsupported")<{ readonly detail: string }> {
  override get message(): string {
    return `cannot open a stream with a label or metadata: ${this.detail}`
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
 * A session that had lost its WebSocket could not go on over another one. The `cause` of the `TransportFailure` that
 * ends the session.
 *
 * - `GraceExpired`: no WebSocket took the place of the lost one in time
 * - `AttemptsEnded`: the schedule of the dialling end allows no further attempt, or the last one was hopeless
 * - `Unknown`: the server does not hold the session, because it has restarted or has given the session up
 * - `OtherPrincipal`: the server authorised another principal than before
 * - `LostBytes`: one end no longer keeps bytes that the other needs, or the counts of the peer are wrong
 * - `Superseded`: a later attempt has taken the session
 * - `Limit`: the server holds too many suspended sessions, or too many of their bytes
 *
 * @since 0.2.0
 * @category errors
 */
export class ResumeFailure extends Data.TaggedError("ResumeFailure")<{
  readonly reason:
    | "GraceExpired"
    | "AttemptsEnded"
    | "Unknown"
    | "OtherPrincipal"
    | "LostBytes"
    | "Superseded"
    | "Limit"
  /** What was exceeded, or what the peer said. */
  readonly detail: string
  /** How the first WebSocket was lost; undefined where none was. */
  readonly loss: CloseInfo | undefined
  /** Why the last attempt failed. */
  readonly cause?: unknown
}> {
  override get message(): string {
    return resumeFailure(this)
  }
}

/**
 * The failures of `Session.open`. An open with an id of the caller's choice may fail with `DuplicateStream`, too.
 *
 * @since 0.1.0
 * @category unions
 */
export type OpenError = AcceptTimeout | StreamRefused | SessionDraining | TerminalError

/**
 * @since 0.1.0
 * @category unions
 */
export type AcceptError = TerminalError

/**
 * @since 0.1.0
 * @category unions
 */
export type ReadError = ReadTimeout | NoCapacity | BrokenPipe | StreamReset

/**
 * @since 0.1.0
 * @category unions
 */
export type WriteError = WriteTimeout | BrokenPipe | StreamReset

/**
 * The failures of `MuxStream.end`.
 *
 * @since 0.2.0
 * @category unions
 */
export type EndError = BrokenPipe | StreamReset

/**
 * All failures of a session's streams: of opening, accepting, reading, writing, and setting deadlines.
 *
 * @since 0.2.0
 * @category unions
 */
export type StreamError =
  | OpenError
  | DuplicateStream
  | LabelsUnsupported
  | AcceptError
  | ReadError
  | WriteError
  | InvalidDeadline
