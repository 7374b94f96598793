import * as NodeTransportServer from "effect-wsmux/NodeTransportServer"
import type * as SessionType from "effect-wsmux/Session"
import * as SessionConfig from "effect-wsmux/SessionConfig"
import * as SessionServer from "effect-wsmux/SessionServer"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import { answering, memory } from "../../support/answering.js"
import type { Question, Report } from "./main.js"

export const settings: SessionConfig.PartialSettings = { streamBufferSize: 64 * 1024 }

/** Echoes each stream of each session. */
export const server = (): void => {
  const sessions = new Set<SessionType.Session>()
  let streams = 0
  let bytes = 0
  const program = Effect.gen(function*() {
    const listening = yield* SessionServer.make(settings)
    yield* Effect.fork(listening.run((session) =>
      Effect.acquireRelease(
        Effect.sync(() => sessions.add(session)),
        () =>
          Effect.map(session.snapshot, ({ counters }) => {
            sessions.delete(session)
            streams += counters.accepted
            bytes += counters.bytesIn
          })
      ).pipe(Effect.zipRight(session.run((stream) => Stream.run(stream.readable, stream.writable))))
    ))
    const snapshots = Effect.suspend(() => Effect.forEach(sessions, (session) => session.snapshot))
    const report = async (): Promise<Report> => {
      const used = await memory()
      // sessions may end at any await, so no await follows
      const live = await Effect.runPromise(snapshots)
      return {
        ...used,
        streams: live.reduce((sum, { counters }) => sum + counters.accepted, streams),
        bytes: live.reduce((sum, { counters }) => sum + counters.bytesIn, bytes),
        broken: 0,
        mismatches: live.flatMap(({ counters }) => counters.windowOverruns > 0 ? ["a window was overrun"] : []),
        left: sessions.size
      }
    }
    answering(async ({ ask }: Question) => {
      if (ask === "port") return listening.address
      for (let i = 0; ask === "finish" && sessions.size > 0 && i < 1000; i++) {
        await Effect.runPromise(Effect.sleep(10))
      }
      return report()
    })
    return yield* Effect.never
  }).pipe(Effect.provide(NodeTransportServer.layer()), Effect.provide(SessionConfig.layer(settings)))
  Effect.runFork(Effect.scoped(program))
}
