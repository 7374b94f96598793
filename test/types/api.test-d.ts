import type * as PlatformSocket from "@effect/platform/Socket"
import type { Address } from "effect-wsmux/Address"
import * as ByteStream from "effect-wsmux/ByteStream"
import * as MemoryTransport from "effect-wsmux/MemoryTransport"
import * as MuxStream from "effect-wsmux/MuxStream"
import * as NodeTransport from "effect-wsmux/NodeTransport"
import * as NodeTransportServer from "effect-wsmux/NodeTransportServer"
import * as ReconnectingSession from "effect-wsmux/ReconnectingSession"
import * as Session from "effect-wsmux/Session"
import * as SessionConfig from "effect-wsmux/SessionConfig"
import type * as SessionRoute from "effect-wsmux/SessionRoute"
import * as SessionServer from "effect-wsmux/SessionServer"
import type * as SessionSnapshot from "effect-wsmux/SessionSnapshot"
import type { Transport } from "effect-wsmux/Transport"
import type * as TransportServer from "effect-wsmux/TransportServer"
import * as WebSocketTransport from "effect-wsmux/WebSocketTransport"
import type * as WsmuxError from "effect-wsmux/WsmuxError"
import type * as Cause from "effect/Cause"
import type * as Chunk from "effect/Chunk"
import type * as Config from "effect/Config"
import type { ConfigError } from "effect/ConfigError"
import * as Context from "effect/Context"
import * as Data from "effect/Data"
import type * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import * as Mailbox from "effect/Mailbox"
import type * as Option from "effect/Option"
import * as Schedule from "effect/Schedule"
import type * as Scope from "effect/Scope"
import type * as Sink from "effect/Sink"
import type * as Stream from "effect/Stream"
import type * as Http from "node:http"
import { describe, expectTypeOf, it } from "vitest"
import type { WebSocket } from "ws"

// The unions are written out here, so that no class can join or leave one unseen.

type Terminal =
  | WsmuxError.SessionClosed
  | WsmuxError.KeepAliveExpired
  | WsmuxError.MalformedFrame
  | WsmuxError.UnexpectedText
  | WsmuxError.WrongParity
  | WsmuxError.PeerFlood
  | WsmuxError.DialectMissing
  | WsmuxError.TransportFailure
type Open = WsmuxError.AcceptTimeout | WsmuxError.StreamRefused | WsmuxError.SessionDraining | Terminal
type Read = WsmuxError.ReadTimeout | WsmuxError.NoCapacity | WsmuxError.BrokenPipe | WsmuxError.StreamReset
type Write = WsmuxError.WriteTimeout | WsmuxError.BrokenPipe | WsmuxError.StreamReset
type End = WsmuxError.BrokenPipe | WsmuxError.StreamReset
type Invalid = WsmuxError.InvalidConfiguration
type Connect = WsmuxError.ConnectFailure

class Users extends Context.Tag("Users")<Users, { readonly known: Effect.Effect<boolean, "unknown"> }>() {}
class Files extends Context.Tag("Files")<Files, { readonly serve: Effect.Effect<string, "not found"> }>() {}

declare const session: Session.Session
declare const stream: MuxStream.MuxStream
declare const server: SessionServer.Service
declare const transports: TransportServer.Service
declare const serveFiles: (with_: unknown) => Effect.Effect<string, "not found", Files | Scope.Scope>

describe("WsmuxError", () => {
  it("TerminalError is the union of the ends of a session", () =>
    expectTypeOf<WsmuxError.TerminalError>().toEqualTypeOf<Terminal>())

  it("OpenError is the union of the failures of open", () => expectTypeOf<WsmuxError.OpenError>().toEqualTypeOf<Open>())

  it("AcceptError is the union of the failures of accept", () =>
    expectTypeOf<WsmuxError.AcceptError>().toEqualTypeOf<Terminal>())

  it("ReadError is the union of the failures of read", () => expectTypeOf<WsmuxError.ReadError>().toEqualTypeOf<Read>())

  it("WriteError is the union of the failures of write", () =>
    expectTypeOf<WsmuxError.WriteError>().toEqualTypeOf<Write>())

  it("EndError is the union of the failures of end", () => expectTypeOf<WsmuxError.EndError>().toEqualTypeOf<End>())

  it("errors have typed fields", () => {
    expectTypeOf<WsmuxError.BrokenPipe["cause"]>().toEqualTypeOf<Terminal | undefined>()
    expectTypeOf<WsmuxError.BrokenPipe["reason"]>().toEqualTypeOf<"SessionEnded" | "StreamEnded">()
    expectTypeOf<WsmuxError.BrokenPipe["operation"]>().toEqualTypeOf<"read" | "write">()
    expectTypeOf<WsmuxError.SessionClosed["by"]>().toEqualTypeOf<"local" | "peer">()
    expectTypeOf<WsmuxError.WriteTimeout["written"]>().toEqualTypeOf<number>()
    expectTypeOf<WsmuxError.StreamReset["by"]>().toEqualTypeOf<"local" | "peer">()
    expectTypeOf<WsmuxError.StreamReset["code"]>().toEqualTypeOf<number>()
    expectTypeOf<WsmuxError.StreamRefused["code"]>().toEqualTypeOf<number | undefined>()
  })
})

describe("Session", () => {
  it("open fails with DuplicateStream when the caller chooses the id, and only then", () => {
    type Opened<E> = Effect.Effect<MuxStream.MuxStream, E, Scope.Scope>
    expectTypeOf(session.open()).toEqualTypeOf<Opened<Open>>()
    expectTypeOf(session.open({})).toEqualTypeOf<Opened<Open>>()
    expectTypeOf(session.open({ early: true })).toEqualTypeOf<Opened<Open>>()
    type Any = Open | WsmuxError.LabelsUnsupported | WsmuxError.DuplicateStream
    expectTypeOf(session.open({ id: 1 })).toEqualTypeOf<Opened<Any>>()
    const options: Session.OpenOptions | undefined = { id: 1 }
    expectTypeOf(session.open(options)).toEqualTypeOf<Opened<Any>>()
  })

  it("open fails with LabelsUnsupported when the caller gives a label or metadata", () => {
    type Opened<E> = Effect.Effect<MuxStream.MuxStream, E, Scope.Scope>
    type Labelled = Opened<Open | WsmuxError.LabelsUnsupported>
    expectTypeOf(session.open({ label: "rpc" })).toEqualTypeOf<Labelled>()
    expectTypeOf(session.open({ metadata: { a: "b" }, early: true })).toEqualTypeOf<Labelled>()
  })

  it("open keeps its errors when generic code takes the session as an Opener", () => {
    const open = <E>(opener: Session.Opener<E>) => opener.open()
    expectTypeOf(open(session)).toEqualTypeOf<Effect.Effect<MuxStream.MuxStream, Open, Scope.Scope>>()
    expectTypeOf<Session.Session>().toExtend<Session.Opener>()
    expectTypeOf<Session.Session>().toExtend<Session.Acceptor>()
  })

  it("StreamOpener and StreamAcceptor fail as a Session or a ReconnectingSession does", () => {
    type Either<E> = E | WsmuxError.NotConnected
    expectTypeOf(Session.StreamOpener).toExtend<
      Context.Tag<Session.StreamOpener, Session.Opener<Either<WsmuxError.OpenError>>>
    >()
    expectTypeOf(Session.StreamAcceptor).toExtend<
      Context.Tag<Session.StreamAcceptor, Session.Acceptor<Either<WsmuxError.AcceptError>>>
    >()
    type Services = Session.Session | Session.StreamOpener | Session.StreamAcceptor
    expectTypeOf<Session.Services>().toEqualTypeOf<Services>()
    expectTypeOf<ReconnectingSession.Service>().toExtend<Context.Tag.Service<Session.StreamOpener>>()
    expectTypeOf<ReconnectingSession.Service>().toExtend<Context.Tag.Service<Session.StreamAcceptor>>()
  })

  it("Session.accept needs a scope and fails with TerminalError", () => {
    expectTypeOf(session.accept).toEqualTypeOf<Effect.Effect<MuxStream.MuxStream, Terminal, Scope.Scope>>()
    expectTypeOf(session.accepted).toEqualTypeOf<Stream.Stream<MuxStream.MuxStream, Terminal, Scope.Scope>>()
  })

  it("Session.run has the requirements of its handler but the scope", () => {
    expectTypeOf(session.run(serveFiles)).toEqualTypeOf<Effect.Effect<never, Terminal, Files>>()
    expectTypeOf(session.run(() => Effect.void)).toEqualTypeOf<Effect.Effect<never, Terminal>>()
    expectTypeOf(session.run<never, never>).parameter(0).parameters.toEqualTypeOf<[stream: MuxStream.MuxStream]>()
  })

  it("Session.close, isClosed and awaitClosed never fail", () => {
    expectTypeOf(session.close).toEqualTypeOf<Effect.Effect<void>>()
    expectTypeOf(session.isClosed).toEqualTypeOf<Effect.Effect<boolean>>()
    expectTypeOf(session.awaitClosed).toEqualTypeOf<Effect.Effect<Terminal>>()
    expectTypeOf(session.setCloseCallback).toEqualTypeOf<
      (callback: (cause: Terminal) => Effect.Effect<void>) => Effect.Effect<void>
    >()
  })

  it("Session has a role, addresses and a snapshot", () => {
    expectTypeOf(session.role).toEqualTypeOf<"client" | "server">()
    expectTypeOf(session.localAddress).toEqualTypeOf<Address>()
    expectTypeOf(session.remoteAddress).toEqualTypeOf<Address>()
    expectTypeOf(session.snapshot).toEqualTypeOf<Effect.Effect<SessionSnapshot.SessionSnapshot>>()
  })

  it("Session.makeClient and makeServer need a transport and a scope", () => {
    type Make = (
      options?: SessionConfig.PartialSettings
    ) => Effect.Effect<Session.Session, Invalid, Transport | Scope.Scope>
    expectTypeOf(Session.makeClient).toEqualTypeOf<Make>()
    expectTypeOf(Session.makeServer).toEqualTypeOf<Make>()
  })

  it("Session is a tag with layers over a transport", () => {
    type Provide = (options?: SessionConfig.PartialSettings) => Layer.Layer<Session.Services, Invalid, Transport>
    type ProvideConfig = (
      options: Config.Config.Wrap<SessionConfig.PartialSettings>
    ) => Layer.Layer<Session.Services, Invalid | ConfigError, Transport>
    expectTypeOf(Session.Session).toEqualTypeOf<Context.Tag<Session.Session, Session.Session>>()
    expectTypeOf(Session.layerClient).toEqualTypeOf<Provide>()
    expectTypeOf(Session.layerServer).toEqualTypeOf<Provide>()
    expectTypeOf(Session.layerClientConfig).toEqualTypeOf<ProvideConfig>()
    expectTypeOf(Session.layerServerConfig).toEqualTypeOf<ProvideConfig>()
    expectTypeOf(Session.layerClientConfig).toBeCallableWith(SessionConfig.config)
  })

  it("catchTag removes an error of a session from the type", () => {
    expectTypeOf(Effect.catchTag(session.open(), "AcceptTimeout", () => Effect.void)).toEqualTypeOf<
      Effect.Effect<MuxStream.MuxStream | void, Exclude<Open, WsmuxError.AcceptTimeout>, Scope.Scope>
    >()
    expectTypeOf(Effect.catchTags(stream.read, {
      BrokenPipe: (error) => Effect.succeed(error.cause),
      NoCapacity: (error) => Effect.succeed(error.streamId)
    })).toEqualTypeOf<
      Effect.Effect<
        Option.Option<Uint8Array> | Terminal | number | undefined,
        WsmuxError.ReadTimeout | WsmuxError.StreamReset
      >
    >()
  })
})

describe("MuxStream", () => {
  it("MuxStream has a Stream and a Sink", () => {
    expectTypeOf(stream.readable).toEqualTypeOf<Stream.Stream<Uint8Array, Read>>()
    expectTypeOf(stream.writable).toEqualTypeOf<Sink.Sink<void, Uint8Array, never, Write>>()
  })

  it("MuxStream reads and writes with typed failures", () => {
    expectTypeOf(stream.read).toEqualTypeOf<Effect.Effect<Option.Option<Uint8Array>, Read>>()
    expectTypeOf(stream.write).toEqualTypeOf<(chunk: Uint8Array) => Effect.Effect<void, Write>>()
    expectTypeOf(stream.writeAll).toEqualTypeOf<(chunks: Iterable<Uint8Array>) => Effect.Effect<void, Write>>()
    expectTypeOf(stream.end).toEqualTypeOf<Effect.Effect<void, End>>()
  })

  it("MuxStream.reset never fails, and has an optional code and reason", () => {
    expectTypeOf(stream.reset).toEqualTypeOf<(options?: MuxStream.ResetOptions) => Effect.Effect<void>>()
    expectTypeOf(stream.reset).toBeCallableWith({ code: MuxStream.ResetCode.Failed, reason: "why" })
  })

  it("MuxStream.inbox is a mailbox of chunks with the failures of reading", () => {
    expectTypeOf(stream.inbox).toEqualTypeOf<Mailbox.ReadonlyMailbox<Uint8Array, Read>>()
    expectTypeOf(stream.inbox.take).toEqualTypeOf<Effect.Effect<Uint8Array, Read | Cause.NoSuchElementException>>()
    expectTypeOf(Mailbox.toStream(stream.inbox)).toEqualTypeOf<Stream.Stream<Uint8Array, Read>>()
    expectTypeOf(Effect.flatMap(stream.inbox, ([chunks]) => Effect.succeed(chunks)))
      .toEqualTypeOf<Effect.Effect<Chunk.Chunk<Uint8Array>, Read>>()
  })

  it("MuxStream takes deadlines as every input of a DateTime", () => {
    type Set = (
      deadline: DateTime.DateTime.Input | undefined
    ) => Effect.Effect<void, WsmuxError.InvalidDeadline>
    expectTypeOf(stream.setReadDeadline).toEqualTypeOf<Set>()
    expectTypeOf(stream.setWriteDeadline).toEqualTypeOf<Set>()
    expectTypeOf(stream.setDeadline).toEqualTypeOf<Set>()
  })

  it("MuxStream has an id, a label, metadata and addresses", () => {
    expectTypeOf(stream.id).toEqualTypeOf<number>()
    expectTypeOf(stream.label).toEqualTypeOf<string>()
    expectTypeOf(stream.metadata).toEqualTypeOf<Readonly<Record<string, string>>>()
    expectTypeOf(stream.localAddress).toEqualTypeOf<Address>()
    expectTypeOf(stream.remoteAddress).toEqualTypeOf<Address>()
  })
})

describe("ByteStream", () => {
  it("ByteStream.readAll and the operations beside it fail with the failures of their stream", () => {
    type Reading<A> = Effect.Effect<A, WsmuxError.ReadError | ByteStream.StreamTooLong>
    expectTypeOf((stream: MuxStream.MuxStream) => ByteStream.readAll(stream)).returns.toEqualTypeOf<
      Reading<Uint8Array>
    >()
    expectTypeOf((stream: MuxStream.MuxStream) => ByteStream.readText(stream, { maxBytes: 1 })).returns.toEqualTypeOf<
      Reading<string>
    >()
    expectTypeOf((stream: MuxStream.MuxStream) => ByteStream.readLines(stream)).returns.toEqualTypeOf<
      Reading<Array<string>>
    >()
    expectTypeOf((stream: MuxStream.MuxStream) => ByteStream.writeEnd(stream, "text")).returns.toEqualTypeOf<
      Effect.Effect<void, WsmuxError.WriteError>
    >()
  })

  it("ByteStream.forEach has the failures and the context of the effects of its function", () => {
    class Name extends Context.Tag("Name")<Name, string>() {}
    expectTypeOf((stream: MuxStream.MuxStream) => ByteStream.forEach(stream, (chunk) => chunk.byteLength)).returns
      .toEqualTypeOf<Effect.Effect<void, WsmuxError.ReadError>>()
    expectTypeOf((stream: MuxStream.MuxStream) =>
      ByteStream.forEach(stream, () => Effect.zipRight(Name, Effect.fail(1)))
    )
      .returns.toEqualTypeOf<Effect.Effect<void, WsmuxError.ReadError | number, Name>>()
    expectTypeOf((stream: MuxStream.MuxStream, isLate: boolean) =>
      ByteStream.forEach(stream, () => isLate ? Effect.fail("late") : undefined)
    ).returns.toEqualTypeOf<Effect.Effect<void, WsmuxError.ReadError | string>>()
  })

  it("Session.withStream fails as open without an id and its use do", () => {
    expectTypeOf((session: Session.Session) => Session.withStream(session, (stream) => stream.read)).returns
      .toEqualTypeOf<Effect.Effect<Option.Option<Uint8Array>, WsmuxError.OpenError | WsmuxError.ReadError>>()
  })
})

describe("SessionConfig", () => {
  type Provided = Layer.Layer<SessionConfig.SessionConfig, Invalid>
  type ProvidedConfig = Layer.Layer<SessionConfig.SessionConfig, Invalid | ConfigError>

  it("SessionConfig is never a requirement", () => {
    const settings = Effect.map(SessionConfig.SessionConfig, (settings) => settings)
    expectTypeOf(settings).toEqualTypeOf<Effect.Effect<SessionConfig.Settings>>()
  })

  it("SessionConfig has layers of options, of a Config and of the environment", () => {
    expectTypeOf(SessionConfig.layer).toEqualTypeOf<(options?: SessionConfig.PartialSettings) => Provided>()
    expectTypeOf(SessionConfig.layerConfig).toEqualTypeOf<
      (config: Config.Config.Wrap<SessionConfig.PartialSettings>) => ProvidedConfig
    >()
    expectTypeOf(SessionConfig.layerEnv).toEqualTypeOf<ProvidedConfig>()
    expectTypeOf(SessionConfig.config).toEqualTypeOf<Config.Config<SessionConfig.PartialSettings>>()
  })

  it("SessionConfig.PartialSettings may lack each setting, or have undefined", () => {
    type Undefined = { readonly [K in keyof SessionConfig.Settings]: undefined }
    expectTypeOf<Record<never, never>>().toExtend<SessionConfig.PartialSettings>()
    expectTypeOf<Undefined>().toExtend<SessionConfig.PartialSettings>()
    expectTypeOf<keyof SessionConfig.PartialSettings>().toEqualTypeOf<keyof SessionConfig.Settings>()
  })
})

describe("SessionServer", () => {
  it("SessionServer.make and layer need a TransportServer", () => {
    expectTypeOf(SessionServer.make).toEqualTypeOf<
      (
        settings?: SessionConfig.PartialSettings,
        options?: SessionServer.Options
      ) => Effect.Effect<SessionServer.Service, Invalid, TransportServer.TransportServer>
    >()
    expectTypeOf(SessionServer.layer).toEqualTypeOf<
      (
        settings?: SessionConfig.PartialSettings,
        options?: SessionServer.Options
      ) => Layer.Layer<SessionServer.SessionServer, Invalid, TransportServer.TransportServer>
    >()
  })

  it("SessionServer.run has the requirements of its handler but the scope", () => {
    expectTypeOf(server.run(serveFiles)).toEqualTypeOf<Effect.Effect<never, never, Files>>()
    expectTypeOf(transports.run(serveFiles)).toEqualTypeOf<Effect.Effect<never, never, Files>>()
    expectTypeOf(server.run<never, never>).parameter(0).parameters.toEqualTypeOf<
      [session: Session.Session, request: TransportServer.UpgradeRequest]
    >()
    expectTypeOf(transports.run<never, never>).parameter(0).parameters.toEqualTypeOf<
      [transport: Transport, connection: TransportServer.Connection]
    >()
  })

  it("SessionServer keeps the type of principals when it is made from a TransportServer", () => {
    interface User {
      readonly name: string
    }
    const typed = {} as TransportServer.Service<User>
    const made = SessionServer.fromTransportServer(typed)
    expectTypeOf(made).toEqualTypeOf<Effect.Effect<SessionServer.Service<User>, Invalid>>()
    expectTypeOf({} as Effect.Effect.Success<typeof made>).toExtend<SessionServer.Service>()
    expectTypeOf(Session.withPrincipal(session, {} as User).principal).toEqualTypeOf<User>()
    expectTypeOf(session.principal).toEqualTypeOf<unknown>()
  })
})

describe("MuxStream", () => {
  it("MuxStream is no supertype of its copies, which lack its operations", () => {
    const stream = {} as MuxStream.MuxStream
    const copy = { ...stream }
    expectTypeOf(copy).not.toExtend<MuxStream.MuxStream>()
    expectTypeOf<keyof typeof copy>().toEqualTypeOf<typeof MuxStream.TypeId>()
    expectTypeOf(MuxStream.withOperations(stream, { write: stream.write })).toEqualTypeOf<MuxStream.MuxStream>()
  })

  it("StreamError is the union of all failures of a stream", () => {
    type All =
      | WsmuxError.OpenError
      | WsmuxError.DuplicateStream
      | WsmuxError.LabelsUnsupported
      | WsmuxError.ReadError
      | WsmuxError.WriteError
      | WsmuxError.InvalidDeadline
    expectTypeOf<WsmuxError.StreamError>().toEqualTypeOf<All>()
  })
})

describe("ReconnectingSession", () => {
  // eslint-disable-next-line @typescript-eslint/no-explicit-any -- a function that makes any session
  type Made<F extends () => Effect.Effect<any, any, any>> = Effect.Effect.Success<ReturnType<F>>

  it("ReconnectingSession has the failures of its attempts in its type", () => {
    const _make = () => ReconnectingSession.make({ transport: NodeTransport.connect("ws://a") })
    type Failures = WsmuxError.ConnectFailure | ReconnectingSession.Loss
    expectTypeOf({} as Made<typeof _make>).toEqualTypeOf<ReconnectingSession.Service<Failures>>()
    expectTypeOf({} as Made<typeof _make>).toExtend<ReconnectingSession.Service>()
    expectTypeOf({} as WsmuxError.NotConnected<Failures>["cause"]).toEqualTypeOf<Failures | undefined>()
  })

  class LoginFailed extends Data.TaggedError("LoginFailed")<{ readonly user: string }> {}
  const login = (_session: Session.Session): Effect.Effect<void, LoginFailed> => Effect.void
  const dial = NodeTransport.connect("ws://a")
  type Dialled = WsmuxError.ConnectFailure | ReconnectingSession.Loss
  type Either = Dialled | LoginFailed

  it("ReconnectingSession.make infers all failures when isHopeless is given in any order", () => {
    const _inOrder = () =>
      ReconnectingSession.make({
        transport: dial,
        onConnect: (session) => login(session),
        isHopeless: (cause, hasConnected) => cause instanceof LoginFailed && !hasConnected
      })
    const _decisionFirst = () =>
      ReconnectingSession.make({
        isHopeless: (cause) => cause instanceof LoginFailed || ReconnectingSession.isHopeless(cause, false),
        onConnect: (session) => Effect.zipRight(session.accept, login(session)),
        transport: dial
      })
    const _generators = () =>
      ReconnectingSession.make({
        transport: Effect.flatMap(Effect.succeed("ws://a"), (url) => NodeTransport.connect(url)),
        onConnect: Effect.fnUntraced(function*(session) {
          yield* session.accept
          yield* login(session)
        }),
        isHopeless: (cause) => cause instanceof LoginFailed
      })
    const _withoutParameter = () =>
      ReconnectingSession.make({
        transport: Effect.map(dial, (transport) => transport),
        isHopeless: (cause) => cause instanceof LoginFailed,
        onConnect: () => new LoginFailed({ user: "a" })
      })
    expectTypeOf<Made<typeof _inOrder>>().toEqualTypeOf<ReconnectingSession.Service<Either>>()
    expectTypeOf<Made<typeof _decisionFirst>>().toEqualTypeOf<ReconnectingSession.Service<Either>>()
    expectTypeOf<Made<typeof _generators>>().toEqualTypeOf<ReconnectingSession.Service<Either>>()
    expectTypeOf<Made<typeof _withoutParameter>>().toEqualTypeOf<ReconnectingSession.Service<Either>>()
  })

  it("ReconnectingSession.make infers the failures of transport when isHopeless is given alone", () => {
    const _constant = () => ReconnectingSession.make({ transport: dial, isHopeless: () => false })
    const _composed = () =>
      ReconnectingSession.make({
        isHopeless: (cause) => cause === 1,
        transport: Effect.flatMap(Effect.succeed("ws://a"), (url) => NodeTransport.connect(url))
      })
    expectTypeOf<Made<typeof _constant>>().toEqualTypeOf<ReconnectingSession.Service<Dialled>>()
    expectTypeOf<Made<typeof _composed>>().toEqualTypeOf<ReconnectingSession.Service<Dialled>>()
  })

  it("ReconnectingSession.make infers the same failures when a schedule takes more than these", () => {
    const _any = () => ReconnectingSession.make({ transport: dial, schedule: Schedule.spaced(1) })
    const _tagged = () =>
      ReconnectingSession.make({
        schedule: Schedule.recurWhile((cause: { readonly _tag: string }) => cause._tag === "LoginFailed"),
        transport: dial,
        isHopeless: () => false,
        onConnect: (session) => login(session)
      })
    expectTypeOf<Made<typeof _any>>().toEqualTypeOf<ReconnectingSession.Service<Dialled>>()
    expectTypeOf<Made<typeof _tagged>>().toEqualTypeOf<ReconnectingSession.Service<Either>>()
  })

  it("ReconnectingSession.make rejects a schedule when its input leaves out a failure", () => {
    const isLogin = Schedule.recurWhile((cause: LoginFailed) => cause.user === "a")
    // @ts-expect-error the schedule would get a ConnectFailure
    const _narrow = () => ReconnectingSession.make({ transport: dial, onConnect: login, schedule: isLogin })
    expectTypeOf(isLogin).toExtend<Schedule.Schedule<unknown, LoginFailed>>()
  })
})

describe("Transport", () => {
  it("MemoryTransport.makePair needs a scope", () => {
    expectTypeOf(MemoryTransport.makePair).toEqualTypeOf<
      (options?: MemoryTransport.Options) => Effect.Effect<MemoryTransport.Pair, never, Scope.Scope>
    >()
    expectTypeOf(MemoryTransport.layer).toEqualTypeOf<(transport: Transport) => Layer.Layer<Transport>>()
  })

  it("NodeTransport dials a URL or takes an accepted socket", () => {
    expectTypeOf(NodeTransport.connect).toEqualTypeOf<
      (url: string, options?: NodeTransport.ConnectOptions) => Effect.Effect<Transport, Connect, Scope.Scope>
    >()
    expectTypeOf(NodeTransport.layer).toEqualTypeOf<
      (url: string, options?: NodeTransport.ConnectOptions) => Layer.Layer<Transport, Connect>
    >()
    expectTypeOf(NodeTransport.fromWebSocket).toEqualTypeOf<
      (
        ws: WebSocket,
        request: Pick<Http.IncomingMessage, "socket">,
        options?: NodeTransport.Options
      ) => Effect.Effect<Transport, never, Scope.Scope>
    >()
  })

  it("WebSocketTransport dials with a constructor of the context or takes a socket", () => {
    type Constructor = PlatformSocket.WebSocketConstructor
    expectTypeOf(WebSocketTransport.connect).toEqualTypeOf<
      (
        url: string,
        options?: WebSocketTransport.ConnectOptions
      ) => Effect.Effect<Transport, Connect, Constructor | Scope.Scope>
    >()
    expectTypeOf(WebSocketTransport.layer).toEqualTypeOf<
      (url: string, options?: WebSocketTransport.ConnectOptions) => Layer.Layer<Transport, Connect, Constructor>
    >()
    expectTypeOf(WebSocketTransport.fromWebSocket).toEqualTypeOf<
      (
        ws: globalThis.WebSocket,
        options?: WebSocketTransport.Options
      ) => Effect.Effect<Transport, Connect, Scope.Scope>
    >()
    expectTypeOf(WebSocketTransport.fromSocket).toEqualTypeOf<
      (
        socket: PlatformSocket.Socket,
        options?: WebSocketTransport.Options
      ) => Effect.Effect<Transport, PlatformSocket.SocketError, Scope.Scope>
    >()
  })
})

describe("SessionRoute", () => {
  it("SessionRoute.Options has no openTimeout, since the route opens nothing", () => {
    expectTypeOf<keyof NodeTransport.Options>().toExtend<keyof SessionRoute.Options<never>>()
    expectTypeOf<"openTimeout">().not.toExtend<keyof SessionRoute.Options<never>>()
  })
})

describe("TransportServer", () => {
  type Listen = WsmuxError.ListenFailure

  const authorize = (_request: Http.IncomingMessage) =>
    Users.pipe(
      Effect.flatMap((users) => users.known),
      Effect.mapError(() => ({ status: 401 }))
    )

  it("NodeTransportServer.make listens in a scope", () => {
    expectTypeOf(NodeTransportServer.make({ port: 0 })).toEqualTypeOf<
      Effect.Effect<TransportServer.Service<undefined>, Listen, Scope.Scope>
    >()
    expectTypeOf(NodeTransportServer.layer({ port: 0 })).toEqualTypeOf<
      Layer.Layer<TransportServer.TransportServer, Listen>
    >()
  })

  it("NodeTransportServer has requirements and principals of its authorize", () => {
    type Known = Effect.Effect.Success<ReturnType<typeof authorize>>
    expectTypeOf(NodeTransportServer.make({ authorize })).toEqualTypeOf<
      Effect.Effect<TransportServer.Service<Known>, Listen, Users | Scope.Scope>
    >()
    expectTypeOf(NodeTransportServer.layer({ authorize })).toEqualTypeOf<
      Layer.Layer<TransportServer.TransportServer, Listen, Users>
    >()
  })

  it("NodeTransportServer.Options.authorize fails with Rejection alone", () => {
    type Authorize = NonNullable<NodeTransportServer.Options<Users>["authorize"]>
    expectTypeOf<Authorize>().toEqualTypeOf<
      (request: Http.IncomingMessage) => Effect.Effect<unknown, TransportServer.Rejection, Users>
    >()
  })
})
