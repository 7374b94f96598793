import * as MemoryTransport from "effect-wsmux/MemoryTransport"
import * as ResumableTransport from "effect-wsmux/ResumableTransport"
import * as Session from "effect-wsmux/Session"
import type * as SessionConfig from "effect-wsmux/SessionConfig"
import * as SessionServer from "effect-wsmux/SessionServer"
import { Transport } from "effect-wsmux/Transport"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Scope from "effect/Scope"
import { answering, memory } from "../../support/answering.js"

/** Makes so many further sessions, and answers with the memory of the process once all of them are idle. */
export interface Question {
  readonly sessions: number
}

/** Whether the sessions can be resumed. */
const resume = process.argv[2] === "on"

/** The fibers of the keep-alive come and go, and are the same with both. */
const settings: SessionConfig.PartialSettings = { dialect: "auto", keepAliveInterval: Duration.infinity }

/** The ends of the sessions, two for each, until they are idle. */
let busy: Array<Session.Session> = []

/** An end that can be resumed is idle when its peer has acknowledged all. */
const isBusy = (session: Session.Session) =>
  Effect.map(
    session.snapshot,
    ({ dialect, resumption }) => resume ? resumption?.keptBytes !== 0 : dialect.state !== "native"
  )

const program = Effect.gen(function*() {
  const transports = yield* MemoryTransport.makeServer()
  const server = yield* SessionServer.fromTransportServer(transports, settings, { resume })
  yield* Effect.fork(server.run((session) => {
    busy.push(session)
    return session.awaitClosed
  }))
  const dial = Effect.map(transports.connect(), ({ client }) => client)
  const makeClient = Effect.gen(function*() {
    const transport = yield* resume ? ResumableTransport.connect(dial) : dial
    busy.push(yield* Effect.provideService(Session.makeClient(settings), Transport, transport))
  })
  const areIdle = Effect.map(Effect.suspend(() => Effect.filter(busy, isBusy)), (left) => {
    busy = left
    return left.length === 0
  })
  answering(({ sessions }: Question) =>
    Effect.replicateEffect(Effect.flatMap(Scope.make(), (scope) => Scope.extend(makeClient, scope)), sessions).pipe(
      Effect.zipRight(Effect.repeat(Effect.delay(areIdle, 50), { until: (idle) => idle })),
      Effect.zipRight(Effect.promise(memory)),
      Effect.runPromise
    )
  )
  return yield* Effect.never
})
Effect.runFork(Effect.scoped(program))
