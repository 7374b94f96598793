import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type { MuxStream } from "../../MuxStream.js"
import type { Notify, Waiter } from "../sync/notify.js"
import { withSpan } from "./effectInternals.js"
import type { SessionInfo } from "./handle.js"
import { makeHandle } from "./open.js"
import type { PeerStreams } from "./peerStreams.js"
import type { StreamProtocol } from "./streamProtocol.js"

/** Where a session's streams come from. */
interface Source {
  readonly peers: PeerStreams
  readonly info: SessionInfo
}

interface Acceptor {
  readonly accept: object
}

// The keys are the operations themselves, so that a copy of a session has the same streams.
const sources = new WeakMap<object, Source>()

/** Lets `acceptAny` take the streams of a session. */
export const setAcceptSource = (session: Acceptor, source: Source): void => {
  sources.set(session.accept, source)
}

/** The sessions of `acceptAny`, which change. */
export interface Acceptors<E> {
  /** The sessions at this moment. The first one comes first. */
  readonly sessions: ReadonlyArray<Acceptor>
  /** Why no further session comes. */
  readonly closed: E | undefined
  /** Notified when one of the two changes. */
  readonly changes: Notify
}

/**
 * Accepts the next stream of any of the sessions. Fails when there is no session and none comes. A race of their
 * `accept` would lose a stream where two sessions have one at the same time.
 */
export const acceptAny = <E>(from: Acceptors<E>): Effect.Effect<MuxStream, E, Scope.Scope> =>
  Effect.uninterruptibleMask((restore) => {
    const take = (): Effect.Effect<readonly [Source, StreamProtocol], E> =>
      Effect.suspend(() => {
        const live = from.sessions.map(({ accept }) => sources.get(accept)!)
        for (const source of live) {
          const stream = source.peers.takeAccepted()
          if (stream !== undefined) return Effect.succeed([source, stream] as const)
        }
        if (live.length === 0 && from.closed !== undefined) return Effect.fail(from.closed)
        const turn = new Turn(live, from.changes)
        return Effect.zipRight(
          Effect.onInterrupt(restore(turn.wait), () => Effect.sync(() => turn.cancel())),
          Effect.suspend(() => {
            const taken = turn.take()
            return taken === undefined ? take() : Effect.succeed(taken)
          })
        )
      })
    return Effect.flatMap(withSpan("Session.accept", take), ([{ info }, stream]) => makeHandle(info, stream))
  })

/** A wait in turn at each of the sessions, until one of them has a stream or their list changes. */
class Turn {
  readonly #waiters: ReadonlyArray<readonly [source: Source, waiter: Waiter]>
  readonly #cancelChanges: () => void
  #isAwake = false
  #resume: (() => void) | undefined

  constructor(sources: ReadonlyArray<Source>, changes: Notify) {
    const wake = () => {
      this.#isAwake = true
      this.#resume?.()
    }
    this.#waiters = sources.map((source) => [source, source.peers.acceptors.addInTurn(wake)] as const)
    this.#cancelChanges = changes.add(wake)
  }

  readonly wait: Effect.Effect<void> = Effect.async((done) => {
    this.#resume = () => done(Effect.void)
    if (this.#isAwake) this.#resume()
  })

  /** Takes a stream where a session has woken this turn, and passes the wake-ups of the other sessions on. */
  take(): readonly [Source, StreamProtocol] | undefined {
    this.#cancelChanges()
    let taken: readonly [Source, StreamProtocol] | undefined
    for (const [source, waiter] of this.#waiters) {
      const { peers } = source
      if (taken !== undefined || waiter.state === "Asleep") {
        peers.acceptors.cancel(waiter)
      } else {
        peers.acceptors.looks(waiter)
        const stream = peers.takeAccepted()
        if (stream !== undefined) taken = [source, stream]
      }
    }
    return taken
  }

  cancel(): void {
    this.#cancelChanges()
    for (const [{ peers }, waiter] of this.#waiters) peers.acceptors.cancel(waiter)
  }
}
