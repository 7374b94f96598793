import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Equivalence from "effect/Equivalence"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import type * as Runtime from "effect/Runtime"
import * as Scope from "effect/Scope"
import type { Budget } from "../../SharedLimits.js"
import type { CloseInfo, Transport } from "../../Transport.js"
import type { Connection } from "../../TransportServer.js"
import { ResumeFailure } from "../../WsmuxError.js"
import { forkInterruptiblyWith, Forks } from "../sync/forkInterruptibly.js"
import { interruptSoon } from "../sync/unowned.js"
import { logFailure } from "../transport/connectionHandler.js"
import { resumeHeader } from "../transport/resuming.js"
import type { ResumeOffer } from "../wire/record.js"
import * as Record from "../wire/resumeRecord.js"
import { Carrier } from "./carrier.js"
import { lost } from "./loss.js"
import type { ResumeOwner } from "./owner.js"
import { isEqual, randomSecret, type Secret, toBytes, toSecret } from "./secret.js"
import { type Suspended, SuspendedSessions } from "./suspended.js"
import { ResumableTransport } from "./transport.js"

export { bare } from "../transport/connectionHandler.js"

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
  readonly settings: Settings<P>
  /** The fibers that serve the sessions, and those of timers. */
  readonly #forks: Forks
  /** The sessions that can be resumed, by their ids. */
  readonly #sessions = new Map<Secret, AcceptedSession<P>>()
  /** Those without a carrier. */
  readonly #suspended = new SuspendedSessions<AcceptedSession<P>>()
  /** Those of all servers with the same budget of connections. */
  readonly #suspendedInAll: SuspendedSessions<Suspended>
  #kept = 0

  constructor(settings: Settings<P>, forks: Forks) {
    this.settings = settings
    this.#forks = forks
    const { connections } = settings
    this.#suspendedInAll = suspendedOf.get(connections) ?? new SuspendedSessions()
    suspendedOf.set(connections, this.#suspendedInAll)
  }

  get suspended(): number {
    return this.#suspended.size
  }

  /**
   * Takes a connection: for a new session, which runs the handler in a fiber of its own, or for one that is resumed.
   * Completes when the connection has been left. Interruption ends the session that uses the connection.
   */
  accept<E, R>(
    transport: Transport,
    connection: Connection<P>,
    handler: Handler<P, E, R>
  ): Effect.Effect<void, never, Exclude<R, Scope.Scope>> {
    return Effect.flatMap(Effect.runtime<Exclude<R, Scope.Scope>>(), (runtime) =>
      this.#untilLeft((leave) => {
        const carrier = new Carrier(transport, leave)
        const begin = () => this.#begin(carrier, connection, handler, runtime)
        if (connection.request.headers[resumeHeader] === undefined) begin()
        else this.#awaitFirst(carrier, connection.principal, begin)
        return carrier
      }))
  }

  /**
   * Starts, and waits until the connection is left. Lets go of `start`, which holds the headers of the request. The
   * frames of `onInterrupt` would take half a kilobyte more for as long as the connection lasts.
   */
  #untilLeft(start: ((leave: () => void) => Carrier) | undefined): Effect.Effect<void> {
    let carrier: Carrier | undefined
    const wait = Effect.async<void>((left) => {
      carrier = start!(() => left(Effect.void))
      start = undefined
    })
    return Effect.uninterruptible(Effect.catchAllCause(
      Effect.interruptible(wait),
      (cause) => Effect.zipRight(logFailure(cause), carrier === undefined ? Effect.void : this.#interrupt(carrier))
    ))
  }

  /** Hands a carrier to the session that the record names, or refuses it. */
  resume(record: Record.Resume, carrier: Carrier, principal: P): void {
    const session = this.#sessions.get(toSecret(record.sessionId))
    // A peer that turned out to be plain has a token, too.
    const isKnown = session?.knows(toSecret(record.token)) === true && session.transport.phase !== "Plain"
    if (!isKnown) return this.#reject(carrier, "unknown", "")
    if (!this.settings.samePrincipal(principal, session.principal)) return this.#reject(carrier, "principal", "")
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
    runtime: Runtime.Runtime<Exclude<R, Scope.Scope>>
  ): void {
    const session = new AcceptedSession<P>(carrier, connection.principal, this)
    const { transport } = session
    this.#sessions.set(session.id, session)
    this.#makeRoom()
    const scope = Effect.runSync(Scope.make())
    let given: Connection<P> | undefined = connection
    const handling = Effect.suspend(() => {
      const first = given!
      given = undefined // no frame keeps the headers of the request for as long as the session lives
      return handler(transport, first)
    })
    const end = (exit: Exit.Exit<unknown, unknown>) =>
      Effect.zipRight(Exit.isFailure(exit) ? logFailure(exit.cause) : Effect.void, Scope.close(scope, exit)).pipe(
        Effect.catchAllCause(logFailure),
        Effect.ensuring(Effect.sync(() => transport.end(lost(undefined))))
      )
    // In the fiber of the handler, whose children end behind it: a child may wait for the end of the session. More
    // frames, such as those of `scoped`, would stay for as long as the session lives.
    const serving = Effect.uninterruptible(Effect.matchCauseEffect(Effect.interruptible(handling), {
      onFailure: (cause) => end(Exit.failCause(cause)),
      onSuccess: (value) => end(Exit.succeed(value))
    })) as Effect.Effect<void>
    session.fiber = this.#forks.add(forkInterruptiblyWith(runtime, Context.make(Scope.Scope, scope))(serving))
    transport.begin()
  }

  /**
   * Suspended sessions count as connections. Only a session that begins drives out another: the connections of clients
   * that resume would otherwise find no place beside their own suspended sessions.
   */
  #makeRoom(): void {
    const { connections } = this.settings
    for (const session of this.#suspendedInAll) {
      if (connections.used + this.#suspendedInAll.size <= connections.total) return
      session.giveUp("Limit", `the process holds ${connections.total} connections`)
    }
  }

  /** Waits for the first message of a client that says that it resumes. Such a client may stay silent for a time. */
  #awaitFirst(carrier: Carrier, principal: P, begin: () => void): void {
    const limit = this.#forks.fork(Effect.delay(Effect.sync(() => carrier.drop()), firstMessageTimeout))
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
    this.#forks.fork(Effect.ensuring(closing, Effect.sync(() => carrier.drop())))
  }

  #interrupt(carrier: Carrier): Effect.Effect<void> {
    const session = this.#userOf(carrier)
    if (session?.fiber === undefined) return Effect.void
    return Fiber.interrupt(session.fiber)
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
    const { maxKeptBytesInAll } = this.settings
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
    const { maxKeptBytes, maxKeptBytesInAll } = this.settings
    if (this.#kept < maxKeptBytesInAll) return maxKeptBytes
    return Math.max(1, Math.min(maxKeptBytes, maxKeptBytesInAll / 2 / this.#sessions.size))
  }

  suspend(session: AcceptedSession<P>, isPeerHeard: boolean): void {
    const { graceMillis, maxSuspended, maxSuspendedPerPrincipal, samePrincipal } = this.settings
    this.#suspended.add(session, isPeerHeard)
    this.#suspendedInAll.add(session, isPeerHeard)
    const grace = isPeerHeard ? graceMillis : Math.min(graceMillis, unheardGraceMillis)
    session.grace = this.#forks.fork(Effect.delay(Effect.sync(() => session.giveUp("GraceExpired", "")), grace))
    const { principal } = session
    const ofPrincipal = principal === undefined || this.#suspended.size <= maxSuspendedPerPrincipal
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
    this.#sessions.delete(session.id)
  }

  afterSecond(task: () => void): void {
    this.#forks.fork(Effect.delay(Effect.sync(task), Duration.seconds(1)))
  }
}

/** Makes the sessions of a server, whose scope ends them. */
export const makeSessions = <P>(settings: Settings<P>): Effect.Effect<ResumableSessions<P>, never, Scope.Scope> =>
  Effect.gen(function*() {
    const forks = new Forks(yield* Effect.runtime<never>())
    yield* Effect.addFinalizer(() => forks.end())
    return new ResumableSessions(settings, forks)
  })

/** The suspended sessions of each budget of connections. */
const suspendedOf = new WeakMap<Budget, SuspendedSessions<Suspended>>()

/** A session of the accepting end, with the secret by which its client resumes it. */
class AcceptedSession<P> implements ResumeOwner {
  readonly isAccepting = true
  readonly transport: ResumableTransport
  readonly id = randomSecret(Record.sessionIdSize)
  readonly principal: P
  /** Serves the session, and closes its scope. */
  fiber: Fiber.RuntimeFiber<unknown, unknown> | undefined
  /** Gives the session up when its time without a carrier is over. */
  grace: Fiber.RuntimeFiber<void> | undefined
  /** The number of the last attempt to resume. */
  attempt = 0
  readonly #sessions: ResumableSessions<P>
  #token = randomSecret(Record.tokenSize)
  /** Was sent by the last answer, which the client may not have got. */
  #nextToken: Secret | undefined
  #loss: CloseInfo | undefined

  constructor(carrier: Carrier, principal: P, sessions: ResumableSessions<P>) {
    this.principal = principal
    this.#sessions = sessions
    this.transport = new ResumableTransport(carrier, this)
  }

  offer(): ResumeOffer {
    const { graceMillis, maxKeptBytes: keptBytes } = this.#sessions.settings
    return { sessionId: toBytes(this.id), token: toBytes(this.#token), graceMillis, keptBytes }
  }

  get maxKept(): number {
    return this.#sessions.maxKept
  }

  now(): number {
    return this.#sessions.settings.now()
  }

  knows(token: Secret): boolean {
    // both comparisons always run, so that the time tells nothing
    const isNext = isEqual(token, this.#nextToken ?? this.#token)
    return isEqual(token, this.#token) || isNext
  }

  /** Goes on over another carrier. The newest one wins: the client knows better than this end that the old is lost. */
  resume(record: Record.Resume, carrier: Carrier): void {
    this.attempt = record.attempt
    const next = this.#nextToken
    if (next !== undefined && isEqual(toSecret(record.token), next)) this.#token = next
    this.#nextToken = randomSecret(Record.tokenSize)
    this.transport.detach()
    this.#sessions.unsuspend(this)
    const { firstKept, received } = this.transport
    carrier.transport.send([Record.encodeResumed({ received, firstKept, token: toBytes(this.#nextToken) })])
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

/** How long a client that says that it resumes may stay silent. */
const firstMessageTimeout = Duration.seconds(10)

/** How long a refused client may take to close. */
const closeTimeout = Duration.seconds(5)

/** How long a session waits for a client that was lost before it said that it can resume. It may be a plain one. */
const unheardGraceMillis = 10_000
