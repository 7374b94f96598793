import * as Effect from "effect/Effect"
import * as FiberRef from "effect/FiberRef"
import * as LogLevel from "effect/LogLevel"
import * as Queue from "effect/Queue"
import type * as Scope from "effect/Scope"
import { plainText } from "../text/plainText.js"

type Level = "Debug" | "Warning"

type Line = { readonly level: Level; readonly message: string; readonly annotations: object }

/** The log of a session, for callers without effects. */
export interface SessionLog {
  /** Logs a step of the session at debug level. */
  readonly debug: (message: string, annotations?: object) => void
  /**
   * Logs a fault of the peer. A peer can repeat a fault in a loop, so the log writes at most `burst` lines with one
   * message in each `interval`. The next line has the number of lines that were left out. The message must be constant,
   * with details as annotations.
   */
  readonly fault: (level: Level, message: string, annotations?: object) => void
}

const silent: SessionLog = { debug: () => {}, fault: () => {} }

/** The lines that may wait to be written. A peer that repeats a fault must not fill the memory with log lines. */
const capacity = 256

/** The lines with the same message that the log writes in each interval of milliseconds. */
const burst = 10
const interval = 10_000

/** The count of the lines with one message in this interval. */
interface Repeats {
  readonly level: Level
  since: number
  written: number
  leftOut: number
}

/** Makes a log that a fiber of the scope writes to Effect's loggers. `now` is the monotonic time in milliseconds. */
export const makeSessionLog = (
  enabled: boolean,
  annotations: Record<string, unknown>,
  now: () => number
): Effect.Effect<SessionLog, never, Scope.Scope> =>
  enabled
    ? Effect.gen(function*() {
      const isQuiet = LogLevel.greaterThan(yield* FiberRef.get(FiberRef.currentMinimumLogLevel), LogLevel.Debug)
      const lines = yield* Queue.sliding<Line>(capacity)
      const faults = new Map<string, Repeats>()
      const write = (line: Line) =>
        (line.level === "Debug" ? Effect.logDebug(line.message) : Effect.logWarning(line.message)).pipe(
          Effect.annotateLogs(shown({ ...annotations, ...line.annotations }))
        )
      const writeAll = Effect.forEach(write, { discard: true })
      // The log writes the last lines of the session before the scope closes.
      yield* Effect.addFinalizer(() =>
        Effect.zipRight(Effect.flatMap(Queue.takeAll(lines), writeAll), Effect.suspend(() => writeAll(leftOut(faults))))
      )
      yield* Queue.take(lines).pipe(Effect.flatMap(write), Effect.forever, Effect.interruptible, Effect.forkScoped)
      return {
        debug: isQuiet
          ? silent.debug
          : (message, annotations = {}) => void lines.unsafeOffer({ level: "Debug", message, annotations }),
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

/** The annotations with their texts made safe to show: a label or a name of software is the peer's. */
const shown = (annotations: object): Record<string, unknown> =>
  Object.fromEntries(
    Object.entries(annotations).map(([name, value]) => [name, typeof value === "string" ? plainText(value) : value])
  )

const leftOut = (faults: ReadonlyMap<string, Repeats>): Array<Line> =>
  Array.from(faults).flatMap(([message, { leftOut, level }]) =>
    leftOut === 0 ? [] : [{ level, message, annotations: { leftOut } }]
  )
