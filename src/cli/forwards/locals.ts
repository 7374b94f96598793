import * as Effect from "effect/Effect"
import * as ExecutionStrategy from "effect/ExecutionStrategy"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import type { ListenFailure } from "../../WsmuxError.js"
import type { Listener } from "./local.js"

/** A listener with its two scopes. The inner one ends the listening alone, and the outer one the connections, too. */
interface Held {
  readonly listener: Listener
  readonly address: string
  readonly owner: Scope.CloseableScope
  readonly listening: Scope.CloseableScope
}

/** Makes a listener that does not listen yet. */
export type Make = Effect.Effect<Listener, never, Scope.Scope>

/** The listeners of this machine, which begin and end while the command runs. */
export class Locals {
  readonly #scope: Scope.Scope
  readonly #held = new Map<string, Held>()
  /** Those that listen no more, and have connections. */
  readonly #leaving = new Set<Held>()

  /** @param scope ends all listeners and connections */
  constructor(scope: Scope.Scope) {
    this.#scope = scope
  }

  /** The names of the listeners. */
  get names(): ReadonlyArray<string> {
    return [...this.#held.keys()]
  }

  /** Begins to listen. */
  add(name: string, make: Make): Effect.Effect<void, ListenFailure> {
    return Effect.gen(this, function*() {
      const owner = yield* Scope.fork(this.#scope, ExecutionStrategy.sequential)
      const listening = yield* Scope.fork(owner, ExecutionStrategy.sequential)
      const listener = yield* Scope.extend(make, owner)
      const address = yield* Effect.onError(
        Scope.extend(listener.listen, listening),
        () => Scope.close(owner, Exit.void)
      )
      this.#held.set(name, { listener, address, owner, listening })
    })
  }

  /** Listens no more. Connections go on. */
  remove(name: string): Effect.Effect<void> {
    return Effect.gen(this, function*() {
      const held = this.#held.get(name)
      if (held === undefined) return
      this.#held.delete(name)
      this.#leaving.add(held)
      yield* Scope.close(held.listening, Exit.void)
      yield* Effect.logInfo(`listening on ${held.address} no more`)
      const leave = Effect.zipRight(held.listener.awaitEmpty, Scope.close(held.owner, Exit.void))
      yield* Effect.forkIn(Effect.ensuring(leave, Effect.sync(() => this.#leaving.delete(held))), this.#scope)
    }).pipe(Effect.uninterruptible)
  }

  /** Completes once no connection is left. */
  readonly awaitEmpty: Effect.Effect<void> = Effect.suspend(() =>
    Effect.forEach([...this.#held.values(), ...this.#leaving], ({ listener }) => listener.awaitEmpty, {
      concurrency: "unbounded",
      discard: true
    })
  )
}
