/**
 * Transports over the package `ws`, for Node: dialled, or of a socket that was accepted elsewhere.
 *
 * @since 0.1.0
 */
import type * as Clock from "effect/Clock"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as FiberId from "effect/FiberId"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import type * as Http from "node:http"
import type * as Tls from "node:tls"
import { WebSocket } from "ws"
import { redacted } from "./Address.js"
import { maxFragments } from "./internal/transport/node/frameReader.js"
import { NodeTransport } from "./internal/transport/node/transport.js"
import { isWebSocketUrl, notConstructed } from "./internal/transport/standard.js"
import * as SessionConfig from "./SessionConfig.js"
import { SharedLimits } from "./SharedLimits.js"
import { defaultHighWaterMark, Transport } from "./Transport.js"
import { ConnectFailure } from "./WsmuxError.js"

/**
 * @since 0.1.0
 * @category models
 */
export interface Options {
  /** Unsent bytes from which on the transport is not writable. Default `Transport.defaultHighWaterMark`. */
  readonly highWaterMark?: number | undefined
  /** The largest message let in. Default what the `SessionConfig` in the context needs. */
  readonly maxMessageSize?: number | undefined
}

/**
 * @since 0.1.0
 * @category models
 */
export interface ConnectOptions extends Options {
  /** Headers of the upgrade request, such as `authorization`. */
  readonly headers?: Readonly<Record<string, string>> | undefined
  /** Subprotocols to offer. */
  readonly protocols?: ReadonlyArray<string> | undefined
  /** For `wss://`: authorities to trust, a client certificate, and the like, as for `tls.connect`. */
  readonly tls?: Tls.ConnectionOptions | undefined
  /** How long the connection and the upgrade may take together. Default 10 s. */
  readonly openTimeout?: Duration.DurationInput | undefined
}

/**
 * Dials a WebSocket. Per-message compression is off: the streams' bytes are compressed already, or do not gain enough.
 *
 * The answer's headers are in `Transport.upgrade`. Fails with `ConnectFailure`, whose `reason` and `status` tell why.
 * Interrupting it gives the attempt up. When the scope closes, the connection is terminated; a session on it has closed
 * it properly by then.
 *
 * @since 0.1.0
 * @category constructors
 */
export const connect = (
  url: string,
  options: ConnectOptions = {}
): Effect.Effect<Transport, ConnectFailure, Scope.Scope> =>
  Effect.gen(function*() {
    const settings = yield* resolve(options)
    const clock = yield* Effect.clock
    const attempt = yield* Effect.acquireRelease(
      Effect.try({
        try: () => {
          if (!isWebSocketUrl(url)) throw new SyntaxError() // the package takes http://, too
          const ws = new WebSocket(url, [...options.protocols ?? []], {
            ...attempts,
            ...options.tls,
            headers: options.headers,
            perMessageDeflate: false,
            maxPayload: settings.maxMessageSize,
            maxFragments: maxFragments(settings.maxMessageSize)
          })
          // watched in the same step: a failure to connect may follow at once
          return { transport: new NodeTransport(ws, "client", settings), opened: watchOpening(ws, url, clock) }
        },
        catch: (cause) => notConstructed(url, cause)
      }),
      ({ transport }) => transport.terminate
    )
    const { opened, transport } = attempt
    const response = yield* Deferred.await(opened).pipe(
      Effect.timeoutFail({
        duration: options.openTimeout ?? Duration.seconds(10),
        onTimeout: () => new ConnectFailure({ url: redacted(url), reason: "Timeout" })
      }),
      Effect.onError(() => transport.terminate)
    )
    transport.upgrade = { headers: response.headers }
    transport.connected(response.socket)
    yield* transport.logDetour
    return transport
  })

/**
 * A transport of a `ws` socket that was accepted elsewhere, such as by a `WebSocketServer` of your own. Call it in the
 * handler of the `connection` event: messages that come before are lost. The upgrade request tells the addresses.
 *
 * @since 0.1.0
 * @category constructors
 */
export const fromWebSocket = (
  ws: WebSocket,
  request: Pick<Http.IncomingMessage, "socket">,
  options: Options = {}
): Effect.Effect<Transport, never, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.flatMap(resolve(options), (settings) => {
      const transport = new NodeTransport(ws, "server", settings)
      transport.connected(request.socket)
      return Effect.as(transport.logDetour, transport)
    }),
    (transport) => transport.terminate
  )

/**
 * Provides a dialled `Transport`.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (url: string, options?: ConnectOptions): Layer.Layer<Transport, ConnectFailure> =>
  Layer.scoped(Transport, connect(url, options))

/**
 * How long an attempt to reach one of a host's addresses may take before the next one is tried, in milliseconds. Node's 250
 * give up a connection that has lost a single packet: the kernel sends it again after one second.
 */
const attempts = { autoSelectFamilyAttemptTimeout: 2000 }

const resolve = (options: Options) =>
  Effect.map(Effect.all([SessionConfig.SessionConfig, SharedLimits]), ([config, { partialMessages }]) => ({
    partialMessages,
    highWaterMark: Math.max(options.highWaterMark ?? defaultHighWaterMark, 1),
    maxMessageSize: options.maxMessageSize ?? SessionConfig.maxMessageSize(config)
  }))

/** What is kept of the answer: it lives as long as the transport. */
type Answer = Pick<Http.IncomingMessage, "headers" | "socket">

const watchOpening = (ws: WebSocket, url: string, clock: Clock.Clock): Deferred.Deferred<Answer, ConnectFailure> => {
  const opened = Deferred.unsafeMake<Answer, ConnectFailure>(FiberId.none)
  const fail = (why: Pick<ConnectFailure, "reason" | "status" | "retryAfterMillis" | "cause">) =>
    Deferred.unsafeDone(opened, Effect.fail(new ConnectFailure({ url: redacted(url), ...why })))
  let answer: Answer
  ws.once("upgrade", ({ headers, socket }) => {
    answer = { headers, socket }
  })
  ws.once("open", () => Deferred.unsafeDone(opened, Effect.succeed(answer)))
  ws.once("unexpected-response", (request, response) => {
    const retryAfterMillis = retryAfter(response.headers, clock.unsafeCurrentTimeMillis())
    fail({
      reason: "Rejected",
      status: response.statusCode,
      ...(retryAfterMillis === undefined ? {} : { retryAfterMillis })
    })
    request.destroy()
  })
  ws.once("error", (cause) => fail({ reason: "Unreachable", cause }))
  return opened
}

/** `Retry-After` (RFC 9110, 10.2.3): seconds, or a date, which the server's own clock tells best how far away it is. */
const retryAfter = (headers: Http.IncomingHttpHeaders, now: number): number | undefined => {
  const value = headers["retry-after"]?.trim() ?? ""
  if (/^\d+$/.test(value)) return Number(value) * 1000
  const at = Date.parse(value)
  const serverNow = Date.parse(headers.date ?? "")
  return Number.isNaN(at) ? undefined : Math.max(at - (Number.isNaN(serverNow) ? now : serverNow), 0)
}
