import * as ResumableTransport from "effect-wsmux/ResumableTransport"
import * as ResumeServer from "effect-wsmux/ResumeServer"
import * as SharedLimits from "effect-wsmux/SharedLimits"
import type { Transport } from "effect-wsmux/Transport"
import { ConnectFailure, ResumeFailure } from "effect-wsmux/WsmuxError"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import * as FiberSet from "effect/FiberSet"
import * as Schedule from "effect/Schedule"
import * as Scope from "effect/Scope"
import { abandonedCode } from "../../../../src/internal/transport/closeCode.js"
import { idle, type Timers } from "../../../support/deterministic.js"
import { Random } from "../../../support/random.js"
import { End } from "./end.js"
import { Link, type Side } from "./link.js"

export class Fault extends Error {}

/** A client, its links, and the two ends of its session. */
export interface Client {
  readonly name: string
  readonly isNative: boolean
  /** Whether its requests tell that they resume. Those of a page do not. */
  readonly tells: boolean
  readonly scope: Scope.CloseableScope
  readonly links: Array<Link>
  /** The fibers that serve the links. */
  readonly serving: Map<Link, Fiber.RuntimeFiber<void>>
  transport: ResumableTransport.ResumableTransport | undefined
  near: End | undefined
  far: End | undefined
  connecting: Fiber.RuntimeFiber<unknown, unknown> | undefined
  /** Why the session may end: the program closed an end, or a loss came before the client was ready. */
  mayEnd: string | undefined
  /** Since when each end is suspended. */
  readonly since: Record<Side, number | undefined>
  /** How often the session has gone on over another link. */
  resumed: number
}

/** The faults that the network has ready for the next dials. */
export interface Network {
  isDown: boolean
  /** How long a dial takes at most, and how long the server takes to accept. */
  delay: number
  /** The probability of an ambush on a new link. */
  ambushes: number
  isHealed: boolean
}

export const makeWorld = (random: Random, timers: Timers, tell: (text: string) => void) =>
  Effect.gen(function*() {
    const clock = yield* Effect.clock
    const scope = yield* Effect.scope
    const limits = yield* SharedLimits.SharedLimits
    const now = () => clock.unsafeCurrentTimeMillis()
    const say = (text: string) => tell(`${String(now()).padStart(7)} ${text}`)
    const faults: Array<string> = []
    const fault = (text: string) => {
      say(`FAULT ${text}`)
      faults.push(text)
    }
    const settings = {
      capacity: random.pick([1, 1000, 64 * 1024, 256 * 1024]),
      extends: random.pick([0, 0.5, 1]),
      maxKeptBytes: { client: random.pick(keptSizes), server: random.pick(keptSizes) },
      grace: { client: random.pick([120_000, 120_000, 5000]), server: random.pick([120_000, 120_000, 5000]) },
      maxKeptBytesInAll: random.pick([64 * 1024 * 1024, 64 * 1024 * 1024, 64 * 1024 * 1024, 1000]),
      maxSuspended: random.pick([1000, 1000, 1000, 1]),
      answerTimeout: random.pick([500, 10_000])
    }
    say(JSON.stringify(settings))
    const counts = { cuts: 0 }
    const network: Network = { isDown: false, delay: 0, ambushes: 0, isHealed: false }
    let isStopped = false
    const clients: Array<Client> = []
    /** Every end that the server has begun, with those of connections that turned out to resume another session. */
    const served: Array<End> = []
    const noise = random.fork()
    const bytes = (size: number): Buffer => {
      const at = noise.int(0, 100_000)
      return Buffer.from(filler.subarray(at, at + size))
    }

    const serverScope = yield* Scope.fork(scope, { _tag: "Sequential" })
    const resuming = yield* Scope.extend(
      ResumeServer.make<string>({
        grace: settings.grace.server,
        maxKeptBytes: settings.maxKeptBytes.server,
        maxKeptBytesInAll: settings.maxKeptBytesInAll,
        maxSuspended: settings.maxSuspended,
        maxSuspendedPerPrincipal: random.pick([100, 100, 1])
      }),
      serverScope
    )
    const connections = yield* Scope.extend(FiberSet.make<void>(), serverScope)

    const ambush = () => {
      if (!random.chance(network.ambushes)) return undefined
      const noticing = random.pick<ReadonlyArray<Side> | undefined>([
        ["client", "server"],
        ["client"],
        ["server"],
        [],
        undefined
      ])
      return {
        from: random.pick(["client", "server"] as const),
        after: random.int(1, 4),
        lose: (link: Link) => {
          counts.cuts++
          const client = clients.find(({ links }) => links.includes(link))!
          if (noticing === undefined) return loseByFrames(client, link)
          say(`${link.name} is lost, noticed by ${noticing.join(" and ") || "none"}`)
          onLoss(client)
          link.lose(...noticing)
        }
      }
    }

    /**
     * A client that does not know whether its server can resume gives the session up. Each other session goes on,
     * though the server may not have heard its client.
     */
    const onLoss = (client: Client) => {
      const isReady = client.near?.transport.resumption?.() !== undefined
      const isOver = client.near?.closed !== undefined || client.far?.closed !== undefined
      if (!isOver && !isReady) client.mayEnd ??= "an early loss"
    }

    /** Something between the ends closes a link, each end by the code of a loss. In a handshake any code is one. */
    const loseByFrames = (client: Client, link: Link) => {
      onLoss(client)
      const codes = {
        client: random.pick(client.near?.isSuspended === true ? allCodes : lossCodes.client),
        server: random.pick(client.far?.isSuspended === true ? allCodes : lossCodes.server)
      }
      say(`${link.name} is closed with ${codes.client} and ${codes.server}`)
      link.loseByFrames(codes)
    }

    const serve = (client: Client, link: Link) => {
      const number = client.links.indexOf(link)
      const headers: Record<string, string> = client.tells && number > 0 ? { "wsmux-resume": "1" } : {}
      const handler = (transport: Transport) =>
        Effect.suspend(() => {
          const end = new End(
            `${client.name} far${number === 0 ? "" : ` ${number}`}`,
            "server",
            transport,
            fault,
            say,
            bytes
          )
          served.push(end)
          if (number === 0) {
            client.far = end
            join(client)
          }
          end.begin(true)
          return Effect.repeat(Effect.sleep(1000), { until: () => end.closed !== undefined })
        })
      const accept = resuming.accept(link.server, { request: { url: "/", headers }, principal: client.name }, handler)
      const release = Effect.sync(() => {
        limits.connections.giveBack(1)
        link.server.terminate()
      })
      // the fiber begins uninterruptible, as `dial` is there, so that its end is never left out
      return Effect.delay(accept, random.int(0, network.delay)).pipe(
        Effect.interruptible,
        Effect.ensuring(release),
        FiberSet.run(connections),
        Effect.onError(() => release), // the server has stopped
        Effect.map((fiber) => client.serving.set(link, fiber))
      )
    }

    const dial = (client: Client) =>
      Effect.gen(function*() {
        const delay = random.int(0, network.delay)
        if (delay > 0) yield* Effect.sleep(delay)
        return yield* Effect.uninterruptible(Effect.gen(function*() {
          if (!limits.connections.take(1)) {
            return yield* new ConnectFailure({ url: "simulated", reason: "Rejected", status: 503 })
          }
          if (network.isDown || isStopped) {
            limits.connections.giveBack(1)
            return yield* new ConnectFailure({ url: "simulated", reason: "Unreachable" })
          }
          const link = new Link(`${client.name} link ${client.links.length}`, {
            capacity: settings.capacity,
            mayExtend: () => random.chance(settings.extends),
            givesUp: { client: random.pick([1006, abandonedCode]), server: random.pick([1006, abandonedCode]) },
            ambush: ambush()
          })
          client.links.push(link)
          say(`${link.name} is dialled`)
          yield* Effect.addFinalizer(() => Effect.sync(() => link.client.terminate()))
          yield* serve(client, link)
          return link.client as Transport
        }))
      })

    const join = (client: Client) => {
      if (client.near === undefined || client.far === undefined) return
      client.near.peer = client.far
      client.far.peer = client.near
    }

    const connect = Effect.gen(function*() {
      const client: Client = {
        name: `client ${clients.length}`,
        isNative: random.chance(0.95),
        tells: random.chance(0.7),
        scope: yield* Scope.fork(scope, { _tag: "Sequential" }),
        links: [],
        serving: new Map(),
        transport: undefined,
        near: undefined,
        far: undefined,
        connecting: undefined,
        mayEnd: undefined,
        since: { client: undefined, server: undefined },
        resumed: 0
      }
      clients.push(client)
      say(`${client.name}: ${client.isNative ? "native" : "plain"}, ${client.tells ? "tells" : "is a page"}`)
      const connecting = ResumableTransport.connect(dial(client), {
        grace: settings.grace.client,
        maxKeptBytes: settings.maxKeptBytes.client,
        answerTimeout: settings.answerTimeout,
        schedule: Schedule.spaced(200)
      }).pipe(
        Scope.extend(client.scope),
        Effect.tapErrorCause(() => Effect.sync(() => client.mayEnd ??= "the first dial fails")),
        Effect.tap((transport) =>
          Effect.sync(() => {
            client.transport = transport
            client.near = new End(`${client.name} near`, "client", transport, fault, say, bytes)
            join(client)
            client.near.begin(client.isNative)
          })
        )
      )
      client.connecting = yield* Effect.forkIn(connecting, scope)
    })

    const judge = () => {
      if (faults.length > 0) throw new Fault(faults.join("; "))
    }
    const check = () => {
      for (const client of clients) {
        for (const end of [client.near, client.far]) {
          if (end !== undefined) checkEnd(client, end)
        }
      }
      const suspended = served.filter((end) => end.isSuspended).length
      const told = Effect.runSync(resuming.suspended)
      if (told !== suspended) fault(`the server tells ${told} suspended sessions of ${suspended}`)
      judge()
    }
    const checkEnd = (client: Client, end: End) => {
      const { side } = end
      const resumption = end.transport.resumption?.()
      if (end.closed === undefined) client.since[side] = resumption?.since
      client.resumed = Math.max(client.resumed, resumption?.resumed ?? 0)
      const limit = settings.maxKeptBytes[side] + end.largest + small
      if (end.keptBytes > limit) fault(`${end.name} keeps ${end.keptBytes} bytes of ${limit}`)
      if (end.closed === undefined || client.mayEnd !== undefined) return
      const why = reasonOf(end)
      const other = end === client.near ? client.far : client.near
      if (!client.isNative && end.closed.code === 1006) client.mayEnd = "plain"
      else if (why === "GraceExpired") {
        const grace = side === "client"
          ? Math.min(settings.grace.client, settings.grace.server)
          : end.receivedCount + client.resumed > 0
          ? settings.grace.server
          : Math.min(settings.grace.server, unheardGrace)
        const since = client.since[side]
        if (since === undefined || now() - since < grace) {
          fault(`${end.name} is given up after ${now() - (since ?? NaN)} ms`)
        }
        client.mayEnd = why
      } else if (why === "Limit" && side === "server") client.mayEnd = why
      else if (why === "Unknown" && other?.closed !== undefined) client.mayEnd = why
      else fault(`${end.name} ends with ${end.closed.code} ${why ?? ""} ${String(end.closed.cause ?? "")}`)
    }
    /** Checks the invariants of a moment at which no fiber can run. */
    const checkAtRest = () => {
      for (const client of clients) {
        // beyond the limit in all, a writer waits for an acknowledgement of its own bytes
        if (settings.maxKeptBytesInAll < 1_000_000) continue
        for (const end of [client.near, client.far]) {
          if (end?.sleeps === true) fault(`${end.name} sleeps beside a writable transport`)
        }
      }
      check()
    }
    /** Checks that a session without a reason to end has carried all. */
    const isWhole = ({ far, mayEnd, near }: Client): boolean => {
      if (mayEnd !== undefined) return true
      return [near, far].every((end) =>
        end !== undefined && end.orders.length === 0 && end.sent.size === 0 && end.keptBytes === 0 && !end.isSuspended
      )
    }

    return {
      random,
      settings,
      counts,
      resumed: () => clients.reduce((sum, { resumed }) => sum + resumed, 0),
      network,
      clients,
      served,
      timers,
      now,
      say,
      connect,
      check,
      checkAtRest,
      isWhole,
      onLoss,
      loseByFrames,
      scope,
      suspended: resuming.suspended,
      stopServer: Effect.suspend(() => {
        isStopped = true
        for (const client of clients) client.mayEnd ??= "the server stops"
        return Scope.close(serverScope, Exit.void)
      }),
      idle
    }
  })

export type World = Effect.Effect.Success<ReturnType<typeof makeWorld>>

const reasonOf = (end: End): string | undefined =>
  end.closed?.cause instanceof ResumeFailure ? end.closed.cause.reason : undefined

const noise = new Random(0)
const filler = Buffer.from(Uint32Array.from({ length: 80_000 }, () => noise.uint32()).buffer)

/** The codes by which an end that has a session takes the end of its link for a loss. */
const lossCodes = { client: [1001, 1005, 1006, 1011, 1012, abandonedCode], server: [1006, abandonedCode] }
const allCodes = [...lossCodes.client, 1000, 3000]

/** How long a session waits for a client that was never heard. */
const unheardGrace = 10_000

const keptSizes = [1, 1000, 64 * 1024, 4 * 1024 * 1024]

/** A HELLO is sent before the transport is asked. */
const small = 1024
