import * as Address from "effect-wsmux/Address"
import { maxMessageSize } from "effect-wsmux/internal/settings/validate"
import * as Session from "effect-wsmux/Session"
import * as SessionConfig from "effect-wsmux/SessionConfig"
import * as SessionServer from "effect-wsmux/SessionServer"
import { Transport } from "effect-wsmux/Transport"
import { TransportServer } from "effect-wsmux/TransportServer"
import type { TerminalError } from "effect-wsmux/WsmuxError"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Scope from "effect/Scope"
import * as TestClock from "effect/TestClock"
import { idle, type Timers } from "../../support/deterministic.js"
import { type Side, Wire } from "../../support/numberedEnds.js"
import type { Random } from "../../support/random.js"
import { decodeMessage, type Message } from "../../support/records.js"
import { withParts } from "../../support/withParts.js"
import { checkCause, type Drain } from "./drains.js"
import { drawWeather, type Link, makeLink } from "./link.js"
import { checkAtRest, checkBounds, checkCredit, checkTurn, type Turns } from "./model.js"
import { drawSettings, isOver, type Peer, snapshotOf } from "./peer.js"
import { makePlainPair, makeResumablePairs } from "./resumable.js"
import { makeMemoryServer } from "./server.js"

/** The clients, the server and the state that the model has of them. */
export interface World {
  readonly random: Random
  readonly now: () => number
  readonly say: (text: string) => void
  /** Whether the sessions survive the loss of their connections. */
  readonly resumes: boolean
  readonly pairs: Array<readonly [client: Peer, server: Peer]>
  readonly scope: Scope.Scope
  /** Dials with a further client. */
  readonly connect: Effect.Effect<void, unknown>
  /** Ends the server with all of its sessions. */
  readonly stopServer: Effect.Effect<unknown>
  /** Whether sessions are drained. */
  readonly drains: boolean
  /** Drains all sessions of the server. */
  readonly drainServer: (grace: number) => Effect.Effect<void>
  serverDrain: Drain | undefined
  readonly isStopped: () => boolean
  /** Throws when an invariant does not hold. */
  readonly check: () => void
  readonly checkAtRest: () => void
  /** Moves the clock until a condition holds, and fails after a bound. */
  readonly until: (what: string, holds: () => boolean) => Effect.Effect<void>
}

export class Fault extends Error {}

export const makeWorld = (
  random: Random,
  timers: Timers,
  { preemptive, resumes }: { readonly preemptive: boolean; readonly resumes: boolean },
  tell: (text: string) => void
) =>
  Effect.gen(function*() {
    const scope = yield* Effect.scope
    const clock = yield* Effect.clock
    const now = () => clock.unsafeCurrentTimeMillis()
    const say = (text: string) => tell(`${String(now()).padStart(6)} ${text}`)
    const pairs: Array<readonly [Peer, Peer]> = []
    const network = random.fork()
    const makePair = resumes ? yield* makeResumablePairs(network.fork()) : makePlainPair
    let stopped = false
    const drained = { serverDrain: undefined as Drain | undefined }

    /** Only sessions that speak the dialect can resume. */
    const native = resumes && random.chance(0.9) ? { dialect: "auto" } as const : {}
    const serverSettings = { ...drawSettings(random), ...native }
    say(`server: ${describe(serverSettings)}`)
    const { connect, server } = yield* makeMemoryServer(maxMessageSize(SessionConfig.defaults))
    const sessions = yield* Effect.provideService(SessionServer.make(serverSettings), TransportServer, server)
    const waiting = new Map<string, Deferred.Deferred<readonly [Session.Session, Effect.Effect<unknown>]>>()
    const serving = yield* Effect.fork(sessions.run((session) =>
      Effect.gen(function*() {
        const done = yield* Deferred.make<void>()
        const dispose = Effect.zipRight(Deferred.succeed(done, undefined), session.awaitClosed)
        yield* Deferred.succeed(waiting.get(Address.format(session.remoteAddress))!, [session, dispose])
        yield* Deferred.await(done)
      })
    ))

    const newPeer = (name: string, side: Side, rest: Omit<Peer, "name" | "side" | PeerLists>): Peer => ({
      name: `${side} ${name}`,
      side,
      ends: [],
      opening: [],
      accepting: [],
      closing: [],
      drain: undefined,
      decidedAt: undefined,
      ...rest
    })

    const dial = Effect.gen(function*() {
      const name = String(pairs.length)
      const weather = drawWeather(network)
      const settings = {
        client: { ...drawSettings(random), ...native, ...(random.chance(0.4) ? sameWindows : {}) },
        server: serverSettings
      }
      say(`client ${name}: ${describe(settings.client)}; ${JSON.stringify(weather)}`)
      const growth = (side: Side) =>
        Math.max(0, (settings[side].maxStreamBufferSize ?? 0) - settings[side].streamBufferSize)
      const wire = new Wire(
        { client: settings.client.streamBufferSize, server: settings.server.streamBufferSize },
        { client: growth("client"), server: growth("server") }
      )
      wire.preemptive = preemptive
      const turns: Record<Side, Turns> = { client: new Map(), server: new Map() }
      const link: Link = yield* makeLink(makePair, weather, settings, wire, network, (from, message) => {
        const frame = decodeMessage(message)
        say(`${name} ${from === "client" ? "->" : "<-"} ${describeFrame(frame)}`)
        const peer = pairs.flat().find((peer) => peer.link === link && peer.side === from)
        if (frame._tag === "Dat" && peer !== undefined) checkTurn(peer, frame.id, frame.payload.byteLength, turns[from])
      })
      const callbacks = { client: new Array<TerminalError>(), server: new Array<TerminalError>() }
      const told = (side: Side) => (cause: TerminalError) =>
        Effect.sync(() => {
          say(`${side} ${name} is closed: ${String(cause)}`)
          callbacks[side].push(cause)
          const peer = pairs.flat().find((peer) => peer.link === link && peer.side === side)
          if (peer !== undefined) checkCause(peer, cause, now())
        })

      const given = yield* Deferred.make<readonly [Session.Session, Effect.Effect<unknown>]>()
      waiting.set(name, given)
      yield* connect(withParts(link.transports.server, { remoteAddress: Address.opaque(name) }))
      const clientScope = yield* Scope.make()
      const client = yield* Session.makeClient({ ...settings.client, closeCallback: told("client") }).pipe(
        Effect.provideService(Transport, link.transports.client),
        Scope.extend(clientScope)
      )
      const [served, dispose] = yield* Deferred.await(given)
      const isOverEarly = yield* served.isClosed
      yield* served.setCloseCallback(told("server"))
      const peers = [
        newPeer(name, "client", {
          link,
          settings: settings.client,
          session: client,
          dispose: Scope.close(clientScope, Exit.void),
          callbacks: callbacks.client,
          isOverEarly: false,
          hearing: yield* hear(client),
          running: undefined
        }),
        newPeer(name, "server", {
          link,
          settings: settings.server,
          session: served,
          dispose,
          callbacks: callbacks.server,
          isOverEarly,
          hearing: yield* hear(served),
          running: undefined
        })
      ] as const
      for (const peer of peers) {
        wire.isOver[peer.side] = () => isOver(peer)
        wire.drains.snapshot[peer.side] = () => snapshotOf(peer)
      }
      peers[1].drain = drained.serverDrain && { ...drained.serverDrain }
      pairs.push(peers)
    })
    const sameWindows = { streamBufferSize: serverSettings.streamBufferSize, maxStreamBufferSize: undefined }

    const faults = () =>
      pairs.flatMap(([{ link }], index) => link.wire.faults.splice(0).map((fault) => `link ${index}: ${fault}`))
    const judge = () => {
      const found = faults()
      if (found.length > 0) throw new Fault(found.join("; "))
    }
    const check = () => {
      for (const peer of pairs.flat()) checkBounds(peer)
      judge()
    }
    const atRest = () => {
      for (const peer of pairs.flat()) checkAtRest(peer, now())
      for (const [client, server] of pairs) checkCredit(client, server)
      check()
    }
    const cutAny = Effect.suspend(() => {
      const alive = pairs.filter(([client, server]) => !isOver(client) && !isOver(server))
      if (alive.length === 0) return Effect.void
      say("a link is cut")
      return random.pick(alive)[0].link.pair.cut
    })
    const until = (what: string, holds: () => boolean) =>
      Effect.gen(function*() {
        const limit = now() + patience
        for (;;) {
          yield* idle
          atRest()
          if (holds()) return
          const next = Math.min(...timers())
          if (next === Infinity) throw new Fault(`nothing will ever happen any more, and not: ${what}`)
          if (resumes && random.chance(0.1)) yield* cutAny
          if (next > limit) throw new Fault(`not within ${patience} ms: ${what}`)
          yield* TestClock.adjust(Math.max(0, next - now()))
        }
      })

    return Object.assign(drained, {
      random,
      now,
      say,
      resumes,
      pairs,
      scope,
      connect: Effect.provideService(dial, Scope.Scope, scope),
      stopServer: Effect.suspend(() => {
        stopped = true
        return Fiber.interruptFork(serving)
      }),
      isStopped: () => stopped,
      drains: random.chance(0.35),
      drainServer: (grace: number) => sessions.drain({ grace }),
      check,
      checkAtRest: atRest,
      until
    }) satisfies World
  })

type PeerLists = "ends" | "opening" | "accepting" | "closing" | "drain" | "decidedAt"

/** A time that no operation exceeds on the slowest link, in milliseconds of the TestClock. */
const patience = 600_000

const hear = (session: Session.Session) => Effect.fork(session.awaitDraining)

const describe = (settings: SessionConfig.Settings): string =>
  Object.entries(settings)
    .filter(([name, value]) =>
      value !== undefined && value !== SessionConfig.defaults[name as keyof SessionConfig.Settings]
    )
    .map(([name, value]) => `${name} ${String(value)}`).join(", ")

const describeFrame = (frame: Message): string => {
  if (frame._tag === "Malformed") return frame.detail
  if (!("id" in frame)) return frame._tag.toUpperCase()
  const size = frame._tag === "Dat"
    ? frame.payload.byteLength
    : frame._tag === "Ack"
    ? frame.credit
    : frame._tag === "Open"
    ? `${frame.window} "${frame.label}"`
    : "code" in frame
    ? frame.code
    : ""
  return `${frame._tag.toUpperCase()} ${frame.id} ${size}`.trimEnd()
}
