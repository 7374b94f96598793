/**
 * HTTP over the streams of a session: a platform `HttpServer` for those that the peer opens, and a platform `HttpClient`
 * whose connections are streams. So a program behind a firewall dials out, and serves HTTP through its one WebSocket.
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
import { holdBodiesBack } from "./internal/adapter/requestBody.js"
import { StreamServer } from "./internal/adapter/streamServer.js"
import * as NodeDuplex from "./NodeDuplex.js"
import { type Acceptor, type Opener, Session } from "./Session.js"

/**
 * What apps on Node need: the server, and what platform's own has beside it.
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
 * Options of Node's servers, such as `headersTimeout`, and how long a response waits for a client that has gone.
 *
 * @since 0.2.0
 * @category models
 */
export interface ServerOptions extends Http.ServerOptions, Pick<NodeDuplex.Options, "patience"> {}

/**
 * A session as an `HttpServer`: each stream that the peer opens is a connection, and a WebSocket within it where a request
 * is upgraded. It takes streams from the first app on, until the session ends, which `Session.awaitClosed` tells. Requests
 * whose head or body takes too long are answered 408, as by every server of Node's; the options say what is too long.
 *
 * The server gives up a response whose client has ended its half and takes nothing for `patience`, 1 minute by default:
 * the app's fiber is interrupted, and the stream is left. A client that has only ended its half still takes bytes.
 *
 * @since 0.1.0
 * @category server
 */
export const makeServer = (
  session: Acceptor<unknown>,
  { patience, ...options }: ServerOptions = {}
): Effect.Effect<HttpServer.HttpServer, never, Scope.Scope> =>
  Effect.gen(function*() {
    const scope = yield* Effect.scope
    const node = yield* Effect.acquireRelease(
      Effect.sync(() => new StreamServer(session.localAddress ?? opaque("session"), options)),
      (node) => Effect.sync(() => node.close())
    )
    const server = yield* Effect.orDie(NodeHttpServer.make(() => node, {})) // there is no port that could be taken
    let isAccepting = false
    // The loop begins whatever becomes of the fiber that serves the first app, and the scope can end it.
    const accepting = Effect.uninterruptible(Effect.suspend(() => {
      if (isAccepting) return Effect.void
      isAccepting = true
      return NodeDuplex.serve(session, node, { patience }).pipe(
        Effect.catchAll((cause) => Effect.logDebug("no more requests: the session is over", cause)),
        Effect.interruptible,
        Effect.forkIn(scope)
      )
    }))
    return HttpServer.make({
      address: server.address,
      serve: (app, middleware) => Effect.asVoid(Effect.zipRight(server.serve(app, middleware!), accepting))
    })
  })

/**
 * Provides the session in the context as an `HttpServer`, with what apps on Node need beside it, as
 * `NodeHttpServer.layer` does.
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
 * // dials out, and answers the requests that come back
 * export const BehindTheFirewall = HttpRouter.empty.pipe(
 *   HttpRouter.get("/", HttpServerResponse.text("hello from inside")),
 *   HttpServer.serve(),
 *   Layer.provide(MuxHttp.layerServer),
 *   Layer.provide(Session.layerClient()),
 *   Layer.provide(NodeTransport.layer("wss://relay.example"))
 * )
 * ```
 *
 * @since 0.1.0
 * @category server
 */
export const layerServer: Layer.Layer<HttpServices, never, Session> = Layer.suspend(() => layerServerFrom(Session))

/**
 * `layerServer` of another session than the one in the context, such as one that comes back:
 * `layerServerFrom(ReconnectingSession)`.
 *
 * @since 0.1.0
 * @category server
 */
export const layerServerFrom = <E, R>(
  session: Effect.Effect<Acceptor<unknown>, E, R>,
  options?: ServerOptions
): Layer.Layer<HttpServices, E, R> =>
  Layer.merge(
    Layer.scoped(HttpServer.HttpServer, Effect.flatMap(session, (session) => makeServer(session, options))),
    NodeHttpServer.layerContext
  )

/**
 * Provides an `HttpClient` whose connections are streams of the session in the context, whatever host a URL names; with
 * TLS within the stream for `https:`. They are kept alive and pooled as the options say, by default without a limit.
 *
 * @since 0.1.0
 * @category client
 */
export const layerClient = (options?: Https.AgentOptions): Layer.Layer<HttpClient.HttpClient, never, Session> =>
  layerClientFrom(Session, options)

/**
 * `layerClient` of another session than the one in the context, such as one that comes back.
 *
 * @since 0.1.0
 * @category client
 */
export const layerClientFrom = <E, R>(
  session: Effect.Effect<Opener<unknown>, E, R>,
  options: Https.AgentOptions = {}
): Layer.Layer<HttpClient.HttpClient, E, R> =>
  Layer.provide(
    Layer.effect(HttpClient.HttpClient, Effect.map(HttpClient.HttpClient, holdBodiesBack)).pipe(
      Layer.provide(NodeHttpClient.layerWithoutAgent)
    ),
    Layer.scoped(
      NodeHttpClient.HttpAgent,
      Effect.gen(function*() {
        const opener = yield* session
        const pooled = { keepAlive: true, ...options }
        return {
          [NodeHttpClient.HttpAgentTypeId]: NodeHttpClient.HttpAgentTypeId,
          http: yield* NodeDuplex.agent(opener, pooled),
          https: yield* NodeDuplex.httpsAgent(opener, pooled)
        }
      })
    )
  )
