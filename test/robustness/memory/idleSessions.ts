import * as MemoryTransport from "effect-wsmux/MemoryTransport"
import * as ResumableTransport from "effect-wsmux/ResumableTransport"
import * as Session from "effect-wsmux/Session"
import type * as SessionConfig from "effect-wsmux/SessionConfig"
import * as SessionServer from "effect-wsmux/SessionServer"
import { Transport } from "effect-wsmux/Transport"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Scope from "effect/Scope"
import * as Record from "../../../src/internal/wire/resumeRecord.js"
import { answering, memory } from "../../support/answering.js"
import { encodeMessage } from "../../support/records.js"

/** Makes so many further sessions, and answers with the memory of the process once all of them are idle. */
export interface Question {
  readonly sessions: number
}

/** Whether the sessions can be resumed. */
const resume = process.argv[2] === "on"

/** Whether the dialling ends are played: then the accepting ends alone are sessions. */
const played = process.argv[3] === "accepting"

/** The fibers of the keep-alive come and go, and are the same with both. */
const settings: SessionConfig.PartialSettings = { dialect: "auto", keepAliveInterval: Duration.infinity }

/** Asks of each end whether it is busy still. */
let busy: Array<Effect.Effect<boolean>> = []

/** An end that can be resumed is idle when its peer has acknowledged all. */
const isBusy = (session: Session.Session) =>
  Effect.map(
    session.snapshot,
    ({ dialect, resumption }) => resume ? resumption?.keptBytes !== 0 : dialect.state !== "native"
  )

/** Plays the dialling end of an idle session. Completes with whether the accepting end owes an acknowledgement. */
const play = (transport: Transport): Effect.Effect<boolean> => {
  let counted = 0
  let isOwed = resume
  transport.listen({
    onMessage: (message) => {
      const kind = Record.kindOf(message)
      if (kind !== undefined && Record.isResumeKind(kind)) isOwed = false
      else if (resume) transport.send([Record.encodeReceived(++counted)])
    },
    onText: () => {},
    onWritable: () => {},
    onClose: () => {}
  })
  transport.send([encodeMessage({ _tag: "Hello", features: resume ? 31 : 15 })])
  return Effect.sync(() => isOwed)
}

const program = Effect.gen(function*() {
  const transports = yield* MemoryTransport.makeServer()
  const server = yield* SessionServer.fromTransportServer(transports, settings, { resume })
  yield* Effect.fork(server.run((session) => {
    busy.push(isBusy(session))
    return session.awaitClosed
  }))
  const dial = Effect.map(transports.connect(), ({ client }) => client)
  const makeClient = Effect.gen(function*() {
    const transport = yield* resume && !played ? ResumableTransport.connect(dial) : dial
    if (played) return void busy.push(play(transport))
    busy.push(isBusy(yield* Effect.provideService(Session.makeClient(settings), Transport, transport)))
  })
  const areIdle = Effect.map(Effect.suspend(() => Effect.filter(busy, (isBusy) => isBusy)), (left) => {
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
