import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import { Stalled } from "../../WsmuxError.js"
import { type Progress, unsafeProgress } from "../session/progress.js"
import { originOf } from "./streamOrigin.js"

/** How long a write waits for a peer that has ended its half, unless the caller decides otherwise. */
const defaultPatience = Duration.minutes(1)

/** A patience of none would look in every turn of the event loop. */
const shortest = Duration.millis(10)

/**
 * The writing half of a stream, watched. The plain wire has no reset: a peer that has gone sends FIN, and then it grants
 * no more credit. A peer that has only ended its half still reads, so some bytes of a waiting write leave now and then.
 *
 * A watch looks once per patience while there is something to write. So a write waits for less than twice as long.
 */
export class Patience {
  readonly #patience: Duration.Duration
  /** Set as soon as there is one. */
  stream: object | undefined
  /** Whether the reader met the peer's FIN. A stream that this package did not make tells by no other way. */
  peerEnded = false
  #isWriting = false
  #written = 0
  /** Opened by a write, for a watch that outlasts the writes. */
  #begun: Effect.Latch | undefined

  constructor(patience: Duration.DurationInput | undefined, stream?: object) {
    this.#patience = Duration.max(patience ?? defaultPatience, shortest)
    this.stream = stream
  }

  /** Whether a write waits. */
  get isWriting(): boolean {
    return this.#isWriting
  }

  begin(): void {
    this.#isWriting = true
    this.#begun?.unsafeOpen()
  }

  done(): void {
    this.#isWriting = false
    this.#written++
  }

  during<A, E>(write: Effect.Effect<A, E>): Effect.Effect<A, E> {
    return Effect.suspend(() => {
      this.begin()
      return Effect.tap(write, () => Effect.sync(() => this.done()))
    })
  }

  /** Fails once the peer has ended and a write has stood still. */
  get exhausted(): Effect.Effect<never, Stalled> {
    const begun = this.#begun = Effect.unsafeMakeLatch(this.#isWriting)
    const rest = Effect.sync(() => this.#isWriting || begun.unsafeClose())
    return Effect.forever(Effect.zipRight(begun.await, Effect.zipRight(this.#look, rest)))
  }

  /** The same, and completes where no write waits when it looks. */
  get exhaustedWhileWriting(): Effect.Effect<void, Stalled> {
    return Effect.repeat(this.#look, { while: () => this.#isWriting })
  }

  /** Completes once there has been nothing to write. */
  get untilIdle(): Effect.Effect<void> {
    return Effect.suspend(() => {
      const written = this.#written
      return Effect.flatMap(
        Effect.sleep(this.#patience),
        () => this.#isWriting || written !== this.#written ? this.untilIdle : Effect.void
      )
    })
  }

  get #look(): Effect.Effect<void, Stalled> {
    return Effect.suspend(() => {
      const [written, before] = [this.#written, this.#progress]
      return Effect.flatMap(Effect.sleep(this.#patience), () => {
        const stands = this.#isWriting && written === this.#written &&
          before.waitingBytes === this.#progress.waitingBytes
        return stands && before.peerEnded
          ? new Stalled({ afterMillis: Duration.toMillis(this.#patience) })
          : Effect.void
      })
    })
  }

  get #progress(): Progress {
    const { peerEnded, waitingBytes } = (this.stream && unsafeProgress(originOf(this.stream))) ?? nothingKnown
    return { peerEnded: peerEnded || this.peerEnded, waitingBytes }
  }
}

/** Of a stream that this package did not make. */
const nothingKnown: Progress = { peerEnded: false, waitingBytes: 0 }
