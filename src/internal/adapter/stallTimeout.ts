import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import { Stalled } from "../../WsmuxError.js"
import { type Progress, unsafeProgress } from "../session/progress.js"
import { unsafeDuration } from "../settings/validate.js"
import { originOf } from "./streamOrigin.js"

const defaultTimeout = Duration.minutes(1)

/** A time-out of 0 would look in every turn of the event loop. */
const minTimeout = Duration.millis(10)

/**
 * Bounds the wait of a write for a peer that has ended its half. The plain protocol has no reset: a peer that has gone
 * has sent FIN, and grants no more credit. A peer that has only ended its half still reads, so a waiting write makes
 * progress.
 *
 * The watch compares the progress once per time-out, while a write waits. So a write waits for less than two time-outs.
 */
export class StallTimeout {
  readonly #timeout: Duration.Duration
  /** The stream, as soon as there is one. */
  stream: object | undefined
  /** Whether the reader met the peer's FIN. A stream that another package made reports its end in no other way. */
  peerEnded = false
  #isWriting = false
  #written = 0

  constructor(timeout: Duration.DurationInput | undefined, stream?: object) {
    this.#timeout = decode(timeout)
    this.stream = stream
  }

  /** Whether a write waits. */
  get isWriting(): boolean {
    return this.#isWriting
  }

  beginWrite(): void {
    this.#isWriting = true
  }

  endWrite(): void {
    this.#isWriting = false
    this.#written++
  }

  /**
   * Fails once the peer has ended its half and a write has made no progress for the time-out. Completes when no write
   * waits at the time that it looks.
   */
  get expired(): Effect.Effect<void, Stalled> {
    return Effect.repeat(this.#look, { while: () => this.#isWriting })
  }

  /** Completes once no write has begun for the time-out. */
  get idle(): Effect.Effect<void> {
    return Effect.suspend(() => {
      const written = this.#written
      return Effect.flatMap(
        Effect.sleep(this.#timeout),
        () => this.#isWriting || written !== this.#written ? this.idle : Effect.void
      )
    })
  }

  get #look(): Effect.Effect<void, Stalled> {
    return Effect.suspend(() => {
      const [written, before] = [this.#written, this.#progress]
      return Effect.flatMap(Effect.sleep(this.#timeout), () => {
        const isStalled = this.#isWriting && written === this.#written &&
          before.waitingBytes === this.#progress.waitingBytes
        return isStalled && before.peerEnded
          ? new Stalled({ afterMillis: Duration.toMillis(this.#timeout) })
          : Effect.void
      })
    })
  }

  get #progress(): Progress {
    const { peerEnded, waitingBytes } = (this.stream && unsafeProgress(originOf(this.stream))) ?? unknownProgress
    return { peerEnded: peerEnded || this.peerEnded, waitingBytes }
  }
}

/** Most streams have the time-out of the stream before. */
let last: { readonly given: Duration.DurationInput | undefined; readonly timeout: Duration.Duration } | undefined

const decode = (given: Duration.DurationInput | undefined): Duration.Duration => {
  if (last === undefined || last.given !== given) {
    last = { given, timeout: Duration.max(unsafeDuration("stallTimeout", given ?? defaultTimeout), minTimeout) }
  }
  return last.timeout
}

/** The progress of a stream that another package made. */
const unknownProgress: Progress = { peerEnded: false, waitingBytes: 0 }
