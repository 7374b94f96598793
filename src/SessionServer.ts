/**
 * A server of sessions: each connection of a `TransportServer` becomes a session in the server role.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import type { Address } from "./Address.js"
import { SessionGroup } from "./internal/session/group.js"
import { resolve } from "./internal/settings/resolve.js"
import { validateMessageSize } from "./internal/settings/validate.js"
import * as ResumeServer from "./ResumeServer.js"
import * as Session from "./Session.js"
import type * as SessionConfig from "./SessionConfig.js"
import { Transport } from "./Transport.js"
import * as TransportServer from "./TransportServer.js"
import type { InvalidConfiguration } from "./WsmuxError.js"

/**
 * A listening server of sessions. `P` is the type of their principals: a server that is made from a `TransportServer`
 * keeps the type, the service in a context has `unknown`.
 *
 * @since 0.2.0
 * @category models
 */
export interface Service<out P = unknown> {
  readonly address: Address
  /**
   * Runs the handler for each session, in a fiber and a scope of its own. Never completes; interruption closes the
   * sessions. When a handler returns or fails, its session is closed; the others go on. A handler holds its place of
   * `maxConnections` until it ends, even where its session has ended before. The handler also gets the request for the
   * WebSocket, which the session does not keep.
   */
  readonly run: <E, R>(
    handler: (session: Session.Session<P>, request: TransportServer.UpgradeRequest) => Effect.Effect<unknown, E, R>
  ) => Effect.Effect<never, never, Exclude<R, Scope.Scope>>
  /**
   * Takes no more connections, and drains every session by `Session.drain`. Completes when the last session is closed,
   * which is when its streams are over or the grace has passed.
   *
   * - The server gives up its port, so that another process can take over (`TransportServer.stopAccepting`).
   * - A session that begins meanwhile, because its connection was under way, drains at once.
   * - Clients that speak the dialect are told. A `ReconnectingSession` dials its next session and opens streams there,
   *   while its streams here go on. Other clients find their opens refused.
   *
   * Idempotent: a further call can only shorten the grace. Interruption stops the wait, and the sessions go on to
   * drain.
   *
   * @since 0.2.0
   */
  readonly drain: (options?: Session.DrainOptions) => Effect.Effect<void>
}

/**
 * @since 0.2.0
 * @category models
 */
export interface Options<in P = unknown> {
  /**
   * Lets sessions outlive the loss of their WebSocket, with these options or with the default ones. Clients use
   * `ResumableTransport.connect`; other clients have ordinary sessions. Default false.
   */
  readonly resume?: boolean | ResumeServer.Options<P> | undefined
}

/**
 * @since 0.1.0
 * @category context
 */
export class SessionServer extends Context.Tag("effect-wsmux/SessionServer")<SessionServer, Service>() {}

/**
 * Makes a server of sessions over the `TransportServer` in the context.
 *
 * Fails with `InvalidConfiguration` before the first connection.
 *
 * @example
 * ```ts
 * import * as Effect from "effect/Effect"
 * import * as Stream from "effect/Stream"
 * import * as SessionServer from "effect-wsmux/SessionServer"
 * import * as NodeTransportServer from "effect-wsmux/NodeTransportServer"
 *
 * // an echo of every stream of every session
 * export const main = Effect.scoped(Effect.gen(function*() {
 *   const server = yield* SessionServer.make()
 *   return yield* server.run((session) =>
 *     session.run((stream) => Stream.run(stream.readable, stream.writable))
 *   )
 * })).pipe(Effect.provide(NodeTransportServer.layer({ port: 8080 })))
 * ```
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (
  settings?: SessionConfig.PartialSettings,
  options?: Options
): Effect.Effect<Service, InvalidConfiguration, TransportServer.TransportServer> =>
  Effect.flatMap(TransportServer.TransportServer, (server) => fromTransportServer(server, settings, options))

/**
 * Makes a server of sessions over the given `TransportServer`, whose principals keep their type.
 *
 * Fails with `InvalidConfiguration` before the first connection.
 *
 * @example
 * ```ts
 * import * as Effect from "effect/Effect"
 * import * as SessionServer from "effect-wsmux/SessionServer"
 * import * as NodeTransportServer from "effect-wsmux/NodeTransportServer"
 *
 * declare const users: ReadonlyMap<string, { readonly name: string }>
 *
 * export const main = Effect.scoped(Effect.gen(function*() {
 *   const transports = yield* NodeTransportServer.make({
 *     port: 8080,
 *     authorize: ({ headers }) => {
 *       const user = users.get(headers.authorization ?? "")
 *       return user === undefined ? Effect.fail({ status: 401 }) : Effect.succeed(user)
 *     }
 *   })
 *   const server = yield* SessionServer.fromTransportServer(transports)
 *   return yield* server.run((session, request) =>
 *     Effect.log(`${session.principal.name} has connected to ${request.url.split("?", 1)[0]}`)
 *   )
 * }))
 * ```
 *
 * @since 0.2.0
 * @category constructors
 */
export const fromTransportServer = <P>(
  server: TransportServer.Service<P>,
  given?: SessionConfig.PartialSettings,
  { resume = false }: Options<P> = {}
): Effect.Effect<Service<P>, InvalidConfiguration> =>
  Effect.gen(function*() {
    const settings = yield* resolve(given)
    yield* validateMessageSize(settings, server)
    const sessions = yield* SessionGroup.make
    const transports = resume === false ? server : ResumeServer.over(server, resume === true ? {} : resume)
    return {
      get address() {
        return server.address
      },
      run: (handler) =>
        transports.run((transport, { principal, request }) =>
          sessions.join(Session.makeServer(settings)).pipe(
            Effect.provideService(Transport, transport),
            Effect.flatMap((session) => handler(Session.withPrincipal(session, principal), request))
          )
        ),
      drain: (options) => sessions.drain(options, server.stopAccepting)
    }
  })

/**
 * Provides a `SessionServer` over a `TransportServer`.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (
  settings?: SessionConfig.PartialSettings,
  options?: Options
): Layer.Layer<SessionServer, InvalidConfiguration, TransportServer.TransportServer> =>
  Layer.effect(SessionServer, make(settings, options))
