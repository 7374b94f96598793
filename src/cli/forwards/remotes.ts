import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as ExecutionStrategy from "effect/ExecutionStrategy"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Scope from "effect/Scope"
import type * as Session from "../../Session.js"
import type { TerminalError } from "../../WsmuxError.js"
import * as About from "./about.js"
import type { ForwardFailure } from "./failure.js"
import * as Remote from "./remote.js"
import type { Forward } from "./spec.js"

/** A forward that the server accepts connections for. */
interface Wanted {
  readonly forward: Forward
  /** By which the server tells the listeners of a client apart. No two forwards ever have the same. */
  readonly name: string
}

/** A listener of a session. */
interface Asked {
  readonly asking: Fiber.RuntimeFiber<Remote.Listening, ForwardFailure | TerminalError>
  readonly scope: Scope.CloseableScope
}

/** A session, as long as it lives. */
interface Live {
  readonly session: Session.Session
  readonly scope: Scope.Scope
  /** Whether the server is known to take forwards. */
  isChecked: boolean
  /** Whether the connections that the server forwards are served. */
  isServed: boolean
  readonly asked: Map<string, Asked>
}

/** How long a change waits for the server to give up a listener, whose port the next one may want. */
const patience = Duration.seconds(5)

/** The listeners at the server, which begin and end while the command runs, and begin anew with each session. */
export class Remotes {
  readonly #scope: Scope.Scope
  readonly #context: Remote.Context
  readonly #wanted = new Map<string, Wanted>()
  /** The forwards of running connections, whose listener may have ended. */
  readonly #byName = new Map<string, Forward>()
  readonly #live = new Set<Live>()
  #count = 0
  #isFirst = true

  /** @param scope outlives the sessions: connections that have ended may deliver their last bytes afterwards */
  constructor(scope: Scope.Scope, context: Remote.Context) {
    this.#scope = scope
    this.#context = context
  }

  /** The keys of the forwards. */
  get keys(): ReadonlyArray<string> {
    return [...this.#wanted.keys()]
  }

  /** Wants a forward. Sessions that begin afterwards have it. */
  want(key: string, forward: Forward): void {
    const name = String(this.#count++)
    this.#wanted.set(key, { forward, name })
    this.#byName.set(name, forward)
  }

  /**
   * Prepares a session, whose scope ends its listeners. Fails when the server refuses a listener of the first session.
   *
   * @param first the forward that a failure of the whole names, or undefined where the session needs none
   */
  prepare(
    session: Session.Session,
    first: string | undefined
  ): Effect.Effect<void, ForwardFailure | TerminalError, Scope.Scope> {
    return Effect.gen(this, function*() {
      const scope = yield* Effect.scope
      const live: Live = { session, scope, isChecked: false, isServed: false, asked: new Map() }
      yield* this.#check(live, first)
      yield* Effect.acquireRelease(
        Effect.sync(() => this.#live.add(live)),
        () => Effect.sync(() => this.#live.delete(live))
      )
      const ask = this.#isFirst ? Remote.listen : Remote.listenAgain
      const asked = yield* Effect.forEach(this.#wanted, ([key, wanted]) => this.#ask(live, key, wanted, ask))
      // Other forwards of a later session need not wait for a port that is still in use.
      if (this.#isFirst) yield* Effect.forEach(asked, Fiber.join, { concurrency: "unbounded", discard: true })
      this.#isFirst = false
    })
  }

  /**
   * Wants a forward, and asks the sessions that live for it. Fails, and wants it no more, when the server refuses. A
   * session that ends or drains is no failure: the next one asks.
   */
  add(key: string, forward: Forward, written: string): Effect.Effect<void, ForwardFailure> {
    return Effect.suspend(() => {
      this.want(key, forward)
      const wanted = this.#wanted.get(key)!
      const asking = Effect.forEach([...this.#live], (live) => this.#askLive(live, key, wanted, written), {
        concurrency: "unbounded",
        discard: true
      })
      return Effect.tapError(asking, () => this.remove(key))
    })
  }

  /** Ends the listeners of a forward. Connections go on. */
  remove(key: string): Effect.Effect<void> {
    return Effect.suspend(() => {
      this.#wanted.delete(key)
      return Effect.forEach(this.#live, (live) => this.#end(live, key), { concurrency: "unbounded", discard: true })
    })
  }

  #check(live: Live, forward: string | undefined): Effect.Effect<void, ForwardFailure | TerminalError> {
    if (live.isChecked || forward === undefined) return Effect.void
    return Effect.map(About.check(live.session, forward), () => {
      live.isChecked = true
    })
  }

  /** Asks a session for a listener. Does nothing where the session ends or drains meanwhile. */
  #askLive(live: Live, key: string, wanted: Wanted, written: string): Effect.Effect<void, ForwardFailure> {
    return this.#check(live, written).pipe(
      Effect.zipRight(Effect.flatMap(this.#ask(live, key, wanted, Remote.listen), Fiber.join)),
      Effect.catchAll((failure) =>
        Effect.flatMap(live.session.snapshot, ({ localDrain, peerDrain }) => {
          const isLeaving = localDrain !== undefined || peerDrain !== undefined
          return failure._tag === "ForwardFailure" && !isLeaving ? Effect.fail(failure) : Effect.void
        })
      ),
      Effect.asVoid
    )
  }

  #ask(live: Live, key: string, { forward, name }: Wanted, ask: typeof Remote.listen) {
    return Effect.gen(this, function*() {
      const known = live.asked.get(key)
      if (known !== undefined) return known.asking
      if (!live.isServed) {
        live.isServed = true
        const forwardOf = (name: string) => this.#byName.get(name)
        yield* Effect.forkIn(Effect.ignore(Remote.serve(live.session, forwardOf, this.#context)), this.#scope)
      }
      const scope = yield* Scope.fork(live.scope, ExecutionStrategy.sequential)
      const listening = Scope.extend(ask(live.session, forward, name, this.#context), scope)
      const asking = yield* Effect.forkIn(listening, live.scope)
      live.asked.set(key, { asking, scope })
      return asking
    })
  }

  #end(live: Live, key: string): Effect.Effect<void> {
    const asked = live.asked.get(key)
    if (asked === undefined) return Effect.void
    live.asked.delete(key)
    const { asking, scope } = asked
    const ending = Effect.gen(function*() {
      const exit = yield* Fiber.interrupt(asking)
      if (Exit.isSuccess(exit)) yield* exit.value.end
      yield* Scope.close(scope, Exit.void)
    })
    return Effect.flatMap(
      Effect.forkIn(ending, live.scope),
      (ending) => Effect.asVoid(Effect.timeoutOption(Effect.disconnect(Fiber.await(ending)), patience))
    )
  }
}
