import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Http from "node:http"
import type { DrainOptions } from "../Session.js"
import type { Sessions } from "./sessions.js"

/** The parts of a node that drain. */
interface Parts {
  readonly sessions: Sessions
  /** Tells the sessions, and completes when all are closed. */
  readonly drainSessions: (options: DrainOptions) => Effect.Effect<void>
  /** Leaves the directory. */
  readonly leave: Effect.Effect<void>
  readonly server: Http.Server
  /** The names of the requests at the front that run. */
  readonly running: () => ReadonlyArray<string>
  readonly awaitNoRequest: Effect.Effect<void>
}

/**
 * Drains a node within the grace: first its sessions, then the requests at its front. Logs what was busy when the grace
 * had passed.
 *
 * Each wait is interruptible by itself. A program drains in a finalizer, where a time-out cannot end another wait.
 */
export const drain = (
  { awaitNoRequest, drainSessions, leave, running, server, sessions }: Parts,
  grace: Duration.DurationInput
): Effect.Effect<void> =>
  Effect.gen(function*() {
    const until = Duration.toMillis(grace)
    const began = yield* Effect.clockWith((clock) => clock.currentTimeMillis)
    const within = (wait: Effect.Effect<void>) =>
      Effect.clockWith((clock) => clock.currentTimeMillis).pipe(
        Effect.flatMap((now) => Effect.timeoutOption(Effect.interruptible(wait), Math.max(0, began + until - now))),
        Effect.map((ended) => ended._tag === "Some")
      )
    // The sessions get a little longer, so that they are still there to be told of in the log.
    const later = Duration.sum(grace, spare)
    const areClosed = yield* within(drainSessions({ grace: later, reason: "the relay drains" }))
    if (!areClosed) {
      yield* tell(sessions.busy())
      yield* drainSessions({ grace: 0 })
    }
    yield* leave
    server.close()
    server.closeIdleConnections()
    if (!(yield* within(awaitNoRequest))) yield* tell(counted(running()).map((text) => `requests for ${text}`))
  })

const spare = Duration.seconds(1)

/** On a busy machine the grace may pass in the moment in which the last request ends. Then there is nothing to tell. */
const tell = (busy: ReadonlyArray<string>): Effect.Effect<void> => {
  if (busy.length === 0) return Effect.void
  const more = busy.length > mostTold ? [`${busy.length - mostTold} more`] : []
  return Effect.logWarning(
    `cannot end all requests: the grace has passed with ${[...busy.slice(0, mostTold), ...more].join(", ")}`
  )
}

/** A line of a log has room for so many names. */
const mostTold = 20

const counted = (names: ReadonlyArray<string>): ReadonlyArray<string> => {
  const counts = new Map<string, number>()
  for (const name of names) counts.set(name, (counts.get(name) ?? 0) + 1)
  return [...counts].map(([name, count]) => `${name}: ${count}`)
}
