import { ResetCode } from "effect-wsmux/MuxStream"
import type * as Session from "effect-wsmux/Session"
import * as SessionConfig from "effect-wsmux/SessionConfig"
import type { SessionSnapshot } from "effect-wsmux/SessionSnapshot"
import type { DuplicateStream, LabelsUnsupported, OpenError, TerminalError } from "effect-wsmux/WsmuxError"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import type { End, Side } from "../../support/numberedEnds.js"
import type { Random } from "../../support/random.js"
import { type Drain, mayFailDraining } from "./drains.js"
import type { Link } from "./link.js"

export type AnyFiber = Fiber.RuntimeFiber<unknown, unknown>

export const isDone = (fiber: AnyFiber) => fiber.unsafePoll() !== null

/** The settings of a session. Most are small, so that programs reach the bounds. */
export const drawSettings = (random: Random): SessionConfig.Settings => {
  const streamBufferSize = random.pick([random.int(1, 16), random.int(16, 4096), 1024, 64 * 1024])
  return {
    ...SessionConfig.defaults,
    streamBufferSize,
    maxStreamBufferSize: random.chance(0.2) ? streamBufferSize * random.int(2, 8) : undefined,
    maxWindowGrowth: random.pick([0, streamBufferSize * 3, SessionConfig.defaults.maxWindowGrowth]),
    maxFrameSize: random.pick([random.int(1, 64), random.int(64, 2048), 64 * 1024]),
    acceptBacklog: random.pick([0, 1, 2, 200, 200]),
    backlogTimeout: random.pick([100, 1000, 30_000, 30_000]),
    maxStreams: random.pick([1, 3, 4096, 4096]),
    maxUnacknowledgedOpens: random.pick([1, 2, 100]),
    streamAcceptDeadline: random.pick([100, 1000, 30_000]),
    keepAliveInterval: random.pick([Duration.infinity, Duration.infinity, Duration.millis(random.int(500, 10_000))]),
    flushTimeout: random.pick([0, 100, 1000]),
    closeTimeout: random.pick([0, 100, 1000]),
    dialect: random.pick(["auto", "auto", "off"]),
    discardLimit: random.pick([random.int(0, maxLittle), ...Array<number>(3).fill(SessionConfig.defaults.discardLimit)])
  }
}

/** A started operation, and the time of its start. */
export interface Started {
  readonly fiber: AnyFiber
  readonly since: number
}

/** One end of a link: its session, and the running operations. */
export interface Peer {
  readonly name: string
  readonly side: Side
  readonly link: Link
  readonly settings: SessionConfig.Settings
  readonly session: Session.Session
  /** Closes the scope of the session. */
  readonly dispose: Effect.Effect<unknown>
  readonly ends: Array<End>
  readonly opening: Array<Started>
  readonly accepting: Array<AnyFiber>
  /** The fiber that accepts all streams, when there is one. */
  running: AnyFiber | undefined
  /** The causes that the close callback has got. */
  readonly callbacks: ReadonlyArray<TerminalError>
  /** Whether the session had ended before its callback was set. */
  readonly isOverEarly: boolean
  /** The running closes and drains of the session, each with the time from which it may take no longer than a close. */
  readonly closing: Array<Started>
  /** The drain by this end. */
  drain: Drain | undefined
  /** The fiber that waits for a drain of either end. */
  hearing: AnyFiber
  /** When the peer's first message had told whether it speaks the dialect. */
  decidedAt: number | undefined
}

/** A stream that is left takes so few bytes that its writer may wait until the session ends. */
export const drainsLittle = ({ settings }: Peer): boolean => settings.discardLimit <= maxLittle

const maxLittle = 100

export const snapshotOf = (peer: Peer): SessionSnapshot => Effect.runSync(peer.session.snapshot)

export const isOver = (peer: Peer): boolean => Effect.runSync(peer.session.isClosed)

/** Whether an open may fail with this error: the model knows a cause of each error. */
export const mayOpenFail =
  (peer: Peer, since: number, now: number) => (error: OpenError | DuplicateStream | LabelsUnsupported): boolean => {
    switch (error._tag) {
      case "AcceptTimeout":
        return now - since >= Duration.toMillis(peer.settings.streamAcceptDeadline)
      case "StreamRefused":
        return peer.link.wire.isRefused(error.streamId) && error.code !== ResetCode.Draining
      case "LabelsUnsupported":
        return !peer.link.wire.isNative || now - since >= Duration.toMillis(peer.settings.streamAcceptDeadline)
      case "DuplicateStream":
        return false
      case "SessionDraining":
        return mayFailDraining(peer, error)
      default:
        return peer.link.wire.ends(peer.side, error)
    }
  }
