/**
 * The errors that end a session. `WsmuxError` exports them, too.
 *
 * @since 0.2.0
 */
import * as Predicate from "effect/Predicate"
import { describe, detailed } from "./internal/text/describe.js"
import { plainText } from "./internal/text/plainText.js"
import { TerminalTaggedError, TerminalTypeId } from "./internal/text/terminalError.js"

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
  readonly fault: "Truncated" | "UnknownType" | "UnexpectedPayload" | "InvalidCredit" | "InvalidRecord"
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
 * The peer does not speak the dialect, which the setting `dialect` requires. The session ended with close code 1008.
 *
 * @since 0.2.0
 * @category errors
 */
export class DialectMissing extends TerminalTaggedError("DialectMissing") {
  override get message(): string {
    return "the peer does not speak the dialect, which this session requires"
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
  | DialectMissing
  | TransportFailure

/**
 * Whether a value is an error that ends a session. Recognises the errors of another copy of this package, too.
 *
 * @since 0.1.0
 * @category guards
 */
export const isTerminalError = (u: unknown): u is TerminalError => Predicate.hasProperty(u, TerminalTypeId)
