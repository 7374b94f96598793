import { describe, expect, it } from "@effect/vitest"
import * as MemoryTransport from "effect-wsmux/MemoryTransport"
import * as Session from "effect-wsmux/Session"
import * as SessionServer from "effect-wsmux/SessionServer"
import { Transport } from "effect-wsmux/Transport"
import * as Effect from "effect/Effect"
import { quiet } from "../../support/observe.js"
import { auto, settle } from "../../support/sessions.js"

/** Connects to a server with this handler. Returns the session of the client. */
const connectTo = (handler: (session: Session.Session) => Effect.Effect<unknown>, resume: boolean) =>
  Effect.gen(function*() {
    const transports = yield* MemoryTransport.makeServer()
    const settings = { ...auto, ...quiet }
    const server = yield* SessionServer.fromTransportServer(transports, settings, { resume })
    yield* Effect.forkScoped(server.run(handler))
    const { client } = yield* transports.connect()
    return yield* Effect.provideService(Session.makeClient(settings), Transport, client)
  })

describe("SessionServer", () => {
  for (const resume of [false, true]) {
    it.scoped(`SessionServer.run closes a session when a child of its handler awaits that, resume ${resume}`, () =>
      Effect.gen(function*() {
        const ends: Array<string> = []
        const session = yield* connectTo((session) => {
          const child = Effect.map(session.awaitClosed, ({ _tag }) => ends.push(_tag))
          return Effect.zipRight(Effect.fork(Effect.uninterruptible(child)), Effect.yieldNow())
        }, resume)
        yield* settle
        expect(ends).toEqual(["SessionClosed"])
        expect(yield* session.awaitClosed).toMatchObject({ _tag: "SessionClosed" })
      }))
  }
})
