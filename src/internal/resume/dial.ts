import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as ExecutionStrategy from "effect/ExecutionStrategy"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import * as Schedule from "effect/Schedule"
import * as Scope from "effect/Scope"
import * as SubscriptionRef from "effect/SubscriptionRef"
import type { ResumableTransport as Public, ResumptionState } from "../../ResumableTransport.js"
import type { CloseInfo, Transport } from "../../Transport.js"
import { ResumeFailure } from "../../WsmuxError.js"
import { isHopeless } from "../reconnecting/policy.js"
import { makeFork } from "../sync/forkInterruptibly.js"
import { interruptSoon } from "../sync/unowned.js"
import { Resuming } from "../transport/resuming.js"
import type { ResumeOffer } from "../wire/record.js"
import * as Record from "../wire/resumeRecord.js"
import { Carrier } from "./carrier.js"
import { lost } from "./loss.js"
import type { ResumeOwner } from "./owner.js"
import { ResumableTransport } from "./transport.js"

export interface Settings {
  readonly schedule: Schedule.Schedule<unknown, unknown>
  readonly grace: Duration.Duration
  readonly maxKeptBytes: number
  readonly answerTimeout: Duration.Duration
}

/** The waits after failed attempts. The first attempt comes at once. */
export const defaultSchedule: Schedule.Schedule<unknown, unknown> = Schedule.exponential(Duration.millis(200)).pipe(
  Schedule.union(Schedule.spaced(Duration.seconds(5))),
  Schedule.jitteredWith({ min: 0.5, max: 1 })
)

/** Dials the first carrier, and each that takes the place of a lost one. */
export const connect = <E, R>(
  dial: Effect.Effect<Transport, E, R>,
  settings: Settings
): Effect.Effect<Public, E, R | Scope.Scope> =>
  Effect.gen(function*() {
    const scope = yield* Effect.scope
    const clock = yield* Effect.clock
    const context = yield* Effect.context<R>()
    const end = new DiallingEnd({
      settings,
      fork: yield* makeFork,
      now: () => clock.unsafeCurrentTimeMillis(),
      // Closes behind the finaliser that ends the transport, so that the end of its carrier is no loss.
      scope: yield* Scope.fork(scope, ExecutionStrategy.sequential),
      dial: (carriers) => Effect.provide(Effect.provideService(dial, Scope.Scope, carriers), context)
    })
    const transport = yield* end.dialFirst()
    yield* Effect.addFinalizer(() => Effect.sync(() => transport.end(lost(undefined))))
    return transport
  })

interface Parts<E> {
  readonly settings: Settings
  /** Forks into a set of fibers that the scope interrupts. */
  readonly fork: (effect: Effect.Effect<void>) => Fiber.RuntimeFiber<void>
  readonly now: () => number
  /** The scope of all carriers. */
  readonly scope: Scope.Scope
  /** Dials a carrier into a scope of its own. */
  readonly dial: (scope: Scope.Scope) => Effect.Effect<Transport, E>
}

class DialledTransport extends ResumableTransport implements Public {
  readonly #end: DiallingEnd<unknown>

  constructor(carrier: Carrier, end: DiallingEnd<unknown>) {
    super(carrier, end)
    this.#end = end
  }

  get state(): SubscriptionRef.SubscriptionRef<ResumptionState> {
    return this.#end.shownState
  }
}

/** The end that dials: after a loss it dials again until the session goes on, or the time for it is over. */
class DiallingEnd<E> implements ResumeOwner {
  readonly offer = undefined
  readonly maxKept: number
  readonly now: () => number
  readonly #parts: Parts<E>
  #transport: DialledTransport | undefined
  #peer: ResumeOffer | undefined
  #attempt = 0
  #resumed = 0
  /** The loss after which the session is to go on. Undefined while there is a carrier. */
  #loss: CloseInfo | undefined
  /** Dials after a loss. */
  #regaining: Fiber.RuntimeFiber<void> | undefined
  #state: ResumptionState = { _tag: "Connected", resumed: 0 }
  #shownState: SubscriptionRef.SubscriptionRef<ResumptionState> | undefined

  constructor(parts: Parts<E>) {
    this.#parts = parts
    this.maxKept = parts.settings.maxKeptBytes
    this.now = parts.now
  }

  dialFirst(): Effect.Effect<DialledTransport, E> {
    return this.#dialled((carrier) =>
      Effect.sync(() => {
        const transport = this.#transport = new DialledTransport(carrier, this)
        transport.begin()
        return transport
      })
    )
  }

  readonly book = (): void => {}

  afterSecond(task: () => void): void {
    this.#parts.fork(Effect.delay(Effect.sync(task), Duration.seconds(1)))
  }

  onNative(offer: ResumeOffer | undefined): void {
    this.#peer = offer
  }

  onResume(): void {}

  onProven(): void {}

  onSuspended(loss: CloseInfo): void {
    this.#loss = loss
    this.#setState({ _tag: "Suspended", since: this.now(), resumed: this.#resumed, loss })
    this.#regaining = this.#parts.fork(this.#regain(loss))
  }

  /** The session was closed, or given up: an attempt would bring it to life again at the server only. */
  onEnd(): void {
    this.#loss = undefined
    if (this.#regaining !== undefined) interruptSoon(this.#regaining)
    this.#setState({ _tag: "Ended" })
  }

  countFailure(detail: string): ResumeFailure {
    return new ResumeFailure({ reason: "LostBytes", detail, loss: undefined })
  }

  /** The state for the program. Made when first asked for, since it costs an idle session two kilobytes. */
  get shownState(): SubscriptionRef.SubscriptionRef<ResumptionState> {
    return this.#shownState ??= Effect.runSync(SubscriptionRef.make(this.#state))
  }

  #setState(state: ResumptionState): void {
    this.#state = state
    const shown = this.#shownState
    // Sets the latest state, whichever of the fibers runs first.
    if (shown !== undefined) this.#parts.fork(SubscriptionRef.update(shown, () => this.#state))
  }

  /** Dials a carrier, and uses it. Its scope closes when the carrier is dropped, and unless the use succeeds. */
  #dialled<A, E2>(use: (carrier: Carrier) => Effect.Effect<A, E2>): Effect.Effect<A, E | E2> {
    const { dial, fork, scope } = this.#parts
    return Effect.uninterruptibleMask((restore) =>
      Effect.flatMap(Scope.fork(scope, ExecutionStrategy.sequential), (carriers) => {
        const release = Scope.close(carriers, Exit.void)
        let carrier: Carrier | undefined
        const attempt = Effect.flatMap(dial(carriers), (transport) => {
          carrier = new Carrier(transport, () => fork(Effect.uninterruptible(release)))
          return use(carrier)
        })
        // The session may go on over the carrier although a time-out has ended the attempt in the same turn.
        const unlessUsed = Effect.suspend(() => {
          if (carrier !== undefined && carrier === this.#transport?.carrier) return Effect.void
          carrier?.drop()
          return release
        })
        return Effect.onError(restore(attempt), () => unlessUsed)
      })
    )
  }

  /** Dials until the session goes on. Ends the transport when the time is over, or an attempt was hopeless. */
  #regain(loss: CloseInfo): Effect.Effect<void> {
    const { schedule, grace } = this.#parts.settings
    let last: unknown
    const limit = Duration.min(grace, Duration.millis(this.#peer!.graceMillis))
    const isOver = () => this.#loss !== loss
    const attempt = this.#dialled((carrier) => this.#handshake(carrier, loss)).pipe(
      Effect.provideService(Resuming, true),
      Effect.catchAll((cause) => {
        last = cause
        return isOver() ? Effect.void : Effect.fail(cause)
      })
    )
    const failure = (reason: ResumeFailure["reason"]) => new ResumeFailure({ reason, detail: "", loss, cause: last })
    return attempt.pipe(
      Effect.retry({
        schedule,
        while: (cause) => !(cause instanceof ResumeFailure) && !isHopeless(cause, true)
      }),
      Effect.mapError((cause) => cause instanceof ResumeFailure ? cause : failure("AttemptsEnded")),
      Effect.timeoutFail({ duration: limit, onTimeout: () => failure("GraceExpired") }),
      Effect.catchAllCause((cause) =>
        Effect.sync(() => {
          if (isOver()) return
          this.#transport!.end(lost(cause._tag === "Fail" ? cause.error : failure("AttemptsEnded")))
        })
      )
    )
  }

  /** Asks the accepting end to go on with the session over this carrier. */
  #handshake(carrier: Carrier, loss: CloseInfo): Effect.Effect<void, ResumeFailure | LostAttempt> {
    const session = this.#transport!
    const { answerTimeout } = this.#parts.settings
    return Effect.async<void, ResumeFailure | LostAttempt>((resume) => {
      const refuse = (reason: ResumeFailure["reason"], detail: string) =>
        resume(Effect.fail(new ResumeFailure({ reason, detail, loss })))
      carrier.handTo({
        onMessage: (message) => {
          const record = Record.decode(message) // the accepting end may have begun a session before it knew better
          if (record?._tag === "Rejected") refuse(reasonOf(record.code), record.reason)
          if (record?._tag !== "Resumed") return
          if (!session.fits(record)) return refuse("LostBytes", "")
          this.#peer = { ...this.#peer!, token: record.token }
          this.#resumed++
          this.#loss = undefined
          session.attach(carrier, record.received)
          if (session.phase === "Connected") this.#setState({ _tag: "Connected", resumed: this.#resumed })
          resume(Effect.void)
        },
        onText: () => {},
        onWritable: () => {},
        onClose: (end) => resume(Effect.fail(new LostAttempt(end)))
      })
      const { sessionId, token } = this.#peer!
      const { firstKept, received } = session
      carrier.transport.send([
        Record.encodeResume({ sessionId, token, attempt: ++this.#attempt, received, firstKept })
      ])
    }).pipe(
      Effect.timeoutFail({
        duration: answerTimeout,
        onTimeout: () => new LostAttempt(lost(new Error("the server did not answer in time")))
      })
    )
  }
}

/** A WebSocket that was lost before the session went on over it. */
class LostAttempt extends Error {
  readonly end: CloseInfo

  constructor(end: CloseInfo) {
    super(end.cause instanceof Error ? end.cause.message : `the connection was lost (code ${end.code})`)
    this.end = end
  }
}

const reasonOf = (code: number): ResumeFailure["reason"] => {
  switch (code) {
    case Record.RejectCode.principal:
      return "OtherPrincipal"
    case Record.RejectCode.counts:
      return "LostBytes"
    case Record.RejectCode.attempt:
      return "Superseded"
    default:
      return "Unknown"
  }
}
