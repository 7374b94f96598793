import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Net from "node:net"
import type { MuxStream, ResetOptions } from "../../MuxStream.js"
import type { DuplexFailure } from "../../WsmuxError.js"
import type { Fork } from "../session/callbacks.js"
import type { OwnedStream } from "../session/sessionCallbacks.js"
import { CellMap } from "../sync/cellMap.js"
import { Notify } from "../sync/notify.js"
import { interruptSoon } from "../sync/unowned.js"
import { Forward, logDefect, type Settings } from "./forward.js"

/** What a tunnel holds: a connection, or the handler of a stream. */
interface Held {
  readonly close: () => void
}

/** Returns the connection of a stream, or the effect that handles the stream instead. */
type Connect = (stream: MuxStream) => Net.Socket | Effect.Effect<unknown, unknown>

/** The connections of one tunnel that are being forwarded. */
export class Forwards {
  readonly #fork: Fork
  readonly #settings: Settings
  readonly #live = new CellMap<number, Held>()
  #count = 0
  readonly #changes = new Notify()

  constructor(fork: Fork, settings: Settings) {
    this.#fork = fork
    this.#settings = settings
  }

  /** Takes over a socket in the turn in which it was made. */
  add(socket: Net.Socket): Forward {
    const key = ++this.#count
    const forward = new Forward(socket, this.#fork, this.#settings, () => this.#remove(key))
    this.#live.add(key, forward)
    return forward
  }

  /** Dials the target of a stream and forwards between the two, or handles the stream by an effect. */
  dial(
    owned: OwnedStream,
    connect: Connect,
    onFailure: (failure: DuplexFailure, stream: MuxStream) => ResetOptions | undefined
  ): void {
    const { stream } = owned
    let forward: Forward
    try {
      const answer = connect(stream)
      if (Effect.isEffect(answer)) return this.#handle(owned, answer)
      forward = this.add(answer)
    } catch (defect) {
      logDefect(this.#fork, defect)
      return owned.leave(Exit.die(defect))
    }
    forward.dial(owned, (failure) => onFailure(failure, stream))
  }

  /** Completes once no connection is left. */
  readonly awaitEmpty: Effect.Effect<void> = this.#changes.waitUntil(() =>
    this.#live.size === 0 ? Effect.void : undefined
  )

  /** Resets all streams and connections that have not ended. */
  readonly close: Effect.Effect<void> = Effect.suspend(() => {
    for (const held of this.#live.values()) held.close()
    return this.awaitEmpty
  })

  /** Runs the handler of a stream in a fiber, and leaves the stream at its end. */
  #handle(owned: OwnedStream, handler: Effect.Effect<unknown, unknown>): void {
    const fiber = this.#fork(handler)
    const key = ++this.#count
    this.#live.add(key, { close: () => interruptSoon(fiber) })
    fiber.addObserver((exit) => {
      if (Exit.isFailure(exit) && Cause.isDie(exit.cause)) logDefect(this.#fork, Cause.squash(exit.cause))
      owned.leave(exit)
      this.#remove(key)
    })
  }

  #remove(key: number): void {
    this.#live.take(key)
    if (this.#live.size === 0) this.#changes.notifyAll()
  }
}
