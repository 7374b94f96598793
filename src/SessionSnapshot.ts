/**
 * The state of a session for operators: its streams and its counters at one moment.
 *
 * @since 0.2.0
 */
/**
 * @since 0.1.0
 * @category models
 */
export interface FrameCounts {
  readonly dat: number
  readonly syn: number
  readonly ack: number
  readonly fin: number
  /** Records of the dialect, such as one that opens a stream in place of a SYN. */
  readonly record: number
}

/**
 * Whether the two peers speak the dialect.
 *
 * - `negotiating`: the peer's first message is still to come
 * - `plain`: both speak the wire of Go `wsmux`
 * - `native`: both speak the dialect, with the features that both know
 *
 * @since 0.2.0
 * @category models
 */
export type DialectSnapshot =
  | { readonly state: "negotiating" | "plain" }
  | {
    readonly state: "native"
    /** The peer's software, as unchecked text. */
    readonly software: string | undefined
    readonly features: ReadonlyArray<"open" | "reset" | "goAway" | "ping">
    /** The receive window of the peer's streams in bytes. */
    readonly window: number | undefined
    /** The bytes that an early open may send before its answer. */
    readonly earlyCredit: number
    /** The bytes that all early opens together may send before their answers. */
    readonly earlyCreditInAll: number
    /** The longest label and metadata that the peer takes, in bytes. Undefined where the peer tells none. */
    readonly longestLabel: number | undefined
    readonly longestMetadata: number | undefined
    /** How many streams may wait to be accepted by the peer. */
    readonly backlog: number | undefined
  }

/**
 * How a session survives the loss of its WebSocket.
 *
 * @since 0.2.0
 * @category models
 */
export interface ResumptionSnapshot {
  /** Whether the session has a WebSocket, or waits for the next one. */
  readonly state: "connected" | "suspended"
  /** When the WebSocket was lost, in milliseconds of the clock; undefined while there is one. */
  readonly since: number | undefined
  /** Whether the WebSocket was lost by one to two keep-alive intervals of silence. False while there is one. */
  readonly wasSilent: boolean
  /** How many WebSockets have taken the place of a lost one. */
  readonly resumed: number
  /** The bytes of sent messages that the peer has not acknowledged. */
  readonly keptBytes: number
}

/**
 * An end that takes no new streams.
 *
 * @since 0.2.0
 * @category models
 */
export interface DrainSnapshot {
  /** How long the end still serves the streams that run, in milliseconds. */
  readonly remainingMillis: number
  readonly redial: boolean
  readonly code: number
  /** Unchecked text of the peer where the peer drains. */
  readonly reason: string
}

/**
 * The counters of a session since the session was made.
 *
 * @since 0.1.0
 * @category models
 */
export interface SessionCounters {
  readonly framesIn: FrameCounts
  readonly framesOut: FrameCounts
  /** Payload bytes of DAT frames. */
  readonly bytesIn: number
  readonly bytesOut: number
  /** `opened`: streams that the peer accepted. `accepted` and `refused`: streams of the peer. */
  readonly opened: number
  readonly accepted: number
  readonly refused: number
  /** Faults of the peer: SYNs for open streams, unexpected frames, overrun windows, credit beyond 2^32-1. */
  readonly duplicateSyns: number
  readonly ignoredFrames: number
  readonly windowOverruns: number
  readonly creditOverflows: number
  /** The number of writes that had to wait for the peer's credit. */
  readonly creditStalls: number
}

/**
 * @since 0.1.0
 * @category models
 */
export interface StreamSnapshot {
  readonly id: number
  /** The label that the opener gave. Empty without one. Unchecked text of the peer for the peer's streams. */
  readonly label: string
  readonly state:
    | "Opening"
    | "OpeningEnded"
    | "Cancelling"
    | "AwaitingAccept"
    | "AwaitingAcceptEnded"
    | "Open"
    | "HalfClosedLocal"
    | "HalfClosedRemote"
    | "Closed"
  /** The bytes that were received and not yet read. */
  readonly bufferedBytes: number
  /** The bytes that the peer may still send. */
  readonly receiveCredit: number
  /** Whether this end left the stream, so that the session discards the bytes that still arrive. */
  readonly discarding: boolean
  /** The bytes that this end may still send. */
  readonly sendCredit: number
  /** The bytes that were written and not yet sent. */
  readonly waitingBytes: number
}

/**
 * @since 0.1.0
 * @category models
 */
export interface SessionSnapshot {
  readonly role: "client" | "server"
  readonly closed: boolean
  readonly dialect: DialectSnapshot
  /** Undefined for a session that ends with its WebSocket. */
  readonly resumption: ResumptionSnapshot | undefined
  /** Whether this end and the peer drain the session. Undefined for an end that takes new streams. */
  readonly localDrain: DrainSnapshot | undefined
  readonly peerDrain: DrainSnapshot | undefined
  readonly streams: ReadonlyArray<StreamSnapshot>
  /** Streams of the peer that wait to be accepted. */
  readonly backlog: number
  /**
   * How long the peer took to answer the last ping, in milliseconds. Undefined before the first answer.
   *
   * @since 0.2.0
   */
  readonly roundTripMillis: number | undefined
  /** Opens of this end that the peer has not answered. `waitingOpens` have not been sent yet. */
  readonly unacknowledgedOpens: number
  readonly waitingOpens: number
  readonly counters: SessionCounters
}
