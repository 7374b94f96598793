import * as SharedLimits from "effect-wsmux/SharedLimits"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Scope from "effect/Scope"
import * as TestClock from "effect/TestClock"
import { createHash } from "node:crypto"
import { idle, leavingNothing, type Order, runDeterministically, type Timers } from "../../../support/deterministic.js"
import { Random } from "../../../support/random.js"
import type { End } from "./end.js"
import type { Link, Side } from "./link.js"
import { type Client, Fault, makeWorld, type World } from "./world.js"

/** What happened in the program of a seed. */
export interface Report {
  readonly seed: number
  /** A hash of all events with their times. */
  readonly hash: string
  readonly trace: ReadonlyArray<string>
  /** The broken promise, when there is one. */
  readonly failure: string | undefined
  /** How many links were lost, and how often a session went on over another. */
  readonly cuts: number
  readonly resumed: number
}

/** Runs the program of a seed: resumable transports over links that are lost in every way. */
export const simulate = (seed: number): Report => {
  const random = new Random(seed)
  const order: Order = { shuffled: random.chance(0.6), preemption: random.pick([0, 0, 0.005, 0.03]) }
  const trace: Array<string> = []
  const counts = { cuts: 0, resumed: 0 }
  const run = () => {
    const exit = runDeterministically(
      (timers) => program(random, timers, (text) => trace.push(text), counts),
      order,
      random.fork()
    )
    return Exit.isSuccess(exit) ? undefined : describe(exit.cause)
  }
  let failure: string | undefined
  // programs make thousands of errors, and no reader needs their stacks
  const { stackTraceLimit } = Error
  Error.stackTraceLimit = stacks
  try {
    failure = run()
  } catch (error) {
    failure = stacks > 0 && error instanceof Error ? error.stack : String(error)
  } finally {
    Error.stackTraceLimit = stackTraceLimit
  }
  if (failure !== undefined) trace.push(failure)
  return { seed, trace, failure, ...counts, hash: createHash("sha1").update(trace.join("\n")).digest("hex") }
}

const stacks = Number(process.env["WSMUX_SIMULATION_STACKS"] ?? 0)

const describe = (cause: Cause.Cause<unknown>): string => {
  const error = Cause.squash(cause)
  return error instanceof Fault ? error.message : Cause.pretty(cause)
}

const program = (
  random: Random,
  timers: Timers,
  tell: (text: string) => void,
  counts: { cuts: number; resumed: number }
) =>
  leavingNothing(
    timers,
    Effect.gen(function*() {
      yield* Effect.scoped(Effect.gen(function*() {
        const world = yield* makeWorld(random, timers, tell)
        yield* Effect.gen(function*() {
          yield* live(world)
          yield* heal(world)
          yield* close(world)
        }).pipe(
          Effect.onError((cause) => Effect.sync(() => world.say(describe(cause)))),
          Effect.ensuring(
            Effect.sync(() => Object.assign(counts, { cuts: world.counts.cuts, resumed: world.resumed() }))
          )
        )
      }))
      yield* idle
      const { connections } = yield* SharedLimits.SharedLimits
      if (connections.used > 0) throw new Fault(`${connections.used} connections are left in the shared limits`)
    }).pipe(Effect.provide(SharedLimits.layer({ maxConnections: random.pick([2, 2000]) })))
  )

/** The weight of each step. */
const weights = {
  regain: 12,
  send: 20,
  burst: 3,
  ping: 2,
  deliver: 25,
  deliverAll: 8,
  cut: 12,
  silence: 3,
  freeze: 3,
  thaw: 3,
  part: 2,
  renew: 4,
  wait: 10,
  down: 2,
  up: 4,
  delay: 2,
  ambush: 3,
  proxyClose: 4,
  connect: 1
}

/** The steps that end sessions. */
const fatal = { close: 4, leave: 2, interruptServing: 3, interruptConnect: 2, graceOver: 2, stopServer: 1 }

type Step = keyof typeof weights | keyof typeof fatal

const live = (world: World) =>
  Effect.gen(function*() {
    const { random } = world
    yield* world.connect
    if (random.chance(0.9)) {
      yield* idle
      yield* deliverAll(world)
    }
    const steps = random.int(20, 300)
    const mayEnd = random.chance(0.3)
    const rest = random.pick([0.3, 0.8, 1])
    for (let step = 0; step < steps; step++) {
      const next: Step = mayEnd && random.chance(0.03) ? random.weighted(fatal) : random.weighted(weights)
      yield* takeStep(world, next)
      if (random.chance(rest)) {
        yield* idle
        world.checkAtRest()
      } else world.check()
    }
  })

const takeStep = (world: World, step: Step): Effect.Effect<unknown> => {
  const { counts, network, random, say } = world
  const client = random.pick(world.clients)
  const link = client.links.length === 0
    ? undefined
    : random.chance(0.8)
    ? client.links[client.links.length - 1]!
    : random.pick(client.links)
  const side = random.pick<Side>(["client", "server"])
  const end = side === "client" ? client.near : client.far
  say(`${client.name} ${side}: ${step}`)
  const wait = (millis: number) => TestClock.adjust(millis)
  const lose = (...noticing: ReadonlyArray<Side>) =>
    Effect.sync(() => {
      if (link === undefined || link.isBroken) return
      counts.cuts++
      world.onLoss(client)
      link.lose(...noticing)
    })
  switch (step) {
    case "send":
      return Effect.sync(() => end?.order(drawOrder(random)))
    case "burst":
      return Effect.sync(() => {
        for (let left = random.int(2, 60); left > 0; left--) end?.order(drawOrder(random))
      })
    case "ping":
      return Effect.sync(() => end?.ping())
    case "deliver":
      return Effect.sync(() => {
        for (let left = random.pick([1, 1, 2, 5, 20]); left > 0; left--) link?.deliver(side)
      })
    case "deliverAll":
      return deliverAll(world)
    case "regain":
      return Effect.suspend(() => {
        network.isDown = false
        return Effect.zipRight(wait(random.int(200, 400)), deliverAll(world))
      })
    case "cut":
      return lose(
        ...random.pick<ReadonlyArray<Side>>([["client", "server"], ["server", "client"], ["client"], ["server"]])
      )
    case "silence":
      return lose()
    case "freeze":
      return Effect.sync(() => {
        if (link !== undefined) link[side].isFrozen = true
      })
    case "thaw":
      return Effect.sync(() => {
        if (link !== undefined) link[side].isFrozen = false
      })
    case "part":
      return Effect.sync(() => link?.[side].receivePart()).pipe(Effect.zipRight(lose("client", "server")))
    case "renew":
      return Effect.sync(() => {
        if (end === undefined || end.closed !== undefined) return
        counts.cuts++
        world.onLoss(client)
        const goesOn = end.transport.renew?.() === true || end.closed !== undefined // by a limit
        // the keep-alive ends a session that does not go on
        if (!goesOn && client.mayEnd === undefined) throw new Fault(`${end.name} ends when its peer is silent`)
      })
    case "wait":
      return wait(random.pick([0, 1, random.int(0, 100), random.int(0, 1100), 1000, random.int(0, 12_000)]))
    case "graceOver":
      return wait(random.int(0, 130_000))
    case "down":
    case "up":
      return Effect.sync(() => {
        network.isDown = step === "down"
      })
    case "delay":
      return Effect.sync(() => {
        network.delay = random.pick([0, 0, 10, 1000])
      })
    case "ambush":
      return Effect.sync(() => {
        network.ambushes = random.pick([0, 0.3, 0.8])
      })
    case "proxyClose":
      return Effect.sync(() => {
        if (link === undefined || link.isBroken) return
        counts.cuts++
        world.loseByFrames(client, link)
      })
    case "connect":
      return world.clients.length < 3 ? world.connect : Effect.void
    case "close":
      return Effect.suspend(() => closeEnd(client, end, random))
    case "leave":
      return Effect.suspend(() => {
        client.mayEnd ??= "the client leaves"
        return Effect.fork(Scope.close(client.scope, Exit.void))
      })
    case "interruptServing":
      return Effect.suspend(() => {
        const fiber = link && client.serving.get(link)
        if (fiber === undefined) return Effect.void
        client.mayEnd ??= "the server interrupts"
        return Fiber.interruptFork(fiber)
      })
    case "interruptConnect":
      return Effect.zipRight(
        world.connect,
        Effect.suspend(() => {
          const last = world.clients[world.clients.length - 1]!
          last.mayEnd ??= "the program interrupts the connect"
          return Effect.zipRight(
            Effect.repeatN(Effect.yieldNow(), random.int(0, 8)),
            Fiber.interruptFork(last.connecting!)
          )
        })
      )
    case "stopServer":
      return Effect.fork(world.stopServer)
  }
}

const closeEnd = (client: Client, end: End | undefined, random: Random): Effect.Effect<unknown> => {
  if (end === undefined) return Effect.void
  client.mayEnd ??= `the ${end.side} closes`
  const close = end.transport.close(1000, "", random.pick([0, 100, 5000]))
  return Effect.flatMap(Effect.fork(close), (fiber) =>
    random.chance(0.3)
      ? Effect.zipRight(Effect.repeatN(Effect.yieldNow(), random.int(0, 5)), Fiber.interruptFork(fiber))
      : Effect.void)
}

const drawOrder = (random: Random) => ({
  size: random.pick([
    5,
    9,
    random.int(5, 100),
    random.int(5, 5000),
    random.int(5, 70_000),
    random.chance(0.1) ? 200 * 1024 : 64
  ]),
  extends: random.chance(0.3)
})

const sides = ["client", "server"] as const

/** Delivers all that can be delivered, and what that causes. */
const deliverAll = (world: World): Effect.Effect<void> =>
  Effect.gen(function*() {
    const links = () => world.clients.flatMap((client) => client.links.slice(-4))
    for (let rounds = 0; rounds < 1000; rounds++) {
      const ready = links().flatMap((link: Link) =>
        sides.filter((side) => link.mayDeliver(side)).map((side) => ({ link, side }))
      )
      if (ready.length === 0) return
      for (const { link, side } of ready) link.deliver(side)
      yield* idle
    }
  })

/** Mends the network, and checks that each session that goes on carries all. */
const heal = (world: World) =>
  Effect.gen(function*() {
    const { clients, network, random } = world
    world.say("the network is mended")
    Object.assign(network, { isDown: false, delay: 0, ambushes: 0, isHealed: true })
    for (const { links } of clients) {
      for (const link of links) {
        // an old link is silent, or speaks up late
        for (const side of sides) {
          link[side].isFrozen = link !== links[links.length - 1] && random.chance(0.5)
        }
      }
    }
    // an end that keeps one byte sends a message each second, since that often its peer acknowledges
    for (let round = 0; round < 1000; round++) {
      yield* deliverAll(world)
      yield* idle
      world.checkAtRest()
      if (clients.every(world.isWhole)) {
        if (round > 2) return
        continue
      }
      for (const { links, near } of clients) {
        // its keep-alive finds that the peer is silent
        const isLost = links[links.length - 1]?.isBroken === true
        if (near?.closed === undefined && isLost && round % 3 === 2) near?.transport.renew?.()
      }
      yield* TestClock.adjust(1000)
    }
    for (const client of clients.filter((client) => !world.isWhole(client))) {
      for (const end of [client.near, client.far]) {
        if (end === undefined) world.say(`${client.name} lacks an end`)
        else world.say(`${end.name}: ${end.orders.length} orders, ${end.sent.size} messages missing`)
      }
    }
    throw new Fault("the sessions do not carry all")
  })

/** Ends all sessions, and checks that all ends are told. */
const close = (world: World) =>
  Effect.gen(function*() {
    const { clients, random } = world
    world.say("everything is closed")
    if (random.chance(0.3)) yield* Effect.fork(world.stopServer)
    for (const client of clients) {
      yield* closeEnd(client, random.pick([client.near, client.far]), random)
      if (random.chance(0.5)) yield* Effect.fork(Scope.close(client.scope, Exit.void))
      client.mayEnd ??= "the program ends"
    }
    for (let round = 0; round < 6; round++) {
      yield* deliverAll(world)
      yield* idle
      yield* TestClock.adjust(1000)
    }
    for (const { scope } of clients) yield* Scope.close(scope, Exit.void)
    yield* deliverAll(world)
    yield* world.stopServer
    yield* idle
    const ends = [...world.served, ...clients.flatMap(({ near }) => near ?? [])]
    for (const end of ends) {
      if (end.closed === undefined) throw new Fault(`${end.name} is never told of its end`)
      if (end.keptBytes > 0) throw new Fault(`${end.name} keeps bytes after its end`)
    }
    world.check()
  })
