import * as NodeHttpServer from "@effect/platform-node/NodeHttpServer"
import * as Undici from "@effect/platform-node/Undici"
import * as HttpServerRequest from "@effect/platform/HttpServerRequest"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import * as Socket from "@effect/platform/Socket"
import * as Address from "effect-wsmux/Address"
import * as MemoryTransport from "effect-wsmux/MemoryTransport"
import * as NodeTransport from "effect-wsmux/NodeTransport"
import * as NodeTransportServer from "effect-wsmux/NodeTransportServer"
import type { Transport } from "effect-wsmux/Transport"
import type * as TransportServer from "effect-wsmux/TransportServer"
import * as WebSocketTransport from "effect-wsmux/WebSocketTransport"
import { ConnectFailure } from "effect-wsmux/WsmuxError"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as ExecutionStrategy from "effect/ExecutionStrategy"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as FiberId from "effect/FiberId"
import * as FiberSet from "effect/FiberSet"
import * as Queue from "effect/Queue"
import * as Scope from "effect/Scope"
import type { EventEmitter } from "node:events"
import * as Http from "node:http"
import * as Net from "node:net"
import { WebSocket, WebSocketServer } from "ws"
import { patience, within } from "./within.js"

export interface Options {
  readonly maxMessageSize?: number | undefined
  readonly highWaterMark?: number | undefined
}

/** Both ends of a connection. `abandon` closes the client's scope before the end of the test. */
export interface Ends {
  readonly client: Transport
  readonly server: Transport
  readonly abandon: Effect.Effect<void>
}

export type AcquireEnds = (options?: Options) => Effect.Effect<Ends, unknown, Scope.Scope>

/** Dials a URL. */
export type Dialler = (url: string, options?: Options) => Effect.Effect<Transport, unknown, Scope.Scope>

/** Starts a server. Succeeds with its URL and the effect of its first transport. */
export type Acceptor = (
  options?: Options
) => Effect.Effect<{ readonly url: string; readonly accepted: Effect.Effect<Transport> }, unknown, Scope.Scope>

/** Listens for an event of Node at once. Returns the effect that awaits the event. */
export const signal = <Args extends ReadonlyArray<unknown>>(emitter: EventEmitter, event: string) => {
  const happened = Deferred.unsafeMake<Args>(FiberId.none)
  emitter.once(event, (...args) => Deferred.unsafeDone(happened, Effect.succeed(args as unknown as Args)))
  return Deferred.await(happened).pipe(within(patience, `the event "${event}" of a ${emitter.constructor.name}`))
}

/** Waits for the next turn of the event loop. */
export const nextTurn: Effect.Effect<void> = Effect.async<void>((resume) => {
  const turn = setImmediate(() => resume(Effect.void))
  return Effect.sync(() => clearImmediate(turn))
})

/** Waits for a condition that has no event. The test polls the condition once in each turn of the event loop. */
export const eventually = (condition: () => boolean): Effect.Effect<void> =>
  nextTurn.pipe(
    Effect.repeat({ until: condition }),
    Effect.asVoid,
    within(patience, `the condition ${String(condition)}`)
  )

/** Waits until a value has stayed the same for 50 turns of the event loop, so that this process has become idle. */
export const standstill = (value: () => unknown): Effect.Effect<void> =>
  Effect.suspend(() => {
    let [last, turns] = [value(), 0]
    return eventually(() => {
      turns = value() === last ? turns + 1 : 0
      last = value()
      return turns === 50
    })
  })

export const portOf = (server: Net.Server): number => (server.address() as Net.AddressInfo).port

/** Listens on a free port of the loopback while the scope is open. */
export const listening = <S extends Net.Server>(server: S): Effect.Effect<S, never, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.async<S>((resume) => {
      server.listen(0, "127.0.0.1", () => resume(Effect.succeed(server)))
    }),
    () =>
      Effect.sync(() => {
        server.close()
        if (server instanceof Http.Server) server.closeAllConnections()
      })
  )

/** Starts a TCP server that hands each connection to `onConnection`, and ends its connections with the scope. */
export const tcpServer = (onConnection: (socket: Net.Socket) => void) =>
  Effect.gen(function*() {
    const sockets = new Set<Net.Socket>()
    const server = yield* listening(Net.createServer({ allowHalfOpen: false }, (socket) => {
      sockets.add(socket.on("error", () => {}))
      onConnection(socket)
    }))
    yield* Effect.addFinalizer(() => Effect.sync(() => sockets.forEach((socket) => socket.destroy())))
    return { port: portOf(server), sockets }
  })

/** Starts a TCP server. `taken` awaits the next connection and succeeds with the effect of its close. */
export const taking = (onConnection: (socket: Net.Socket) => unknown) =>
  Effect.gen(function*() {
    let take: (socket: Net.Socket) => void = () => {}
    const server = yield* tcpServer((socket) => {
      onConnection(socket)
      take(socket)
    })
    const fiber = yield* Effect.fork(
      Effect.async<{ readonly closed: Effect.Effect<unknown> }>((resume) => {
        take = (socket) => resume(Effect.succeed({ closed: signal(socket, "close") }))
      })
    )
    return { server, taken: Fiber.join(fiber) }
  })

/** A server that accepts TCP connections, discards their bytes and sends nothing. */
export const silentServer = Effect.map(taking((socket) => socket.resume()), ({ server, taken }) => ({
  url: `ws://127.0.0.1:${server.port}/`,
  taken
}))

/** A `WebSocketServer` of the package ws. */
export const webSocketServer = Effect.gen(function*() {
  const server = yield* listening(Http.createServer())
  const webSockets = yield* Effect.acquireRelease(
    Effect.sync(() => new WebSocketServer({ server })),
    (webSockets) => Effect.sync(() => webSockets.clients.forEach((ws) => ws.terminate()))
  )
  return { webSockets, server, url: `ws://127.0.0.1:${portOf(server)}` }
})

/** A `WebSocket` of the package ws. The `error` listener keeps its errors from ending the process. */
export const webSocket = (url: string, ...rest: [protocols?: Array<string>, options?: WebSocket.ClientOptions]) =>
  Effect.acquireRelease(
    Effect.sync(() => new WebSocket(url, ...rest).on("error", () => {})),
    (ws) => Effect.sync(() => ws.terminate())
  )

/** A TCP client that sends only an upgrade request. The test sends everything after that. */
export const rawClient = (
  url: string,
  headers: ReadonlyArray<string> = upgradeHeaders,
  options?: Net.SocketConstructorOpts
) =>
  Effect.gen(function*() {
    const { hostname, pathname, port } = new URL(url)
    const socket = yield* Effect.acquireRelease(
      Effect.sync(() => new Net.Socket(options).connect(Number(port), hostname).on("error", () => {})),
      (socket) => Effect.sync(() => socket.destroy())
    )
    const answered = signal<[Buffer]>(socket, "data")
    const closed = signal(socket, "close")
    socket.write([`GET ${pathname} HTTP/1.1`, "host: 127.0.0.1", ...headers, "", ""].join("\r\n"))
    return { socket, closed, answer: Effect.map(answered, ([head]) => head.toString().split("\r\n", 1)[0]) }
  })

/** The answer of a server to these bytes, up to the answer 101 or the end of the connection. */
export const rawAnswer = (port: number, request: string | Uint8Array): Effect.Effect<string> =>
  Effect.async<string>((resume) => {
    let answer = ""
    const socket = Net.connect(port, "127.0.0.1").setEncoding("latin1").on("error", () => {})
    const conclude = () => resume(Effect.succeed(answer))
    socket.on("close", conclude).on("data", (text) => {
      answer += text
      if (answer.startsWith("HTTP/1.1 101")) conclude()
    })
    socket.write(request)
    return Effect.sync(() => socket.destroy())
  })

/** The headers of a valid upgrade request. */
export const upgradeHeaders = [
  "connection: upgrade",
  "upgrade: websocket",
  "sec-websocket-version: 13",
  "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ=="
]

/** Acquires in a child scope. Succeeds with the resource and an effect that closes this scope. */
export const detachable = <A, E>(acquire: Effect.Effect<A, E, Scope.Scope>) =>
  Effect.gen(function*() {
    const scope = yield* Scope.fork(yield* Effect.scope, ExecutionStrategy.sequential)
    return [yield* Scope.extend(acquire, scope), Scope.close(scope, Exit.void)] as const
  })

/** Accepts every connection and keeps it open. `next` takes the transports in their order. */
export const keepAll = (server: TransportServer.Service) =>
  Effect.gen(function*() {
    const transports = yield* Queue.unbounded<Transport>()
    const running = yield* Effect.forkScoped(
      server.run((transport) => Effect.zipRight(Queue.offer(transports, transport), Effect.never))
    )
    return { running, next: Queue.take(transports) }
  })

/** The first transport of a server that keeps its connections open. */
export const firstOf = (server: TransportServer.Service) => Effect.map(keepAll(server), ({ next }) => next)

export const rejected = (url: string, status: number) => new ConnectFailure({ url, reason: "Rejected", status })

export const urlOf = (server: TransportServer.Service): string => `ws://${Address.format(server.address)}`

const wsConstructor: typeof Socket.WebSocketConstructor.Service = (url, protocols) =>
  new WebSocket(url, protocols) as unknown as globalThis.WebSocket

/** The standard `WebSocket`. Node 20 has no global one, but undici has one. */
export const standardConstructor: typeof Socket.WebSocketConstructor.Service = (url, protocols) =>
  new Undici.WebSocket(url, protocols) as unknown as globalThis.WebSocket

export const dialWs: Dialler = NodeTransport.connect

export const dialWsConstructor: Dialler = (url, options) =>
  Effect.provideService(WebSocketTransport.connect(url, options), Socket.WebSocketConstructor, wsConstructor)

export const dialStandard: Dialler = (url, options) =>
  Effect.provideService(WebSocketTransport.connect(url, options), Socket.WebSocketConstructor, standardConstructor)

export const dialPlatform: Dialler = (url, options) =>
  Socket.makeWebSocket(url).pipe(
    Effect.provideService(Socket.WebSocketConstructor, wsConstructor),
    Effect.flatMap((socket) => WebSocketTransport.fromSocket(socket, options))
  )

export const acceptWsServer: Acceptor = (options) =>
  Effect.gen(function*() {
    const server = yield* NodeTransportServer.make(options)
    return { url: urlOf(server), accepted: yield* firstOf(server) }
  })

export const acceptWebSocket: Acceptor = (options) =>
  Effect.gen(function*() {
    const { url, webSockets } = yield* webSocketServer
    const accepted = yield* Deferred.make<Transport>()
    const run = yield* FiberSet.makeRuntime<Scope.Scope>()
    webSockets.on("connection", (ws, request) => {
      run(Effect.intoDeferred(NodeTransport.fromWebSocket(ws, request, options), accepted))
    })
    return { url, accepted: Deferred.await(accepted).pipe(within(patience, "the accepted transport")) }
  })

/** Accepts by a route of an HTTP server of @effect/platform. */
const acceptRoute = (fromSocket: typeof NodeTransport.fromSocket): Acceptor => (options) =>
  Effect.gen(function*() {
    const accepted = yield* Deferred.make<Transport>()
    const over = yield* Deferred.make<void>()
    const [server] = yield* detachable(
      NodeHttpServer.make(() => Http.createServer(), { port: 0, host: "127.0.0.1" })
    )
    yield* server.serve(
      Effect.gen(function*() {
        const request = yield* HttpServerRequest.HttpServerRequest
        const transport = yield* fromSocket(yield* request.upgrade, options)
        yield* Deferred.succeed(accepted, transport)
        yield* Deferred.await(over)
        return HttpServerResponse.empty()
      })
    )
    // The server and its requests wait for the end of their connections.
    yield* Effect.addFinalizer(() => Deferred.succeed(over, undefined))
    const { port } = server.address as Extract<typeof server.address, { readonly _tag: "TcpAddress" }>
    return {
      url: `ws://127.0.0.1:${port}`,
      accepted: Deferred.await(accepted).pipe(within(patience, "the accepted transport"))
    }
  })

export const acceptPlatform = acceptRoute(NodeTransport.fromSocket)

/** Accepts by a route whose transport comes from WebSocketTransport. */
export const acceptPortable = acceptRoute(WebSocketTransport.fromSocket)

export const joined = (dial: Dialler, accept: Acceptor): AcquireEnds => (options) =>
  Effect.gen(function*() {
    const { accepted, url } = yield* accept(options)
    const [client, abandon] = yield* detachable(dial(url, options))
    return { client, server: yield* accepted, abandon }
  })

export const memory: AcquireEnds = (options) =>
  Effect.map(
    detachable(MemoryTransport.makePair({ maxMessageSize: options?.maxMessageSize, capacity: options?.highWaterMark })),
    ([pair, abandon]) => ({ client: pair.client, server: pair.server, abandon })
  )

/** The kinds of connection over real sockets. */
export const wired: Readonly<Record<string, AcquireEnds>> = {
  "ws": joined(dialWs, acceptWsServer),
  "ws, accepted elsewhere": joined(dialWs, acceptWebSocket),
  "a WebSocket made by the package ws": joined(dialWsConstructor, acceptWsServer),
  "a standard WebSocket": joined(dialStandard, acceptWsServer),
  "platform sockets": joined(dialPlatform, acceptPlatform),
  "portable platform sockets": joined(dialPlatform, acceptPortable)
}
