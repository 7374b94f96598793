import type { Settings } from "../../SessionConfig.js"
import type { SessionDraining, TerminalError } from "../../WsmuxError.js"
import type { ReceiveMemory } from "../budget/receiveMemory.js"
import type { Counters } from "../observe/counters.js"
import type { SessionLog } from "../observe/sessionLog.js"
import type { SendScheduler } from "../send/sendScheduler.js"
import type { CellMap } from "../sync/cellMap.js"
import type { Role } from "../wire/streamIds.js"
import type { Dialect } from "./dialect.js"
import type { StreamContext, StreamProtocol } from "./streamProtocol.js"

/** What the parts of a session's protocol share. */
export interface Host {
  readonly role: Role
  readonly settings: Settings
  readonly log: SessionLog
  readonly counters: Counters
  readonly scheduler: SendScheduler
  readonly dialect: Dialect
  readonly memory: ReceiveMemory
  /** The streams of both ends by their ids. */
  readonly streams: CellMap<number, StreamProtocol>
  readonly streamContext: StreamContext
  /** The first terminal error. */
  readonly terminal: TerminalError | undefined
  /** Why this end opens no more streams: an end drains the session. */
  readonly noOpens: SessionDraining | undefined
  /** The announcement of a peer that drains the session. */
  readonly peerDraining: SessionDraining | undefined
  /** Whether this end takes no more streams of the peer. */
  readonly isDraining: boolean
  /** Ends the session: all waiting and later operations fail. Only the first call counts. */
  readonly terminate: (error: TerminalError) => void
  /** Sends a reply to a frame of the peer. Ends the session when the peer causes replies and does not read them. */
  readonly answer: (frame: Uint8Array) => void
}
