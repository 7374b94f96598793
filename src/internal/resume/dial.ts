import type * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import type * as Runtime from "effect/Runtime"
import * as Schedule from "effect/Schedule"
import * as Scope from "effect/Scope"
import * as SubscriptionRef from "effect/SubscriptionRef"
import type { ResumableTransport as Public, ResumptionState } from "../../ResumableTransport.js"
import type { CloseInfo, Transport } from "../../Transport.js"
import { ResumeFailure } from "../../WsmuxError.js"
import { isHopeless } from "../reconnecting/policy.js"
import { Forks } from "../sync/forkInterruptibly.js"
import { interruptSoon } from "../sync/unowned.js"
import { Resuming } from "../transport/resuming.js"
import type { ResumeOffer } from "../wire/record.js"
import * as Record from "../wire/resumeRecord.js"
import { Carrier } from "./carrier.js"
import { lost } from "./loss.js"
import type { ResumeOwner } from "./owner.js"
import { type Secret, toBytes, toSecret } from "./secret.js"
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
    const runtime = yield* Effect.runtime<R>()
    const end = new DiallingEnd({ settings, clock: yield* Effect.clock, dial, runtime, forks: new Forks(runtime) })
    yield* Scope.addFinalizerExit(yield* Effect.scope, () => end.close())
    return yield* end.dialFirst()
  })

interface Parts<E, R> {
  readonly settings: Settings
  readonly clock: Clock.Clock
  readonly dial: Effect.Effect<Transport, E, R | Scope.Scope>
  readonly runtime: Runtime.Runtime<R>
  readonly forks: Forks
}

type Owner = ResumeOwner & { readonly shownState: Public["state"] }

class DialledTransport extends ResumableTransport implements Public {
  readonly #end: Owner

  constructor(carrier: Carrier, end: Owner) {
    super(carrier, end)
    this.#end = end
  }

  get state(): SubscriptionRef.SubscriptionRef<ResumptionState> {
    return this.#end.shownState
  }
}

/** The end that dials: after a loss it dials again until the session goes on, or the time for it is over. */
class DiallingEnd<E, R> implements Owner {
  readonly isAccepting = false
  readonly #parts: Parts<E, R>
  #transport: DialledTransport | undefined
  /** What the accepting end has offered. */
  #sessionId: Secret = ""
  #token: Secret = ""
  #graceMillis = 0
  #attempt = 0
  #resumed = 0
  /** The loss after which the session is to go on. Undefined while there is a carrier. */
  #loss: CloseInfo | undefined
  /** Dials after a loss. */
  #regaining: Fiber.RuntimeFiber<void> | undefined
  #state: ResumptionState = { _tag: "Connected", resumed: 0 }
  #shownState: SubscriptionRef.SubscriptionRef<ResumptionState> | undefined
  #isClosed = false

  constructor(parts: Parts<E, R>) {
    this.#parts = parts
  }

  /** Ends the transport for good, and waits until its carrier has been released. */
  close(): Effect.Effect<void> {
    this.#isClosed = true
    this.#transport?.end(lost(undefined))
    return this.#parts.forks.end()
  }

  get maxKept(): number {
    return this.#parts.settings.maxKeptBytes
  }

  now(): number {
    return this.#parts.clock.unsafeCurrentTimeMillis()
  }

  offer(): undefined {}

  dialFirst(): Effect.Effect<DialledTransport, E> {
    return this.#dialled((carrier) =>
      Effect.sync(() => {
        const transport = this.#transport = new DialledTransport(carrier, this)
        transport.begin()
        if (this.#isClosed) transport.end(lost(undefined)) // during the dial
        return transport
      })
    )
  }

  book(): void {}

  afterSecond(task: () => void): void {
    this.#parts.forks.fork(Effect.delay(Effect.sync(task), Duration.seconds(1)))
  }

  onNative(offer: ResumeOffer | undefined): void {
    if (offer === undefined) return
    this.#sessionId = toSecret(offer.sessionId)
    this.#token = toSecret(offer.token)
    this.#graceMillis = offer.graceMillis
  }

  onResume(): void {}

  onProven(): void {}

  onSuspended(loss: CloseInfo): void {
    this.#loss = loss
    const { keptBytes } = this.#transport!
    this.#setState({ _tag: "Suspended", since: this.now(), resumed: this.#resumed, keptBytes, loss })
    this.#regaining = this.#parts.forks.fork(this.#regain(loss))
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
    if (shown !== undefined) this.#parts.forks.fork(SubscriptionRef.update(shown, () => this.#state))
  }

  /** Dials a carrier, and uses it. Its scope closes when the carrier is dropped, and unless the use succeeds. */
  #dialled<A, E2>(use: (carrier: Carrier) => Effect.Effect<A, E2>): Effect.Effect<A, E | E2> {
    const { dial, forks, runtime } = this.#parts
    return Effect.uninterruptibleMask((restore) =>
      Effect.flatMap(Scope.make(), (scope) => {
        let carrier: Carrier | undefined
        const dialling = Effect.provide(dial, Context.add(runtime.context, Scope.Scope, scope))
        const attempt = Effect.flatMap(dialling, (transport) => {
          carrier = new Carrier(transport, releaseBy(forks, scope))
          return use(carrier)
        })
        // The session may go on over the carrier although a time-out has ended the attempt in the same turn.
        const unlessUsed = Effect.suspend(() => {
          if (carrier !== undefined && carrier === this.#transport?.carrier) return Effect.void
          carrier?.drop()
          return Scope.close(scope, Exit.void)
        })
        return Effect.onError(restore(attempt), () => unlessUsed)
      })
    )
  }

  /** Dials until the session goes on. Ends the transport when the time is over, or an attempt was hopeless. */
  #regain(loss: CloseInfo): Effect.Effect<void> {
    const { schedule, grace } = this.#parts.settings
    let last: unknown
    const limit = Duration.min(grace, Duration.millis(this.#graceMillis))
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
          this.#token = toSecret(record.token)
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
      const { firstKept, received } = session
      const sessionId = toBytes(this.#sessionId)
      const token = toBytes(this.#token)
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

/** Keeps nothing else of an attempt alive. */
const releaseBy = (forks: Forks, scope: Scope.CloseableScope) => (): void => {
  forks.fork(Effect.uninterruptible(Scope.close(scope, Exit.void)))
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
