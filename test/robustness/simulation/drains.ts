import type { OpenError, TerminalError } from "effect-wsmux/WsmuxError"
import * as Effect from "effect/Effect"
import { isDone, isOver, type Peer, snapshotOf } from "./peer.js"
import type { World } from "./world.js"

/** The drain of a session by one end. */
export interface Drain {
  readonly since: number
  /** When the grace passes. */
  until: number
}

/** The model's part of a drain that begins now, or of a further one, which can only shorten the grace. */
const note = (peer: Peer, since: number, until: number): void => {
  if (isOver(peer)) return
  peer.drain ??= { since, until }
  peer.drain.until = Math.min(peer.drain.until, until)
}

const drawGrace = ({ random }: World): number =>
  random.pick([0, random.int(0, 500), random.int(0, 5000), 30_000, 30_000, Infinity])

/** One end drains its session. */
export const drain = (world: World, peer: Peer): Effect.Effect<void> =>
  Effect.suspend(() => {
    const [since, grace] = [world.now(), drawGrace(world)]
    world.say(`  drains for ${grace} ms`)
    note(peer, since, since + grace)
    return Effect.map(Effect.fork(peer.session.drain({ grace })), (fiber) => {
      peer.closing.push({ fiber, since: since + grace })
    })
  })

/** The server drains all of its sessions, and those that come later. */
export const drainServer = (world: World): Effect.Effect<void> =>
  Effect.suspend(() => {
    const [since, grace] = [world.now(), drawGrace(world)]
    world.say(`the server drains for ${grace} ms`)
    world.serverDrain ??= { since, until: since + grace }
    world.serverDrain.until = Math.min(world.serverDrain.until, since + grace)
    for (const [, server] of world.pairs) note(server, since, since + grace)
    return Effect.map(Effect.fork(world.drainServer(grace)), (fiber) => {
      world.pairs[0]![1].closing.push({ fiber, since: since + grace })
    })
  })

/** Whether an end knows that its session drains. */
export const knowsOfDrain = (peer: Peer): boolean => {
  const { localDrain, peerDrain } = snapshotOf(peer)
  return localDrain !== undefined || peerDrain !== undefined
}

/** Whether an open may fail because the session drains: this end does, or the GOAWAY of its peer has arrived. */
export const mayFailDraining = (peer: Peer, error: Extract<OpenError, { _tag: "SessionDraining" }>): boolean => {
  const { localDrain, peerDrain } = snapshotOf(peer)
  return (error.by === "local" ? localDrain : peerDrain) !== undefined
}

/** Checks a moment at which no fiber can run: a drained session ends in time, and fails what it does not carry. */
export const checkDrain = (peer: Peer, now: number): void => {
  const { wire } = peer.link
  const fault = (text: string) => wire.faults.push(`${peer.name}: ${text}`)
  const { dialect, localDrain, streams, waitingOpens } = snapshotOf(peer)
  const knows = knowsOfDrain(peer)
  if (isDone(peer.hearing) !== (knows || isOver(peer))) fault("awaitDraining does not tell what the session knows")
  if (isOver(peer)) return
  if (knows && waitingOpens > 0) fault("an open waits for its turn in a session that drains")
  if ((localDrain === undefined) !== (peer.drain === undefined)) fault("the snapshot does not tell of the drain")
  if (dialect.state !== "negotiating") peer.decidedAt ??= now
  if (peer.drain === undefined) return
  if (now >= peer.drain.until) fault("the session lives although the grace of its drain has passed")
  if (streams.length > 0 || peer.decidedAt === undefined) return
  const isAnswered = !peer.link.isBlocked(peer.side) && !peer.link.isMeasuring(peer.side)
  const hasWaited = now >= Math.max(peer.drain.since, peer.decidedAt) + maxCrossing
  if (isAnswered || hasWaited) fault("a drained session without streams lives on")
}

/** How long a drained session waits for opens that cross its GOAWAY. */
const maxCrossing = 2000

/** Checks the end that a session tells: a drain ends it behind its last stream, or when the grace has passed. */
export const checkCause = (peer: Peer, cause: TerminalError, now: number): void => {
  if (cause._tag !== "SessionClosed" || cause.by === "peer" || !cause.reason.startsWith("drained")) return
  const fault = (text: string) => peer.link.wire.faults.push(`${peer.name}: ${text}`)
  if (peer.drain === undefined) return void fault("ends by a drain that never began")
  if (cause.reason !== "drained") {
    if (now < peer.drain.until) fault("ends before the grace of its drain has passed")
    return
  }
  for (const end of peer.ends) {
    const isCut = !end.isLeft() && !end.isReset() && !end.inbound.endArrived
    if (isCut) fault(`ends by a drain before its stream ${end.id} is over`)
  }
}

/** Whether a session ended by a drain behind its last stream, as both ends have heard. */
export const endedByDrain = (pair: readonly [Peer, Peer]): boolean =>
  pair.every(({ callbacks: [cause] }) => cause?._tag === "SessionClosed" && cause.reason === "drained")

/** Checks that each stream that its peer has accepted belongs to the program, also beside a drain. */
export const checkOwners = (peer: Peer): void => {
  const { wire } = peer.link
  if (wire.preemptive || isOver(peer) || peer.link.isBlocked(peer.side)) return
  for (const id of wire.drains.acceptedOf(peer.side)) {
    const isOwned = peer.ends.some((end) => end.id === id) || wire.direction(peer.side, id).isOver
    wire.expect(isOwned, `${peer.name}: stream ${id} is accepted, and its open has failed`)
  }
}
