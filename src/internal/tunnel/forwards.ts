import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Net from "node:net"
import type { DuplexFailure } from "../../WsmuxError.js"
import type { Fork } from "../session/callbacks.js"
import type { OwnedStream } from "../session/sessionCallbacks.js"
import { Notify } from "../sync/notify.js"
import { Forward, logDefect, type Settings } from "./forward.js"

/** The connections of one tunnel that are being forwarded. */
export class Forwards {
  readonly #fork: Fork
  readonly #settings: Settings
  readonly #live = new Set<Forward>()
  readonly #changes = new Notify()

  constructor(fork: Fork, settings: Settings) {
    this.#fork = fork
    this.#settings = settings
  }

  /** Takes over a socket in the turn in which it was made. */
  add(socket: Net.Socket): Forward {
    const forward = new Forward(socket, this.#fork, this.#settings, () => {
      this.#live.delete(forward)
      if (this.#live.size === 0) this.#changes.notifyAll()
    })
    this.#live.add(forward)
    return forward
  }

  /** Dials the target of a stream, and forwards between the two. */
  dial(owned: OwnedStream, connect: () => Net.Socket, onFailure: (failure: DuplexFailure) => void): void {
    let forward: Forward
    try {
      forward = this.add(connect())
    } catch (defect) {
      logDefect(this.#fork, defect)
      return owned.leave(Exit.die(defect))
    }
    forward.dial(owned, onFailure)
  }

  /** Completes once no connection is left. */
  readonly awaitEmpty: Effect.Effect<void> = this.#changes.waitUntil(() =>
    this.#live.size === 0 ? Effect.void : undefined
  )

  /** Resets all streams and connections that have not ended. */
  readonly close: Effect.Effect<void> = Effect.suspend(() => {
    for (const forward of [...this.#live]) forward.close()
    return this.awaitEmpty
  })
}
