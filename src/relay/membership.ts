import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type { Change, DirectoryFailure, Node, Service } from "../RelayDirectory.js"
import type { Names } from "./names.js"

/** Keeps the directory informed of a node and its names, through times in which the directory is away. */
export class Membership {
  readonly #directory: Service
  readonly #node: Node
  readonly #names: Names
  readonly #now: () => number
  /** When each name was claimed at last, with its epoch. */
  readonly #claimed = new Map<string, { readonly epoch: number; readonly at: number }>()
  /** Names that the directory has not yet been told of as released. */
  readonly #released = new Map<string, number>()

  constructor(directory: Service, node: Node, names: Names, now: () => number) {
    this.#directory = directory
    this.#node = node
    this.#names = names
    this.#now = now
  }

  /** Runs until the scope closes: renews the node, repeats what has failed, and hears of other nodes. */
  start(ttlMillis: number, onChange: (change: Change) => void): Effect.Effect<void, never, Scope.Scope> {
    return Effect.gen(this, function*() {
      const hear = (change: Change) => {
        if (change.name !== undefined && change.epoch !== undefined) {
          this.#names.supersede(change.name, change.epoch, this.#now())
        }
        onChange(change)
        if (change.name !== undefined) this.#names.changed(change.name)
      }
      yield* Effect.forkScoped(Stream.runForEach(this.#directory.changes, (change) => Effect.sync(() => hear(change))))
      let isAway = false
      const tick = Effect.gen(this, function*() {
        const known = yield* this.#directory.renew(this.#node, ttlMillis)
        if (!known) this.#claimed.clear()
        yield* Effect.forEach(this.#released, ([name, epoch]) => this.#release(name, epoch), { concurrency: 16 })
        yield* Effect.forEach(this.#unclaimed(), ([name, epoch]) => this.#claim(name, epoch), { concurrency: 16 })
        if (isAway) yield* Effect.logInfo("the directory of names is back")
        isAway = false
      }).pipe(
        Effect.catchAll((failure) => {
          const wasAway = isAway
          isAway = true
          return wasAway ? Effect.void : Effect.logWarning(failure.message)
        })
      )
      yield* tick
      yield* Effect.forkScoped(
        Effect.forever(
          Effect.suspend(() =>
            Effect.zipRight(Effect.sleep(isAway ? Math.min(ttlMillis / 3, againMillis) : ttlMillis / 3), tick)
          )
        )
      )
      yield* Effect.addFinalizer(() => this.leave)
    })
  }

  /** Forgets the node: its requests go to others from now on. */
  get leave(): Effect.Effect<void> {
    return Effect.ignore(this.#directory.leave(this.#node.id))
  }

  /** An agent has come. A claim that fails is repeated. */
  claim(name: string, epoch: number): Effect.Effect<void> {
    return Effect.suspend(() => this.#claimed.get(name)?.epoch === epoch ? Effect.void : this.#claim(name, epoch)).pipe(
      Effect.ignore
    )
  }

  /** The last agent of a name has left. */
  release(name: string, epoch: number): Effect.Effect<void> {
    this.#claimed.delete(name)
    this.#released.set(name, epoch)
    return Effect.ignore(this.#release(name, epoch))
  }

  #claim(name: string, epoch: number): Effect.Effect<void, DirectoryFailure> {
    this.#released.delete(name)
    return Effect.map(this.#directory.claim(name, epoch, this.#node.id), (ruling) => {
      if (ruling > epoch) return this.#names.supersede(name, ruling, this.#now())
      this.#claimed.set(name, { epoch, at: this.#now() })
      if (this.#names.count(name) === 0) this.#released.set(name, epoch) // it has left meanwhile
    })
  }

  #release(name: string, epoch: number): Effect.Effect<void, DirectoryFailure> {
    return Effect.map(this.#directory.release(name, epoch, this.#node.id), () => {
      if (this.#released.get(name) === epoch) this.#released.delete(name)
    })
  }

  /** The names of this node that the directory may not know. */
  #unclaimed(): ReadonlyArray<readonly [string, number]> {
    return [...this.#names].flatMap(([name, { epoch }]) => {
      const claimed = this.#claimed.get(name)
      const isFresh = claimed?.epoch === epoch && this.#now() - claimed.at < claimAgainMillis
      return isFresh ? [] : [[name, epoch] as const]
    })
  }
}

/** How soon a directory that is away is asked again. */
const againMillis = 1000

/** Half of the day for which a directory keeps a name. */
const claimAgainMillis = 12 * 3600 * 1000
