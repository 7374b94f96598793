import type * as MuxStream from "effect-wsmux/MuxStream"
import type * as ReconnectingSession from "effect-wsmux/ReconnectingSession"
import type * as Session from "effect-wsmux/Session"
import type * as SessionServer from "effect-wsmux/SessionServer"
import * as StreamRouter from "effect-wsmux/StreamRouter"
import type * as WsmuxError from "effect-wsmux/WsmuxError"
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { describe, expectTypeOf, it } from "vitest"

class Users extends Context.Tag("Users")<Users, { readonly count: number }>() {}
class Files extends Context.Tag("Files")<Files, { readonly count: number }>() {}
class Log extends Context.Tag("Log")<Log, { readonly count: number }>() {}

declare const session: Session.Session
declare const reconnecting: ReconnectingSession.Service
declare const server: SessionServer.Service
declare const serveUsers: (stream: MuxStream.MuxStream) => Effect.Effect<void, WsmuxError.WriteError, Users>
declare const serveFiles: (stream: MuxStream.MuxStream) => Effect.Effect<number, "not found", Files | Scope.Scope>
declare const serveOther: (stream: MuxStream.MuxStream) => Effect.Effect<void, WsmuxError.ReadError, Log | Scope.Scope>

describe("StreamRouter", () => {
  it("run has the requirements of the handlers of all labels but the scope", () => {
    const handlers = { users: serveUsers, files: serveFiles }
    type Running<R> = Effect.Effect<never, WsmuxError.TerminalError, R>
    expectTypeOf(StreamRouter.run(session, handlers)).toEqualTypeOf<Running<Users | Files>>()
    expectTypeOf(StreamRouter.run(session, handlers, serveOther)).toEqualTypeOf<Running<Users | Files | Log>>()
    expectTypeOf(StreamRouter.run(session, { users: serveUsers })).toEqualTypeOf<Running<Users>>()
    expectTypeOf<StreamRouter.Requirements<typeof handlers>>().toEqualTypeOf<Users | Files>()
  })

  it("run fails as the acceptor of its streams does", () => {
    const run = StreamRouter.run(reconnecting, { users: serveUsers })
    expectTypeOf(run).toEqualTypeOf(reconnecting.run(serveUsers))
  })

  it("run takes handlers of streams alone", () => {
    // @ts-expect-error a handler takes a stream
    StreamRouter.run(session, { users: (name: string) => serveUsers(name) })
    // @ts-expect-error a handler is a function
    StreamRouter.run(session, { users: serveUsers, files: "files" })
  })

  it("make returns a handler for Session.run, with the requirements of all labels", () => {
    const handler = StreamRouter.make({ users: serveUsers, files: serveFiles }, serveOther)
    expectTypeOf(handler).parameters.toEqualTypeOf<[stream: MuxStream.MuxStream]>()
    expectTypeOf(session.run(handler)).toEqualTypeOf<
      Effect.Effect<never, WsmuxError.TerminalError, Users | Files | Log>
    >()
    expectTypeOf(server.run((session) => session.run(handler))).toEqualTypeOf<
      Effect.Effect<never, never, Users | Files | Log>
    >()
  })

  it("acceptors have the labels of the router as names, and the errors of the session", () => {
    type Acceptor = Session.Acceptor<WsmuxError.TerminalError>
    expectTypeOf(StreamRouter.acceptors(session, ["http", "rpc"])).toEqualTypeOf<
      Effect.Effect<{ readonly http: Acceptor; readonly rpc: Acceptor }, never, Scope.Scope>
    >()
    expectTypeOf(StreamRouter.acceptors(session, ["http"], serveOther)).toEqualTypeOf<
      Effect.Effect<{ readonly http: Acceptor }, never, Log | Scope.Scope>
    >()
    const both = StreamRouter.acceptors(session, ["http", "rpc"])
    // @ts-expect-error the router has no such label
    Effect.map(both, ({ log }) => log)
  })
})
