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
import type { TransportServer } from "effect-wsmux/TransportServer"
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

export interface Options {
  readonly maxMessageSize?: number | undefined
  readonly highWaterMark?: number | undefined
}

/** Both ends of one connection, and how the scope of the client's end closes before the test's own. */
export interface Ends {
  readonly client: Transport
  readonly server: Transport
  readonly abandon: Effect.Effect<void>
}

export type AcquireEnds = (options?: Options) => Effect.Effect<Ends, unknown, Scope.Scope>

/** One that dials. */
export type Dialler = (url: string, options?: Options) => Effect.Effect<Transport, unknown, Scope.Scope>

/** One that is dialled, and the first transport that it gets. */
export type Acceptor = (
  options?: Options
) => Effect.Effect<{ readonly url: string; readonly accepted: Effect.Effect<Transport> }, unknown, Scope.Scope>

/** An event of Node that is waited for after what brings it about. */
export const signal = <Args extends ReadonlyArray<unknown>>(emitter: EventEmitter, event: string) => {
  const happened = Deferred.unsafeMake<Args>(FiberId.none)
  emitter.once(event, (...args) => Deferred.unsafeDone(happened, Effect.succeed(args as unknown as Args)))
  return Deferred.await(happened)
}

/** Waits for what no event tells of, one turn of the event loop after the other. */
export const eventually = (condition: () => boolean): Effect.Effect<void> =>
  Effect.async<void>((resume) => {
    const turn = setImmediate(() => resume(Effect.void))
    return Effect.sync(() => clearImmediate(turn))
  }).pipe(Effect.repeat({ until: condition }), Effect.asVoid)

/** Waits until a value has stood still for fifty turns of the event loop: within one process nothing more is under way then. */
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

/** Listens on a free port of the loopback for as long as the scope is open. */
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

/** A TCP server that hands every connection to `onConnection`, and ends them with the scope. */
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

/** A TCP server, and when the next connection that it takes is closed. */
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

/** A server that takes TCP connections, reads and says nothing. */
export const silentServer = Effect.map(taking((socket) => socket.resume()), ({ server, taken }) => ({
  url: `ws://127.0.0.1:${server.port}/`,
  taken
}))

/** A `WebSocketServer` of the test's own. */
export const webSocketServer = Effect.gen(function*() {
  const server = yield* listening(Http.createServer())
  const webSockets = yield* Effect.acquireRelease(
    Effect.sync(() => new WebSocketServer({ server })),
    (webSockets) => Effect.sync(() => webSockets.clients.forEach((ws) => ws.terminate()))
  )
  return { webSockets, server, url: `ws://127.0.0.1:${portOf(server)}` }
})

/** A `WebSocket` of the test's own. Its failures are what the test is about, so none of them is thrown. */
export const webSocket = (url: string, ...rest: [protocols?: Array<string>, options?: WebSocket.ClientOptions]) =>
  Effect.acquireRelease(
    Effect.sync(() => new WebSocket(url, ...rest).on("error", () => {})),
    (ws) => Effect.sync(() => ws.terminate())
  )

/** A TCP client that asks for a WebSocket and then does only what the test does. */
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

/** What a server answers to these bytes, up to the upgrade or to where it hangs up. */
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

/** The headers of a proper upgrade. */
export const upgradeHeaders = [
  "connection: upgrade",
  "upgrade: websocket",
  "sec-websocket-version: 13",
  "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ=="
]

/** What `acquire` gives, and how its scope closes at once. */
export const detachable = <A, E>(acquire: Effect.Effect<A, E, Scope.Scope>) =>
  Effect.gen(function*() {
    const scope = yield* Scope.fork(yield* Effect.scope, ExecutionStrategy.sequential)
    return [yield* Scope.extend(acquire, scope), Scope.close(scope, Exit.void)] as const
  })

/** Serves every connection with nothing, and answers with the transports as they come. */
export const keepAll = (server: TransportServer) =>
  Effect.gen(function*() {
    const transports = yield* Queue.unbounded<Transport>()
    const running = yield* Effect.forkScoped(
      server.run((transport) => Effect.zipRight(Queue.offer(transports, transport), Effect.never))
    )
    return { running, next: Queue.take(transports) }
  })

/** The first connection of a server that keeps its connections. */
export const firstOf = (server: TransportServer) => Effect.map(keepAll(server), ({ next }) => next)

export const rejected = (url: string, status: number) => new ConnectFailure({ url, reason: "Rejected", status })

export const urlOf = (server: TransportServer): string => `ws://${Address.format(server.address)}`

const wsConstructor: typeof Socket.WebSocketConstructor.Service = (url, protocols) =>
  new WebSocket(url, protocols) as unknown as globalThis.WebSocket

/** The standard `WebSocket`, which Node 20 has in undici only. */
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
    return { url, accepted: Deferred.await(accepted) }
  })

/** A route of an HTTP server of the platform. */
export const acceptPlatform: Acceptor = (options) =>
  Effect.gen(function*() {
    const accepted = yield* Deferred.make<Transport>()
    const over = yield* Deferred.make<void>()
    const [server] = yield* detachable(
      NodeHttpServer.make(() => Http.createServer(), { port: 0, host: "127.0.0.1" })
    )
    yield* server.serve(
      Effect.gen(function*() {
        const request = yield* HttpServerRequest.HttpServerRequest
        const transport = yield* WebSocketTransport.fromSocket(yield* request.upgrade, options)
        yield* Deferred.succeed(accepted, transport)
        yield* Deferred.await(over)
        return HttpServerResponse.empty()
      })
    )
    // server and requests wait for their connections to end, and do not end them themselves
    yield* Effect.addFinalizer(() => Deferred.succeed(over, undefined))
    const { port } = server.address as Extract<typeof server.address, { readonly _tag: "TcpAddress" }>
    return { url: `ws://127.0.0.1:${port}`, accepted: Deferred.await(accepted) }
  })

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

/** Both ends of every kind of connection that goes through a real socket. */
export const wired: Readonly<Record<string, AcquireEnds>> = {
  "ws": joined(dialWs, acceptWsServer),
  "ws, accepted elsewhere": joined(dialWs, acceptWebSocket),
  "a WebSocket made by the package ws": joined(dialWsConstructor, acceptWsServer),
  "a standard WebSocket": joined(dialStandard, acceptWsServer),
  "platform sockets": joined(dialPlatform, acceptPlatform)
}
