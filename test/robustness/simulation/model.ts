import type { SessionSnapshot } from "effect-wsmux/SessionSnapshot"
import * as Duration from "effect/Duration"
import { smallFrame } from "../../../src/internal/send/congestion.js"
import { isAnswered, other } from "../../support/numberedEnds.js"
import { checkDrain, checkOwners } from "./drains.js"
import { drainsLittle, isDone, isOver, type Peer, snapshotOf } from "./peer.js"

/** How many opens may be unanswered, and whether that is decided. */
const opensOf = ({ settings }: Peer, { dialect }: SessionSnapshot) => ({
  limit: dialect.state === "native" ? Math.max(dialect.backlog ?? 0, 1) : settings.maxUnacknowledgedOpens,
  isDecided: dialect.state !== "negotiating"
})

/** Checks the invariant of any moment: no session holds more than its settings allow. */
export const checkBounds = (peer: Peer): void => {
  const { wire } = peer.link
  const { acceptBacklog, maxStreams, maxUnacknowledgedOpens, streamBufferSize, maxWindowGrowth: maxWindowGrowth } =
    peer.settings
  const snapshot = snapshotOf(peer)
  wire.checkWindows(snapshot)
  const fault = (text: string) => wire.faults.push(`${peer.name}: ${text}`)
  const theirs = snapshot.streams.filter(({ id }) => (id % 2 === 1) !== (peer.side === "client"))
  if (snapshot.backlog > acceptBacklog) fault(`${snapshot.backlog} streams in the backlog`)
  if (theirs.length > maxStreams) fault(`${theirs.length} streams of the peer's`)
  const { limit } = opensOf(peer, snapshot)
  if (snapshot.unacknowledgedOpens > Math.max(maxUnacknowledgedOpens, limit)) {
    fault(`${snapshot.unacknowledgedOpens} opens unanswered`)
  }
  const grown = theirs.reduce(
    (sum, { bufferedBytes, receiveCredit }) => sum + Math.max(0, bufferedBytes + receiveCredit - streamBufferSize),
    0
  )
  if (grown > maxWindowGrowth) fault(`windows grew by ${grown} bytes`)
  for (const count of ["duplicateSyns", "windowOverruns", "creditOverflows"] as const) {
    if (snapshot.counters[count] > 0) fault(`counts ${count} of an honest peer`)
  }
}

/** Checks the invariant of a moment at which no fiber can run: no operation waits that could go on. */
export const checkAtRest = (peer: Peer, now: number): void => {
  const { wire } = peer.link
  const fault = (text: string) => wire.faults.push(`${peer.name}: ${text}`)
  const over = isOver(peer)
  checkDrain(peer, now)
  checkOwners(peer)
  const { backlog, streams, unacknowledgedOpens, waitingOpens } = snapshotOf(peer)
  if (over && streams.length > 0) fault("has streams after its end")
  if (peer.accepting.some((fiber) => !isDone(fiber))) {
    if (over) fault("an accept waits after the session's end")
    if (backlog > 0) fault("an accept sleeps beside streams")
  }
  const deadline = Duration.toMillis(peer.settings.streamAcceptDeadline)
  for (const { fiber, since } of peer.opening) {
    if (isDone(fiber)) continue
    if (over) fault("an open waits after the session's end")
    if (now >= since + deadline) fault("an open waits beyond its deadline")
  }
  const { isDecided, limit } = opensOf(peer, snapshotOf(peer))
  if (waitingOpens > 0 && isDecided && unacknowledgedOpens < limit) fault("an open waits for no turn")
  for (const { fiber, since } of peer.closing) {
    const limit = Duration.toMillis(peer.settings.flushTimeout) + Duration.toMillis(peer.settings.closeTimeout)
    if (!isDone(fiber) && now > since + limit) fault(`takes more than ${limit} ms to close`)
  }

  const canSend = !peer.link.isBlocked(peer.side)
  for (const end of peer.ends) {
    const { arrived, endArrived, read, resetArrived } = end.inbound
    const stream = streams.find(({ id }) => id === end.id)
    const pending = end.pending()
    const asleep = (text: string) => fault(`stream ${end.id}: ${text}`)
    if (over && (pending.read || pending.write || pending.end)) asleep("something waits after the session's end")
    if (end.isLeft() && (pending.read || pending.write)) asleep("something waits although it was left")
    if (pending.readOverdue) asleep("a read waits beyond its deadline")
    if (pending.writeOverdue) asleep("a write waits beyond its deadline")
    if (pending.read && !end.isUnsure() && (read < arrived || endArrived || resetArrived !== undefined)) {
      asleep("a read sleeps beside bytes or the end")
    }
    if (stream === undefined || over || !canSend) continue
    const mayGo = stream.sendCredit > 0 && !peer.link.isMeasuring(peer.side)
    if (stream.waitingBytes > 0 && mayGo) asleep("a write sleeps beside credit")
    if (pending.end && stream.waitingBytes === 0 && !peer.link.isMeasuring(peer.side)) {
      asleep("an end sleeps with nothing before it")
    }
  }
}

/** Checks the invariants of two open sessions when no message is on its way. */
export const checkCredit = (client: Peer, server: Peer): void => {
  const { link } = client
  if (!link.isSilent() || link.isBlocked("client") || link.isBlocked("server") || isOver(client) || isOver(server)) {
    return
  }
  if (drainsLittle(client) || drainsLittle(server)) return
  link.wire.checkCredit(snapshotOf(client), snapshotOf(server))
  for (const peer of [client, server]) {
    for (const end of peer.ends) {
      const stream = snapshotOf(peer).streams.find(({ id }) => id === end.id)
      if (stream === undefined || !isAnswered(stream) || end.inbound.isOver || stream.bufferedBytes > 0) continue
      const size = peer.settings.streamBufferSize
      link.wire.expect(stream.receiveCredit * 2 > size, `the reader of stream ${end.id} keeps its writer from writing`)
    }
  }
}

/** How often other streams have sent while this one could: any stream, and streams with much to send. */
export type Turns = Map<number, { readonly any: number; readonly alike: number }>

/** Checks the invariants of a sent frame: credit allows its bytes, and no stream waits for long. */
export const checkTurn = (peer: Peer, id: number, size: number, turns: Turns): void => {
  const { wire } = peer.link
  const { streams } = snapshotOf(peer)
  const isHeavy = (bytes: number) => bytes > smallFrame
  const fromHeavy = isHeavy((streams.find((stream) => stream.id === id)?.waitingBytes ?? 0) + size)
  turns.delete(id)
  for (const stream of streams) {
    const inbound = wire.direction(other(peer.side), stream.id)
    const waits = stream.receiveCredit - (inbound.granted - inbound.arrived)
    const isLate = waits > 0 && !inbound.endArrived && inbound.resetArrived === undefined && !drainsLittle(peer)
    wire.expect(!isLate, `${peer.name}: bytes of stream ${id} leave before ${waits} bytes of credit for ${stream.id}`)
    const isReady = stream.id !== id && stream.waitingBytes > 0 && stream.sendCredit > 0
    if (!isReady) {
      turns.delete(stream.id)
      continue
    }
    const { alike, any } = turns.get(stream.id) ?? { alike: 0, any: 0 }
    const passed = { alike: alike + (fromHeavy && isHeavy(stream.waitingBytes) ? 1 : 0), any: any + 1 }
    turns.set(stream.id, passed)
    // a stream with little left to send may still be queued as one with much
    const isFair = passed.alike <= 2 * streams.length && passed.any <= streams.length * (maxPassed + 1)
    wire.expect(isFair, `${peer.name}: stream ${stream.id} is passed over ${passed.any} times`)
  }
}

/** How many streams with little to send may pass a stream with much. */
const maxPassed = 64
