import * as Address from "effect-wsmux/Address"
import * as NodeTransport from "effect-wsmux/NodeTransport"
import * as NodeTransportServer from "effect-wsmux/NodeTransportServer"
import * as Session from "effect-wsmux/Session"
import * as SessionServer from "effect-wsmux/SessionServer"
import { Transport } from "effect-wsmux/Transport"
import { TransportServer } from "effect-wsmux/TransportServer"
import type { ConnectFailure } from "effect-wsmux/WsmuxError"
import * as Effect from "effect/Effect"
import * as Runtime from "effect/Runtime"
import * as Stream from "effect/Stream"
import type { Command, Event, Setting } from "./process.js"

/**
 * A process that serves sessions, and dials a session when its parent sends a command. The service `echo` copies every
 * stream back. The service `hold` accepts one stream of each session and ignores that stream.
 */
const { keepAliveInterval, service } = JSON.parse(process.argv[2]!) as Setting

const tell = (event: Event) => Effect.sync(() => process.send!(event))

const serve = (session: Session.Session) =>
  service === "echo"
    ? session.run((stream) => Stream.run(stream.readable, stream.writable))
    : Effect.zipRight(session.accept, session.awaitClosed)

const watched = (session: Session.Session) =>
  serve(session).pipe(
    Effect.ignore,
    Effect.zipRight(session.awaitClosed),
    Effect.flatMap(({ _tag, message }) => tell({ event: "ended", tag: _tag, message }))
  )

/** Dials and serves a session, and reports the session or the failure to the parent. */
const dial = (url: string) =>
  Effect.gen(function*() {
    const transport = yield* NodeTransport.connect(url)
    const session = yield* Effect.provideService(Session.makeClient({ keepAliveInterval }), Transport, transport)
    yield* tell({ event: "dialled" })
    yield* watched(session)
  }).pipe(
    Effect.scoped,
    Effect.catchTag("ConnectFailure", ({ _tag, cause, reason }: ConnectFailure) =>
      tell({ event: "failed", tag: _tag, reason, code: (cause as NodeJS.ErrnoException | undefined)?.code }))
  )

const main = Effect.gen(function*() {
  const transports = yield* NodeTransportServer.make()
  const server = yield* Effect.provideService(
    SessionServer.make({ keepAliveInterval }),
    TransportServer,
    transports
  )
  const run = Runtime.runFork(yield* Effect.runtime<never>())
  process.on("message", ({ dial: url }: Command) => run(dial(url)))
  process.on("disconnect", () => process.exit())
  yield* tell({ event: "listening", url: `ws://${Address.format(server.address)}` })
  yield* server.run(watched)
})

Effect.runFork(Effect.scoped(main))
