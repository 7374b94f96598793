import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Equivalence from "effect/Equivalence"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as FiberSet from "effect/FiberSet"
import type * as Runtime from "effect/Runtime"
import * as Scope from "effect/Scope"
import type { Budget } from "../../SharedLimits.js"
import type { CloseInfo, Transport } from "../../Transport.js"
import type { Connection } from "../../TransportServer.js"
import { ResumeFailure } from "../../WsmuxError.js"
import { forkUninterruptibly, makeFork } from "../sync/forkInterruptibly.js"
import { interruptSoon } from "../sync/unowned.js"
import { logFailure } from "../transport/connectionHandler.js"
import { resumeHeader } from "../transport/resuming.js"
import type { ResumeOffer } from "../wire/record.js"
import * as Record from "../wire/resumeRecord.js"
import { Carrier } from "./carrier.js"
import { lost } from "./loss.js"
import type { ResumeOwner } from "./owner.js"
import { type Suspended, SuspendedSessions } from "./suspended.js"
import { ResumableTransport } from "./transport.js"

export interface Settings<P> {
  readonly graceMillis: number
  readonly maxKeptBytes: number
  readonly maxKeptBytesInAll: number
  readonly maxSuspended: number
  readonly maxSuspendedPerPrincipal: number
  readonly samePrincipal: Equivalence.Equivalence<P>
  /** The budget of connections. A session that begins may need the place of a suspended one. */
  readonly connections: Budget
  readonly now: () => number
}

/** Serves one session over the transports that carry it. */
export type Handler<P, E, R> = (transport: Transport, connection: Connection<P>) => Effect.Effect<unknown, E, R>

/** The sessions of a server that go on over another connection of their client, and their limits. */
export class ResumableSessions<P> {
  readonly #settings: Settings<P>
  /** Forks a fiber that the scope of the server interrupts. */
  readonly #fork: (effect: Effect.Effect<void>) => Fiber.RuntimeFiber<void>
  /** The sessions that can be resumed, by their ids. */
  readonly #sessions = new Map<string, AcceptedSession<P>>()
  /** Those without a carrier. */
  readonly #suspended = new SuspendedSessions<AcceptedSession<P>>()
  /** Those of all servers with the same budget of connections. */
  readonly #suspendedInAll: SuspendedSessions<Suspended>
  #kept = 0

  constructor(settings: Settings<P>, fork: (effect: Effect.Effect<void>) => Fiber.RuntimeFiber<void>) {
    this.#settings = settings
    this.#fork = fork
    const { connections } = settings
    this.#suspendedInAll = suspendedOf.get(connections) ?? new SuspendedSessions()
    suspendedOf.set(connections, this.#suspendedInAll)
  }

  get suspended(): number {
    return this.#suspended.size
  }

  /**
   * Takes a connection: for a new session, which runs the handler in the set of fibers, or for one that is resumed.
   * Completes when the connection has been left. Interruption ends the session that uses the connection.
   */
  accept<E, R>(
    transport: Transport,
    connection: Connection<P>,
    handler: Handler<P, E, R>,
    fibers: FiberSet.FiberSet<void>
  ): Effect.Effect<void, never, Exclude<R, Scope.Scope>> {
    return Effect.flatMap(Effect.runtime<Exclude<R, Scope.Scope>>(), (runtime) =>
      Effect.async<void>((left) => {
        const carrier = new Carrier(transport, () => left(Effect.void))
        const begin = () => this.#begin(carrier, connection, handler, fibers, runtime)
        if (connection.request.headers[resumeHeader] === undefined) begin()
        else this.#awaitFirst(carrier, connection.principal, begin)
        return Effect.suspend(() => this.#interrupt(carrier))
      }))
  }

  /** Hands a carrier to the session that the record names, or refuses it. */
  resume(record: Record.Resume, carrier: Carrier, principal: P): void {
    const session = this.#sessions.get(hex(record.sessionId))
    // A peer that turned out to be plain has a token, too.
    const isKnown = session?.knows(record.token) === true && session.transport.phase !== "Plain"
    if (!isKnown) return this.#reject(carrier, "unknown", "")
    if (!this.#settings.samePrincipal(principal, session.principal)) return this.#reject(carrier, "principal", "")
    if (record.attempt <= session.attempt) return this.#reject(carrier, "attempt", "")
    if (!session.transport.fits(record)) {
      this.#reject(carrier, "counts", "")
      return session.giveUp("LostBytes", "the client asked for bytes that are no longer kept")
    }
    session.resume(record, carrier)
  }

  #begin<E, R>(
    carrier: Carrier,
    connection: Connection<P>,
    handler: Handler<P, E, R>,
    fibers: FiberSet.FiberSet<void>,
    runtime: Runtime.Runtime<Exclude<R, Scope.Scope>>
  ): void {
    const session = new AcceptedSession<P>(carrier, connection.principal, this.#settings, this)
    this.#sessions.set(session.key, session)
    const { transport } = session
    const scope = Effect.runSync(Scope.make())
    const finish = (exit: Exit.Exit<unknown, E>) =>
      Effect.zipRight(Exit.isFailure(exit) ? logFailure(exit.cause) : Effect.void, Scope.close(scope, exit)).pipe(
        Effect.catchAllCause(logFailure),
        Effect.ensuring(Effect.sync(() => transport.end(lost(undefined))))
      )
    // The frames of `scoped`, `provide` and `ensuring` would hold some kilobytes for as long as the session lives.
    const handling = Effect.suspend(() => handler(transport, connection)) as Effect.Effect<unknown, E>
    const serve = Effect.flatMap(Effect.exit(Effect.interruptible(handling)), finish)
    this.#makeRoom()
    session.fiber = forkUninterruptibly(runtime, Context.make(Scope.Scope, scope))(serve)
    FiberSet.unsafeAdd(fibers, session.fiber)
    transport.begin()
  }

  /**
   * Suspended sessions count as connections. Only a session that begins drives out another: the connections of clients
   * that resume would otherwise find no place beside their own suspended sessions.
   */
  #makeRoom(): void {
    const { connections } = this.#settings
    for (const session of this.#suspendedInAll) {
      if (connections.used + this.#suspendedInAll.size <= connections.total) return
      session.giveUp("Limit", `the process holds ${connections.total} connections`)
    }
  }

  /** Waits for the first message of a client that says that it resumes. Such a client may stay silent for a time. */
  #awaitFirst(carrier: Carrier, principal: P, begin: () => void): void {
    const limit = this.#fork(Effect.delay(Effect.sync(() => carrier.drop()), firstMessageTimeout))
    const drop = () => {
      interruptSoon(limit)
      carrier.drop()
    }
    carrier.handTo({
      onMessage: (message) => {
        interruptSoon(limit)
        const record = Record.decode(message)
        if (record?._tag === "Resume") return this.resume(record, carrier, principal)
        begin()
        carrier.onMessage(message)
      },
      onText: drop,
      onWritable: () => {},
      onClose: drop
    })
  }

  #reject(carrier: Carrier, code: keyof typeof Record.RejectCode, reason: string): void {
    carrier.handTo({ onMessage: () => {}, onText: () => {}, onWritable: () => {}, onClose: () => carrier.drop() })
    carrier.transport.send([Record.encodeRejected(Record.RejectCode[code], reason)])
    const closing = carrier.transport.close(1000, "the session is not resumed", closeTimeout)
    this.#fork(Effect.ensuring(closing, Effect.sync(() => carrier.drop())))
  }

  #interrupt(carrier: Carrier): Effect.Effect<void> {
    const fiber = this.#userOf(carrier)?.fiber
    return fiber === undefined ? Effect.void : Effect.asVoid(Fiber.interrupt(fiber))
  }

  #userOf(carrier: Carrier): AcceptedSession<P> | undefined {
    for (const session of this.#sessions.values()) {
      if (session.transport.carrier === carrier) return session
    }
    return undefined
  }

  // What the sessions tell.

  /** Books kept bytes. Beyond the limit in all, suspended sessions are given up. */
  book(bytes: number): void {
    this.#kept += bytes
    const { maxKeptBytesInAll } = this.#settings
    if (bytes <= 0 || this.#kept <= maxKeptBytesInAll) return
    for (const session of this.#suspended) {
      if (this.#kept <= maxKeptBytesInAll) return
      session.giveUp("Limit", `${maxKeptBytesInAll} bytes of all sessions are kept`)
    }
  }

  /**
   * The bytes that one session may keep now. Beyond the limit in all, each may keep an equal part of half as much, so
   * that clients that acknowledge nothing do not stop the others.
   */
  get maxKept(): number {
    const { maxKeptBytes, maxKeptBytesInAll } = this.#settings
    if (this.#kept < maxKeptBytesInAll) return maxKeptBytes
    return Math.max(1, Math.min(maxKeptBytes, maxKeptBytesInAll / 2 / this.#sessions.size))
  }

  suspend(session: AcceptedSession<P>, isPeerHeard: boolean): void {
    const { graceMillis, maxSuspended, maxSuspendedPerPrincipal, samePrincipal } = this.#settings
    this.#suspended.add(session, isPeerHeard)
    this.#suspendedInAll.add(session, isPeerHeard)
    const grace = isPeerHeard ? graceMillis : Math.min(graceMillis, unheardGraceMillis)
    session.grace = this.#fork(Effect.delay(Effect.sync(() => session.giveUp("GraceExpired", "")), grace))
    const { principal } = session
    const ofPrincipal = principal === undefined
      ? []
      : [...this.#suspended].filter((other) => samePrincipal(other.principal, principal))
    if (ofPrincipal.length > maxSuspendedPerPrincipal) {
      ofPrincipal[0]!.giveUp("Limit", `${maxSuspendedPerPrincipal} sessions of one principal are suspended`)
    }
    const [first] = this.#suspended
    if (this.#suspended.size > maxSuspended) first!.giveUp("Limit", `${maxSuspended} sessions are suspended`)
  }

  /** The session has a carrier again, or has ended. */
  unsuspend(session: AcceptedSession<P>): void {
    if (!this.#suspended.delete(session)) return
    this.#suspendedInAll.delete(session)
    if (session.grace !== undefined) interruptSoon(session.grace)
    session.grace = undefined
  }

  remove(session: AcceptedSession<P>): void {
    this.unsuspend(session)
    this.#sessions.delete(session.key)
  }

  afterSecond(task: () => void): void {
    this.#fork(Effect.delay(Effect.sync(task), Duration.seconds(1)))
  }
}

/** Makes the sessions of a server, whose scope ends their timers. */
export const makeSessions = <P>(settings: Settings<P>): Effect.Effect<ResumableSessions<P>, never, Scope.Scope> =>
  Effect.map(makeFork, (fork) => new ResumableSessions(settings, fork))

/** The suspended sessions of each budget of connections. */
const suspendedOf = new WeakMap<Budget, SuspendedSessions<Suspended>>()

/** A session of the accepting end, with the secret by which its client resumes it. */
class AcceptedSession<P> implements ResumeOwner {
  readonly transport: ResumableTransport
  readonly offer: ResumeOffer
  readonly key: string
  readonly principal: P
  readonly now: () => number
  /** The fiber that serves the session. */
  fiber: Fiber.RuntimeFiber<void> | undefined
  /** Gives the session up when its time without a carrier is over. */
  grace: Fiber.RuntimeFiber<void> | undefined
  /** The number of the last attempt to resume. */
  attempt = 0
  readonly #sessions: ResumableSessions<P>
  #token: Uint8Array
  /** Was sent by the last answer, which the client may not have got. */
  #nextToken: Uint8Array | undefined
  #loss: CloseInfo | undefined

  constructor(carrier: Carrier, principal: P, settings: Settings<P>, sessions: ResumableSessions<P>) {
    this.principal = principal
    this.now = settings.now
    this.#sessions = sessions
    this.#token = random(Record.tokenSize)
    this.offer = {
      sessionId: random(Record.sessionIdSize),
      token: this.#token,
      graceMillis: settings.graceMillis,
      keptBytes: settings.maxKeptBytes
    }
    this.key = hex(this.offer.sessionId)
    this.transport = new ResumableTransport(carrier, this)
  }

  get maxKept(): number {
    return this.#sessions.maxKept
  }

  knows(token: Uint8Array): boolean {
    // both comparisons always run, so that the time tells nothing
    const isNext = isEqual(token, this.#nextToken ?? this.#token)
    return isEqual(token, this.#token) || isNext
  }

  /** Goes on over another carrier. The newest one wins: the client knows better than this end that the old is lost. */
  resume(record: Record.Resume, carrier: Carrier): void {
    this.attempt = record.attempt
    if (this.#nextToken !== undefined && isEqual(record.token, this.#nextToken)) this.#token = this.#nextToken
    this.#nextToken = random(Record.tokenSize)
    this.transport.detach()
    this.#sessions.unsuspend(this)
    const { firstKept, received } = this.transport
    carrier.transport.send([Record.encodeResumed({ received, firstKept, token: this.#nextToken })])
    this.transport.attach(carrier, record.received)
  }

  giveUp(reason: ResumeFailure["reason"], detail: string): void {
    this.transport.end(lost(new ResumeFailure({ reason, detail, loss: this.#loss })))
  }

  book(bytes: number): void {
    this.#sessions.book(bytes)
  }

  afterSecond(task: () => void): void {
    this.#sessions.afterSecond(task)
  }

  onNative(): void {}

  onResume(record: Record.Resume, carrier: Carrier): void {
    this.transport.giveAway({ code: 1000, reason: "the client resumes another session" })
    this.#sessions.resume(record, carrier, this.principal)
  }

  onSuspended(loss: CloseInfo, isPeerHeard: boolean): void {
    this.#loss = loss
    this.#sessions.suspend(this, isPeerHeard)
  }

  onProven(): void {
    if (this.#nextToken !== undefined) this.#token = this.#nextToken
    this.#nextToken = undefined
  }

  onEnd(): void {
    this.#sessions.remove(this)
  }

  countFailure(detail: string): ResumeFailure {
    return new ResumeFailure({ reason: "LostBytes", detail, loss: undefined })
  }
}

const random = (size: number): Uint8Array => crypto.getRandomValues(new Uint8Array(size))

const hex = (bytes: Uint8Array): string => Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("")

/** Compares two tokens in a time that does not depend on where they differ. */
const isEqual = (a: Uint8Array, b: Uint8Array): boolean => {
  let difference = a.length ^ b.length
  for (let at = 0; at < a.length; at++) difference |= a[at]! ^ (b[at] ?? 0)
  return difference === 0
}

/** How long a client that says that it resumes may stay silent. */
const firstMessageTimeout = Duration.seconds(10)

/** How long a refused client may take to close. */
const closeTimeout = Duration.seconds(5)

/** How long a session waits for a client that was lost before it said that it can resume. It may be a plain one. */
const unheardGraceMillis = 10_000
