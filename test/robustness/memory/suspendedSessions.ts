import * as MemoryTransport from "effect-wsmux/MemoryTransport"
import type * as ResumeServer from "effect-wsmux/ResumeServer"
import type * as Session from "effect-wsmux/Session"
import type * as SessionConfig from "effect-wsmux/SessionConfig"
import * as SessionServer from "effect-wsmux/SessionServer"
import * as SharedLimits from "effect-wsmux/SharedLimits"
import { ResumeFailure } from "effect-wsmux/WsmuxError"
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import { answering, type Memory, memory } from "../../support/answering.js"
import { encodeMessage } from "../../support/records.js"

/** Clients of a principal come and are lost, or the grace of all suspended sessions passes. */
export type Question =
  | { readonly clients: number; readonly principal?: string }
  | "pass the grace"

export interface Condition {
  readonly suspended: number
  /** The bytes that all suspended sessions keep for their clients. */
  readonly keptBytes: number
  /** The number of ended sessions by the reason. */
  readonly ended: Readonly<Record<string, number>>
  readonly memory: Memory
}

const options: ResumeServer.Options<string | undefined> = JSON.parse(process.argv[2]!)

const graceMillis = 60_000

/** The clients that are connected at once, so that the memory of connections does not add up. */
const batch = 100

const settings: SessionConfig.PartialSettings = { dialect: "auto", keepAliveInterval: Duration.infinity }

/** The waits for the grace, which end when the test says so: a slow machine makes no session expire too soon. */
const graces = new Set<() => void>()

const withoutGrace = (clock: Clock.Clock): Clock.Clock =>
  Object.create(clock, {
    sleep: {
      value: (duration: Duration.Duration) =>
        Duration.toMillis(duration) !== graceMillis ? clock.sleep(duration) : Effect.async<void>((done) => {
          const end = () => done(Effect.void)
          graces.add(end)
          return Effect.sync(() => graces.delete(end))
        })
    }
  })

const sessions = new Set<Session.Session>()
const ended: Record<string, number> = {}

const serve = (session: Session.Session) => {
  sessions.add(session)
  newest.push(session)
  return Effect.map(session.awaitClosed, (error) => {
    sessions.delete(session)
    const cause = error._tag === "TransportFailure" ? error.cause : undefined
    const reason = cause instanceof ResumeFailure ? `${cause.reason} ${cause.detail}`.trim() : error.message
    ended[reason] = (ended[reason] ?? 0) + 1
  })
}

const resumptionsOf = (some: Iterable<Session.Session>) =>
  Effect.suspend(() =>
    Effect.forEach(
      [...some].filter((session) => sessions.has(session)),
      (session) => Effect.map(session.snapshot, ({ resumption }) => resumption)
    )
  )

/** A snapshot costs more than a turn. */
const someTurns = Effect.repeatN(Effect.yieldNow(), 10)

/** The sessions that have begun last. */
let newest: Array<Session.Session> = []

/** Waits until the newest sessions, unless they have ended, are all in this state. */
const areNewest = (state: "connected" | "suspended") =>
  Effect.repeat(Effect.zipRight(someTurns, resumptionsOf(newest)), {
    until: (all) => all.every((one) => one?.state === state)
  })

const program = Effect.gen(function*() {
  const transports = yield* MemoryTransport.makeServer<never, string | undefined>({
    authorize: ({ headers }) => Effect.succeed(headers["x-user"] as string | undefined)
  })
  const server = yield* SessionServer.fromTransportServer(transports, settings, {
    resume: { grace: graceMillis, ...options }
  })
  yield* Effect.fork(server.run(serve))
  /** A client that can resume, and acknowledges nothing. */
  const connect = (principal: string | undefined) =>
    Effect.map(
      transports.connect({ headers: principal === undefined ? {} : { "x-user": principal } }),
      ({ client }) => {
        client.listen({ onMessage: () => {}, onText: () => {}, onWritable: () => {}, onClose: () => {} })
        client.send([encodeMessage({ _tag: "Hello", features: 31 })])
      }
    )
  const connectAndLose = (clients: number, principal: string | undefined) =>
    Effect.gen(function*() {
      newest = []
      const scope = yield* Scope.make() // its end loses the connections
      yield* Scope.extend(Effect.replicateEffect(connect(principal), clients), scope)
      yield* Effect.repeat(Effect.yieldNow(), { until: () => newest.length === clients })
      yield* areNewest("connected")
      yield* Scope.close(scope, Exit.void)
      yield* areNewest("suspended")
      newest = []
    })
  const condition = Effect.gen(function*() {
    // those that have ended have no state, and are left out when their handlers have ended
    const all = yield* Effect.repeat(Effect.zipRight(someTurns, resumptionsOf(sessions)), {
      until: (all) => all.every((one) => one !== undefined)
    })
    return {
      suspended: all.length,
      keptBytes: all.reduce((bytes, one) => bytes + (one?.keptBytes ?? 0), 0),
      ended,
      memory: yield* Effect.promise(memory)
    } satisfies Condition
  })
  const run = (question: Question) =>
    Effect.gen(function*() {
      if (question !== "pass the grace") {
        for (let left = question.clients; left > 0; left -= batch) {
          yield* connectAndLose(Math.min(left, batch), question.principal)
        }
      } else {
        for (const end of graces) end()
        graces.clear()
        yield* Effect.repeat(Effect.yieldNow(), { until: () => sessions.size === 0 })
      }
      return yield* condition
    })
  answering((question: Question) => Effect.runPromise(Effect.withClock(run(question), clock)))
  return yield* Effect.never
})

const clock = withoutGrace(Clock.make())

Effect.runFork(
  Effect.scoped(program).pipe(
    Effect.provide(SharedLimits.layer({ maxConnections: 10_000 })),
    Effect.withClock(clock)
  )
)
