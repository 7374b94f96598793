import * as SharedLimits from "effect-wsmux/SharedLimits"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import { createHash } from "node:crypto"
import { idle, leavingNothing, type Order, runDeterministically, type Timers } from "../../support/deterministic.js"
import type { End } from "../../support/numberedEnds.js"
import { Random } from "../../support/random.js"
import { endedByDrain } from "./drains.js"
import { drainsLittle, isDone, isOver, type Peer, snapshotOf } from "./peer.js"
import { accept, dispose, drawStep, isAlive, open, run, takeStep } from "./steps.js"
import { Fault, makeWorld, type World } from "./world.js"

export interface Report {
  readonly seed: number
  /** A hash of all events with their times. */
  readonly hash: string
  readonly trace: ReadonlyArray<string>
  /** The broken promise, when there is one. */
  readonly failure: string | undefined
  /** How often a connection was cut that can be resumed, and how often a session went on over another. */
  readonly cuts: number
  readonly resumed: number
  /** How many ends have drained their sessions. */
  readonly drains: number
}

/** Runs the program of a seed: sessions that end with their connections, or survive the loss of them. */
export const simulate = (seed: number, resumes = false): Report => {
  const random = new Random(seed)
  const order: Order = {
    shuffled: random.chance(0.6),
    preemption: random.pick([0, 0, 0.005, 0.03])
  }
  const trace = [
    `seed ${seed}: ${order.shuffled ? "any fiber" : "the oldest fiber"} next, preemption ${order.preemption}`
  ]
  const counts = { cuts: 0, resumed: 0, drains: 0 }
  const attempt = () => {
    const exit = runDeterministically(
      (timers) =>
        program(random, timers, { preemptive: order.preemption > 0, resumes, counts }, (text) => trace.push(text)),
      order,
      random.fork()
    )
    return Exit.isSuccess(exit) ? undefined : describe(exit.cause)
  }
  let failure: string | undefined
  // programs make thousands of errors, and no reader needs their stacks
  const { stackTraceLimit } = Error
  Error.stackTraceLimit = 0
  try {
    failure = attempt()
  } catch (error) {
    failure = String(error)
  } finally {
    Error.stackTraceLimit = stackTraceLimit
  }
  if (failure !== undefined) trace.push(failure)
  return { seed, trace, failure, ...counts, hash: createHash("sha1").update(trace.join("\n")).digest("hex") }
}

const describe = (cause: Cause.Cause<unknown>): string => {
  const error = Cause.squash(cause)
  return error instanceof Fault ? error.message : Cause.pretty(cause)
}

interface Kind {
  readonly preemptive: boolean
  readonly resumes: boolean
  readonly counts: { cuts: number; resumed: number; drains: number }
}

const program = (random: Random, timers: Timers, kind: Kind, tell: (text: string) => void) =>
  leavingNothing(
    timers,
    Effect.gen(function*() {
      yield* Effect.scoped(Effect.gen(function*() {
        const world = yield* makeWorld(random, timers, kind, tell)
        yield* Effect.gen(function*() {
          yield* live(world)
          yield* finish(world)
          for (const pair of world.pairs) {
            const [{ link }] = pair
            kind.counts.drains += pair.filter((peer) => peer.drain !== undefined).length
            kind.counts.cuts += link.pair.cuts()
            kind.counts.resumed += link.pair.resumed()
          }
          yield* close(world)
        }).pipe(Effect.onError((cause) => Effect.sync(() => world.say(`FAULT: ${describe(cause)}`))))
      }))
      yield* idle
      for (const [name, { holders, used }] of Object.entries(yield* SharedLimits.SharedLimits)) {
        if (used + holders > 0) throw new Fault(`${holders} holders of ${used} ${name} are left in the shared limits`)
      }
    }).pipe(Effect.provide(SharedLimits.layer({ maxStreams: random.pick([0, 3, 10, 6000, 6000]) })))
  )

/** Opens many streams at once, so that they compete. */
const crowd = (world: World) =>
  Effect.forEach(
    world.pairs.flat(),
    (peer) => Effect.zipRight(run(world, peer), Effect.replicateEffect(open(world, peer), world.random.int(0, 4)))
  )

/** Random steps one after the other, with and without pauses. */
const live = (world: World) =>
  Effect.gen(function*() {
    const { random } = world
    yield* world.connect
    if (random.chance(0.6)) yield* crowd(world)
    const mayEnd = random.chance(0.5)
    const steps = random.int(5, 45)
    const rest = random.pick([0.2, 0.5, 1])
    for (let step = 0; step < steps; step++) {
      yield* takeStep(world, drawStep(world, mayEnd))
      if (random.chance(rest)) {
        yield* idle
        world.checkAtRest()
      } else world.check()
    }
    for (const pair of world.pairs) {
      // this program has lost connections, and ended no session
      const mustLive = world.resumes && !mayEnd && !pair[0].link.pair.mayEnd() && pair.every((peer) => !peer.drain)
      if (mustLive && !isAlive(pair)) throw new Fault(`${pair[0].name}: the session ends with its connection`)
    }
  })

/** Checks that open sessions answer all opens and carry all streams to their ends. */
const finish = (world: World) =>
  Effect.gen(function*() {
    const pairs = world.pairs.filter(isAlive)
    yield* Effect.forEach(pairs.flat(), ({ link, side }) => link.pair.resume(side))
    if (world.random.chance(0.2)) return
    world.say("all opens are answered")
    const acceptors: Array<Peer> = pairs.flat()
    const isAnswered = (pair: readonly [Peer, Peer]) =>
      !isAlive(pair) || pair.every((peer) => {
        const { backlog, unacknowledgedOpens, waitingOpens } = snapshotOf(peer)
        return backlog + unacknowledgedOpens + waitingOpens === 0 && peer.opening.every(({ fiber }) => isDone(fiber))
      })
    yield* Effect.forEach(acceptors, (peer) =>
      Effect.suspend(() => Effect.zipRight(accept(world, peer), accept(world, peer))))
    for (let round = 0; !pairs.every(isAnswered); round++) {
      if (round > 200) {
        throw new Fault("opens are never answered")
      }
      yield* world.until("something happens to an open", () =>
        pairs.every(isAnswered) || acceptors.some(hasAccepted))
      yield* Effect.forEach(acceptors.filter(hasAccepted), (peer) => accept(world, peer))
    }

    yield* idle // a handler that has just got a stream holds it now

    world.say("all streams are read to their ends")
    const ends = () =>
      pairs.filter(isAlive).flatMap((pair) => pair.flatMap((peer) => peer.ends.map((end) => ({ end, pair, peer }))))
    const held = ends().filter(({ end, pair }) => !end.isLeft() && !isCutShort(pair, end.id))
    const readers = new Array<Fiber.RuntimeFiber<unknown, unknown>>()
    for (const { end } of held) {
      yield* end.clearDeadlines
      yield* end.interruptRead
      yield* end.order({ do: world.random.pick(["end", "sink"]), size: world.random.int(0, 20), parts: 2 })
    }
    for (const { end } of held) readers.push(yield* end.readAll)
    const concerned = () => held.filter(({ pair }) => isAlive(pair) || endedByDrain(pair))
    const isDoneWith = ({ read, end }: ReturnType<End["pending"]>) => !read && !end
    yield* world.until("every stream is read to its end", () =>
      concerned().every(({ end }) =>
        end.isIdle() && isDoneWith(end.pending())
      ))
    for (const { end, peer } of concerned()) {
      if (!end.isReset() && !end.isWhole()) {
        throw new Fault(`${peer.name}: stream ${end.id} is not whole`)
      }
    }
  })

const hasAccepted = (peer: Peer) => !isOver(peer) && peer.accepting.every(isDone)

/** Whether a stream has no reader and discards few bytes, so that its writer may wait until the session ends. */
const isCutShort = (pair: readonly [Peer, Peer], id: number): boolean =>
  pair.some((peer) => drainsLittle(peer) && !peer.ends.some((end) => end.id === id && !end.isLeft()))

/** Closes all sessions in any order, and checks that no resource is left. */
const close = (world: World) =>
  Effect.gen(function*() {
    const { random } = world
    const peers = world.pairs.flat()
    const bytes = ([client, server]: readonly [Peer, Peer]) => {
      const [near, far] = [snapshotOf(client).counters, snapshotOf(server).counters]
      return near.bytesIn === far.bytesOut && far.bytesIn === near.bytesOut
    }
    if (random.chance(0.5)) {
      world.say("all streams are left")
      const alive = world.pairs.filter(isAlive)
      yield* Effect.forEach(peers, ({ accepting, opening, running }) =>
        Fiber.interruptAll([
          ...accepting,
          ...opening.map(({ fiber }) => fiber),
          ...(running === undefined ? [] : [running])
        ]))
      yield* idle // the program leaves the streams that have just come, too
      yield* Effect.forEach(peers, ({ ends }) => Effect.forEach(ends, (end) => Effect.fork(end.leave)))
      const isEmpty = (pair: readonly [Peer, Peer]) =>
        !isAlive(pair) || isExempt(pair) || pair.every((peer) => snapshotOf(peer).streams.length === 0)
      // the peer still answers opens that were given up
      for (const peer of alive.flat()) if (!isOver(peer)) yield* drain(peer)
      yield* world.until("nothing is left of the streams", () => alive.every(isEmpty))
      for (const pair of alive.filter((pair) => !isExempt(pair))) {
        if (isAlive(pair) && !bytes(pair)) throw new Fault("not all that was sent has come")
      }
    }
    world.say("everything is closed")
    const order = [...peers].sort(() => random.pick([-1, 1]))
    for (const peer of order) {
      yield* dispose(world, peer)
      if (random.chance(0.3)) yield* idle
    }
    if (random.chance(0.3)) yield* world.stopServer
    yield* world.until("all sessions are closed", () =>
      peers.every(({ closing }) => closing.every(({ fiber }) => isDone(fiber))))
    for (const peer of peers) {
      const cause = yield* peer.session.awaitClosed
      const causes = [...peer.link.wire.causes[peer.side], ...peer.callbacks]
      if (
        causes.some((other) =>
          other._tag !== cause._tag || other.message !== cause.message
        )
      ) {
        throw new Fault(`${peer.name}: not everybody hears of the same end`)
      }
      if (cause._tag === "KeepAliveExpired" && !peer.link.stalled) {
        throw new Fault(`${peer.name}: a living peer was given up`)
      }
      if (cause._tag !== "KeepAliveExpired" && cause._tag !== "SessionClosed" && cause._tag !== "TransportFailure") {
        throw new Fault(`${peer.name}: ${cause.message}`)
      }
      const isTold = peer.callbacks.length === 1 || (peer.callbacks.length === 0 && peer.isOverEarly)
      if (!isTold) {
        throw new Fault(`${peer.name}: ${peer.callbacks.length} calls of the close callback`)
      }
      const { backlog, streams, waitingOpens } = snapshotOf(peer)
      if (streams.length + backlog + waitingOpens > 0) throw new Fault(`${peer.name}: streams are left`)
      yield* Effect.forEach(peer.ends, (end) => Effect.fork(end.leave))
    }
    yield* world.until("all writers have been told", () =>
      peers.every(({ ends, running }) =>
        ends.every((end) =>
          end.isIdle()
        ) && (running === undefined || isDone(running))
      ))
    yield* world.stopServer
  })

/** With a small budget one end alone may forget a stream. */
const isExempt = (pair: readonly [Peer, Peer]) => pair.some(drainsLittle)

const drain = (peer: Peer) => {
  const takes = Effect.scoped(peer.session.accept)
  return Effect.map(
    Effect.fork(
      Effect.forever(
        Effect.onExit(
          takes,
          (exit) => Effect.sync(() => peer.link.wire.judge(exit, (error) => peer.link.wire.ends(peer.side, error)))
        )
      )
    ),
    (fiber) => peer.accepting.push(fiber)
  )
}
