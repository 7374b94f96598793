import * as Effect from "effect/Effect"
import * as Queue from "effect/Queue"
import type * as Scope from "effect/Scope"

type Level = "Debug" | "Warning"

type Line = { readonly level: Level; readonly message: string; readonly annotations: object }

/** A session's log, written from plain callbacks. */
export interface SessionLog {
  /** Logs what the session does. */
  readonly debug: (message: string, annotations?: object) => void
  /**
   * Logs what the peer does wrong. A peer can do so in a loop, so at most `burst` lines with the same message are
   * written in each `interval`; the next line says how many were left out. The message must be constant: details are
   * annotations.
   */
  readonly fault: (level: Level, message: string, annotations?: object) => void
}

const silent: SessionLog = { debug: () => {}, fault: () => {} }

/** How many lines may wait to be written: a peer that misbehaves in a loop must not fill the memory with complaints. */
const capacity = 256

/** How many lines with the same message are written in each interval, which is in milliseconds. */
const burst = 10
const interval = 10_000

/** The lines with one message in this interval. */
interface Repeats {
  readonly level: Level
  since: number
  written: number
  leftOut: number
}

/** A journal that a fiber of the scope writes to Effect's loggers. `now` is the monotonic time in milliseconds. */
export const makeSessionLog = (
  enabled: boolean,
  annotations: Record<string, unknown>,
  now: () => number
): Effect.Effect<SessionLog, never, Scope.Scope> =>
  enabled
    ? Effect.gen(function*() {
      const lines = yield* Queue.sliding<Line>(capacity)
      const faults = new Map<string, Repeats>()
      const write = (line: Line) =>
        (line.level === "Debug" ? Effect.logDebug(line.message) : Effect.logWarning(line.message)).pipe(
          Effect.annotateLogs({ ...annotations, ...line.annotations })
        )
      const writeAll = Effect.forEach(write, { discard: true })
      // What the end of the session logged is written before the scope is left.
      yield* Effect.addFinalizer(() =>
        Effect.zipRight(Effect.flatMap(Queue.takeAll(lines), writeAll), Effect.suspend(() => writeAll(leftOut(faults))))
      )
      yield* Queue.take(lines).pipe(Effect.flatMap(write), Effect.forever, Effect.interruptible, Effect.forkScoped)
      return {
        debug: (message, annotations = {}) => void lines.unsafeOffer({ level: "Debug", message, annotations }),
        fault: (level, message, annotations = {}) => {
          const repeats = faults.get(message) ?? { level, since: now(), written: 0, leftOut: 0 }
          faults.set(message, repeats)
          const over = now() - repeats.since >= interval
          const before = over && repeats.leftOut > 0 ? { leftOut: repeats.leftOut } : {}
          if (over) Object.assign(repeats, { since: now(), written: 0, leftOut: 0 })
          if (++repeats.written > burst) repeats.leftOut++
          else lines.unsafeOffer({ level, message, annotations: { ...annotations, ...before } })
        }
      }
    })
    : Effect.succeed(silent)

const leftOut = (faults: ReadonlyMap<string, Repeats>): Array<Line> =>
  Array.from(faults).flatMap(([message, { leftOut, level }]) =>
    leftOut === 0 ? [] : [{ level, message, annotations: { leftOut } }]
  )
