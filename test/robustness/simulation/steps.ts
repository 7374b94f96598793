import type { MuxStream } from "effect-wsmux/MuxStream"
import * as Cause from "effect/Cause"
import * as Chunk from "effect/Chunk"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Scope from "effect/Scope"
import * as TestClock from "effect/TestClock"
import { type End, getEnd, makeEnd, type Order } from "../../support/numberedEnds.js"
import { drain, drainServer, knowsOfDrain } from "./drains.js"
import { isDone, isOver, mayOpenFail, type Peer } from "./peer.js"
import type { World } from "./world.js"

/** The weight of each step. */
const weights = {
  open: 8,
  accept: 8,
  run: 2,
  interruptOpen: 2,
  interruptAccept: 1,
  write: 16,
  sink: 2,
  endOrder: 1,
  end: 3,
  read: 10,
  readAll: 4,
  interruptRead: 3,
  interruptWrite: 3,
  readBy: 2,
  writeBy: 2,
  noDeadline: 2,
  leave: 3,
  fail: 1,
  reset: 1,
  wait: 10,
  yield: 4,
  stall: 1,
  resume: 2,
  connect: 1
}

/** The steps that end sessions. */
const fatal = { silence: 2, cut: 2, closeFrame: 1, close: 2, interruptClose: 1, dispose: 2, stopRun: 1, stopServer: 1 }

/** The steps that end sessions in time. */
const gentle = { drain: 4, drainServer: 1 }

export type Step = keyof typeof weights | keyof typeof fatal | keyof typeof gentle

export const drawStep = (world: World, mayEnd: boolean): Step =>
  world.resumes && world.random.chance(0.25)
    ? world.random.weighted({ cut: 8, silence: 1 })
    : world.drains && world.random.chance(0.12)
    ? world.random.weighted(gentle)
    : mayEnd && world.random.chance(0.06)
    ? world.random.weighted(fatal)
    : world.random.weighted(weights)

/** A time in milliseconds after which a keep-alive expires. */
const maxSilence = 30_000

/** The most bytes that one end writes, since each has a number. */
const maxWritten = 300_000

const written = new WeakMap<End, number>()

/** A size near the bounds of the windows, of not too many frames. */
const drawOrder = ({ random }: World, peer: Peer, end: End, what: Order["do"]): Order => {
  const { client, server } = peer.link.settings
  const grain = Math.min(peer.settings.maxFrameSize, client.streamBufferSize, server.streamBufferSize)
  const window = random.pick([client, server]).streamBufferSize
  const size = random.pick([
    random.int(0, 10),
    random.int(0, window),
    window,
    window * 2 + 1,
    random.int(0, window * 3)
  ])
  const bounded = Math.min(size, grain * 30, maxWritten - (written.get(end) ?? 0))
  written.set(end, (written.get(end) ?? 0) + bounded)
  return { do: what, size: bounded, parts: random.int(1, 4) }
}

const describe = <E>(exit: Exit.Exit<unknown, E>): string =>
  Exit.isSuccess(exit)
    ? "done"
    : Cause.isInterruptedOnly(exit.cause)
    ? "interrupted"
    : Chunk.join(Chunk.map(Cause.failures(exit.cause), String), ", ")

/** Starts an operation of a session, and checks its end. */
const start = <E>(
  world: World,
  peer: Peer,
  what: string,
  operation: Effect.Effect<unknown, E>,
  may: (error: E) => boolean,
  mustFail = false
) =>
  operation.pipe(
    Effect.onExit((exit) =>
      Effect.sync(() => {
        world.say(`${peer.name}: ${what}: ${describe(exit)}`)
        peer.link.wire.judge(exit, may)
        peer.link.wire.expect(!mustFail || Exit.isFailure(exit), `${peer.name}: ${what} succeeds`)
      })
    ),
    Effect.fork,
    Effect.map((fiber) => ({ fiber, since: world.now() }))
  )

export const open = (world: World, peer: Peer) => {
  const since = world.now()
  const { random } = world
  const isTooLate = knowsOfDrain(peer)
  const early = random.chance(0.3)
  const label = random.chance(0.2) ? `label ${random.int(0, 99)}` : undefined
  const metadata = label === undefined ? undefined : { label }
  const deadline = since + Duration.toMillis(peer.settings.streamAcceptDeadline)
  const get = Effect.tap(
    peer.session.open(label === undefined ? { early } : { early, label, metadata }),
    (stream) => Effect.sync(() => peer.link.wire.expect(stream.label === (label ?? ""), "another label"))
  )
  const opening = getEnd(
    peer.link.wire,
    peer.side,
    get,
    (end) => peer.ends.push(end),
    () => early && world.now() >= deadline
  )
  return Effect.map(
    start(
      world,
      peer,
      "open",
      Effect.provideService(opening, Scope.Scope, world.scope),
      (error) => mayOpenFail(peer, since, world.now())(error),
      isTooLate
    ),
    (started) => peer.opening.push(started)
  )
}

export const accept = (world: World, peer: Peer) => {
  const accepting = getEnd(peer.link.wire, peer.side, peer.session.accept, (end) => peer.ends.push(end))
  return Effect.map(
    start(
      world,
      peer,
      "accept",
      Effect.provideService(accepting, Scope.Scope, world.scope),
      (error) => peer.link.wire.ends(peer.side, error)
    ),
    ({ fiber }) => peer.accepting.push(fiber)
  )
}

/** Accepts all streams from now on. A handler holds each stream until the program leaves it. */
export const run = (world: World, peer: Peer) => {
  if (peer.running !== undefined && !isDone(peer.running)) return Effect.void
  const handler = (stream: MuxStream) =>
    Effect.uninterruptibleMask((restore) =>
      Effect.gen(function*() {
        const gone = yield* Deferred.make<void, string>()
        const held = { stream, leave: (exit: Exit.Exit<void, string>) => Effect.asVoid(Deferred.done(gone, exit)) }
        const end = yield* Effect.provideService(makeEnd(peer.link.wire, peer.side, held), Scope.Scope, world.scope)
        peer.ends.push(end)
        yield* Effect.ensuring(restore(Deferred.await(gone)), end.leave)
      })
    )
  return Effect.map(
    start(world, peer, "run", peer.session.run(handler), (error) => peer.link.wire.ends(peer.side, error)),
    ({ fiber }) => peer.running = fiber
  )
}

/** Closes a session in one of its ways, and checks that this takes no longer than its bounds. */
const closeBy = (world: World, peer: Peer, what: string, means: Effect.Effect<unknown>) =>
  Effect.map(start(world, peer, what, means, () => false), (started) => peer.closing.push(started))

export const dispose = (world: World, peer: Peer) => closeBy(world, peer, "dispose", peer.dispose)

const interruptLast = (fibers: ReadonlyArray<Fiber.RuntimeFiber<unknown, unknown>>) =>
  Effect.forEach(fibers.slice(-1), (fiber) => Fiber.interruptFork(fiber), { discard: true })

/** The operations of an ended session that still run. */
export const takeStep = (world: World, step: Step): Effect.Effect<unknown, unknown> => {
  const { random, say } = world
  const peers = world.pairs.flat()
  const peer = random.pick(peers)
  const pair = peer.link.pair
  switch (step) {
    case "connect":
      return world.pairs.length < 3 && !world.isStopped() ? world.connect : Effect.void
    case "wait":
      return Effect.suspend(() => {
        const millis = random.pick([0, 1, random.int(0, 20), random.int(0, 200), random.int(0, 2000)])
        say(`wait ${millis}`)
        return TestClock.adjust(millis)
      })
    case "yield":
      return Effect.repeatN(Effect.yieldNow(), random.int(0, 20))
    case "stopServer":
      if (!random.chance(0.3)) return Effect.void
      say("the server stops")
      return world.stopServer
    case "drainServer":
      return drainServer(world)
  }
  say(`${peer.name}: ${step}`)
  switch (step) {
    case "open":
      return open(world, peer)
    case "accept":
      return accept(world, peer)
    case "run":
      return run(world, peer)
    case "interruptOpen":
      return interruptLast(peer.opening.map(({ fiber }) => fiber))
    case "interruptAccept":
      return interruptLast(peer.accepting)
    case "stopRun":
      return peer.running === undefined ? Effect.void : Fiber.interruptFork(peer.running)
    case "stall":
      peer.link.stalled = true
      return pair.stall(peer.side)
    case "silence":
      peer.link.stalled = true
      return Effect.zipRight(pair.stall(peer.side), TestClock.adjust(random.int(0, maxSilence)))
    case "resume":
      return pair.resume(peer.side)
    case "cut":
      return pair.cut
    case "closeFrame":
      return pair.close(random.pick([1000, 1001, 1011, 1006]), "from between")
    case "close":
      return closeBy(world, peer, "close", peer.session.close)
    case "interruptClose":
      return Effect.flatMap(
        Effect.fork(peer.session.close),
        (fiber) => Effect.zipRight(Effect.repeatN(Effect.yieldNow(), random.int(0, 5)), Fiber.interruptFork(fiber))
      )
    case "dispose":
      return dispose(world, peer)
    case "drain":
      return drain(world, peer)
  }
  if (peer.ends.length === 0) return Effect.void
  const end = random.pick(interruptible(peer.ends, step))
  say(`  stream ${end.id}`)
  switch (step) {
    case "write":
    case "sink":
      return Effect.suspend(() => {
        const order = drawOrder(world, peer, end, step)
        say(`  ${order.size} bytes in ${order.parts} parts`)
        return end.order(order)
      })
    case "endOrder":
      return end.order({ do: "end", size: 0, parts: 1 })
    case "readBy":
    case "writeBy":
      return end.setDeadline(step === "readBy" ? "read" : "write", random.pick([0, 1, random.int(0, 500)]))
    case "noDeadline":
      return end.clearDeadlines
    case "leave":
    case "fail":
      return Effect.fork(end[step])
    default:
      return end[step]
  }
}

/** Picks a waiting operation to interrupt, when there is one. */
const interruptible = (ends: ReadonlyArray<End>, step: Step): ReadonlyArray<End> => {
  if (step !== "interruptRead" && step !== "interruptWrite") return ends
  const waiting = ends.filter((end) => step === "interruptRead" ? end.pending().read : end.pending().write)
  return waiting.length > 0 ? waiting : ends
}

/** Whether both ends of the pair are open and unharmed. */
export const isAlive = ([client, server]: readonly [Peer, Peer]) => !isOver(client) && !isOver(server)
