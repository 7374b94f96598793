/**
 * HTTP over the streams of a session. A platform `HttpServer` answers on the streams that the peer opens. The
 * connections of a platform `HttpClient` are streams. So a program behind a firewall serves HTTP over the WebSocket
 * that it dials.
 *
 * @since 0.1.0
 */
import type * as NodeContext from "@effect/platform-node/NodeContext"
import * as NodeHttpClient from "@effect/platform-node/NodeHttpClient"
import * as NodeHttpServer from "@effect/platform-node/NodeHttpServer"
import type * as Etag from "@effect/platform/Etag"
import * as HttpClient from "@effect/platform/HttpClient"
import type * as HttpPlatform from "@effect/platform/HttpPlatform"
import * as HttpServer from "@effect/platform/HttpServer"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import type * as Http from "node:http"
import type * as Https from "node:https"
import { opaque } from "./Address.js"
import { abortFailedBody, withSafeBodies } from "./internal/adapter/httpBody.js"
import { StreamServer } from "./internal/adapter/streamServer.js"
import * as NodeDuplex from "./NodeDuplex.js"
import { type Acceptor, StreamAcceptor, StreamOpener } from "./Session.js"

/**
 * The services that an app needs on Node: the server, and the services that the platform's own server provides with it.
 *
 * @since 0.1.0
 * @category models
 */
export type HttpServices =
  | HttpServer.HttpServer
  | HttpPlatform.HttpPlatform
  | Etag.Generator
  | NodeContext.NodeContext

/**
 * The options of a Node server, such as `headersTimeout`, and the time that a response waits for a client that has
 * gone.
 *
 * @since 0.2.0
 * @category models
 */
export interface ServerOptions extends Http.ServerOptions, Pick<NodeDuplex.Options, "stallTimeout"> {}

/**
 * Makes an `HttpServer` of a session, or of one label of it (`StreamRouter.acceptors`). Each stream that the peer opens
 * is a connection. An upgraded request becomes a WebSocket within its stream.
 *
 * The server accepts streams from the first app on, until the session ends. `Session.awaitClosed` reports that end.
 * Node answers 408 to a request whose head or body takes longer than the options allow.
 *
 * The server interrupts the app's fiber when the client resets the stream: when the client aborts its request. A client
 * without the dialect knows no reset. So the server also interrupts the fiber and closes the stream when the client has
 * ended its half and takes no byte of the response for `stallTimeout`, 1 minute by default. A client that has ended its
 * half and still reads is served.
 *
 * @since 0.1.0
 * @category server
 */
export const makeServer = (
  session: Acceptor<unknown>,
  { stallTimeout, ...options }: ServerOptions = {}
): Effect.Effect<HttpServer.HttpServer, never, Scope.Scope> =>
  Effect.gen(function*() {
    const scope = yield* Effect.scope
    const node = yield* Effect.acquireRelease(
      Effect.sync(() => new StreamServer(session.localAddress ?? opaque("session"), options)),
      (node) => Effect.sync(() => node.close())
    )
    // The server listens on no port, so it cannot fail with a port that is taken.
    const server = yield* Effect.orDie(NodeHttpServer.make(() => node, {}))
    let isAccepting = false
    // Interrupting the fiber that serves the first app leaves the loop running; closing the scope ends it.
    const startAccepting = Effect.uninterruptible(Effect.suspend(() => {
      if (isAccepting) return Effect.void
      isAccepting = true
      return NodeDuplex.serve(session, node, { stallTimeout }).pipe(
        Effect.catchAll((cause) => Effect.logDebug("cannot accept more connections: the session has ended", cause)),
        Effect.interruptible,
        Effect.forkIn(scope)
      )
    }))
    return HttpServer.make({
      address: server.address,
      serve: (app, middleware) =>
        Effect.asVoid(Effect.zipRight(server.serve(abortFailedBody(app), middleware!), startAccepting))
    })
  })

/**
 * Provides an `HttpServer` for the streams that the peer opens, with the services that apps on Node need beside it, as
 * `NodeHttpServer.layer` does. The layers of `Session` and of `ReconnectingSession` provide its `StreamAcceptor`.
 *
 * @example
 * ```ts
 * import * as HttpRouter from "@effect/platform/HttpRouter"
 * import * as HttpServer from "@effect/platform/HttpServer"
 * import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
 * import * as MuxHttp from "effect-wsmux/MuxHttp"
 * import * as Session from "effect-wsmux/Session"
 * import * as NodeTransport from "effect-wsmux/NodeTransport"
 * import * as Layer from "effect/Layer"
 *
 * // dials out, and answers the peer's requests
 * export const BehindTheFirewall = HttpRouter.empty.pipe(
 *   HttpRouter.get("/", HttpServerResponse.text("hello from inside")),
 *   HttpServer.serve(),
 *   Layer.provide(MuxHttp.layerServer()),
 *   Layer.provide(Session.layerClient()),
 *   Layer.provide(NodeTransport.layer("wss://relay.example"))
 * )
 * ```
 *
 * @since 0.1.0
 * @category server
 */
export const layerServer = (options?: ServerOptions): Layer.Layer<HttpServices, never, StreamAcceptor> =>
  Layer.merge(
    Layer.scoped(HttpServer.HttpServer, Effect.flatMap(StreamAcceptor, (session) => makeServer(session, options))),
    NodeHttpServer.layerContext
  )

/**
 * Provides an `HttpClient` whose connections are streams, for every host that a URL names. For `https:` the client
 * speaks TLS within the stream. Connections are kept alive and pooled as the options say, by default without a limit.
 * The layers of `Session` and of `ReconnectingSession` provide its `StreamOpener`. A `label` chooses the handler at the
 * other end. A request that is aborted resets its stream, and the server interrupts its handler at once.
 *
 * @since 0.1.0
 * @category client
 */
export const layerClient = (
  options: Https.AgentOptions & NodeDuplex.StreamOptions = {}
): Layer.Layer<HttpClient.HttpClient, never, StreamOpener> =>
  Layer.provide(
    Layer.effect(HttpClient.HttpClient, Effect.map(HttpClient.HttpClient, withSafeBodies)).pipe(
      Layer.provide(NodeHttpClient.layerWithoutAgent)
    ),
    Layer.scoped(
      NodeHttpClient.HttpAgent,
      Effect.gen(function*() {
        const opener = yield* StreamOpener
        const pooled = { ...options, keepAlive: options.keepAlive ?? true }
        return {
          [NodeHttpClient.HttpAgentTypeId]: NodeHttpClient.HttpAgentTypeId,
          http: yield* NodeDuplex.agent(opener, pooled),
          https: yield* NodeDuplex.httpsAgent(opener, pooled)
        }
      })
    )
  )
