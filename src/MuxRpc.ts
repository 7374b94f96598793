/**
 * Protocols for the `RpcClient` and the `RpcServer` of `@effect/rpc` in which every call has a stream of its own.
 *
 * So a large answer delays no small one, and a slow consumer of a streaming call holds back the producer of that call
 * alone. An interrupted call leaves its stream, which interrupts the handler. A failure or a defect of a call concerns
 * that call alone, unlike with the protocol over a socket, where a defect ends all calls of the client. No pings are
 * needed beside those of the session.
 *
 * A stream carries one call. Integers are little-endian:
 *
 * - The client opens the stream with the label. Where the peer takes no labels, the client sends the preamble
 *   `wsmux-rpc/1 LABEL\n` in ASCII instead. The request follows as one record.
 * - Nothing follows the request but FIN or a reset, which interrupts the call before the end of the answer. So the
 *   client keeps its half open until then.
 * - The server sends records: chunks of a stream, and one exit or defect as the last record, then FIN.
 * - A record is the length as u32, then a message in the `RpcSerialization`, at most `maxMessageSize` bytes. The length
 *   counts the bytes behind it. Every message has its length, even in a serialization with framing of its own: so an
 *   end refuses a large message before its bytes arrive, and decodes no message in pieces.
 * - A length with the highest bit set is a refusal by the server: the other bits count the bytes of a reason in UTF-8.
 *   FIN follows.
 *
 * @since 0.2.0
 */
import * as RpcClient from "@effect/rpc/RpcClient"
import * as RpcSerialization from "@effect/rpc/RpcSerialization"
import * as RpcServer from "@effect/rpc/RpcServer"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import type { Buffered, UnexpectedEnd } from "./ByteStream.js"
import { makeClient } from "./internal/adapter/rpc/client.js"
import { makeServer } from "./internal/adapter/rpc/server.js"
import { plainText } from "./internal/text/plainText.js"
import type { MuxStream } from "./MuxStream.js"
import { type Acceptor, type Opener, Session, StreamAcceptor, StreamOpener } from "./Session.js"
import { SessionServer } from "./SessionServer.js"
import type { ReadError, WriteError } from "./WsmuxError.js"

/**
 * @since 0.2.0
 * @category models
 */
export interface Options {
  /** Tells the streams of a protocol from others of the session: 1 to 64 visible ASCII characters. Default "rpc". */
  readonly label?: string | undefined
  /** The limit of each encoded message in bytes, sent or received, below 2 GiB. Default 16 MiB. */
  readonly maxMessageSize?: number | undefined
}

/**
 * @since 0.2.0
 * @category models
 */
export interface ServerOptions extends Options {
  /**
   * The limit of all requests that have arrived in part, in bytes. The first 16 KiB of each are free. The server
   * refuses the request that exceeds the limit. Default 64 MiB.
   */
  readonly maxUnreadSize?: number | undefined
}

/**
 * A message is larger than `maxMessageSize` of this end. The cause of the `RpcClientError` of its call.
 *
 * @since 0.2.0
 * @category errors
 */
export class MessageTooLarge extends Data.TaggedError("MessageTooLarge")<{
  readonly size: number
  readonly maxMessageSize: number
}> {
  override get message(): string {
    return `message too large: it has ${this.size} bytes, more than ${this.maxMessageSize}`
  }
}

/**
 * The server refused a call, or left its stream before the answer was complete. The cause of the `RpcClientError` of
 * the call, and the failure of the stream's handler at the server.
 *
 * @since 0.2.0
 * @category errors
 */
export class CallRefused extends Data.TaggedError("CallRefused")<{ readonly detail: string }> {
  override get message(): string {
    return `call refused: ${plainText(this.detail)}`
  }
}

/**
 * A stream of the peer does not begin with the preamble of the label.
 *
 * @since 0.2.0
 * @category errors
 */
export class WrongPreamble extends Data.TaggedError("WrongPreamble")<{ readonly label: string }> {
  override get message(): string {
    return `cannot serve a stream: it does not begin with the preamble of "${this.label}"`
  }
}

/**
 * Makes a protocol for one `RpcClient`, whose calls open streams.
 *
 * - A call fails with `RpcClientError` when its stream cannot be opened or is lost. The error of the session is its
 *   cause: after `NotConnected`, `AcceptTimeout` and `StreamRefused` the server has not seen the call.
 * - An answer that is too large or malformed fails its own call. A request that is too large is not sent.
 * - A call with `discard: true` completes at the end of its handler, as over HTTP.
 *
 * @since 0.2.0
 * @category client
 */
export const makeProtocolClient = (
  opener: Opener<unknown>,
  options: Options = {}
): Effect.Effect<RpcClient.Protocol["Type"], never, RpcSerialization.RpcSerialization | Scope.Scope> =>
  Effect.flatMap(RpcSerialization.RpcSerialization, (serialization) => {
    const { label, maxMessageSize } = withDefaults(options)
    return makeClient(opener, serialization, {
      label,
      maxMessageSize,
      tooLarge: (size) => new MessageTooLarge({ size, maxMessageSize }),
      refused: (detail) => new CallRefused({ detail })
    })
  })

/**
 * Provides the protocol of one `RpcClient`. The layers of `Session` and of `ReconnectingSession` provide its
 * `StreamOpener`.
 *
 * @example
 * ```ts
 * import * as Rpc from "@effect/rpc/Rpc"
 * import * as RpcClient from "@effect/rpc/RpcClient"
 * import * as RpcGroup from "@effect/rpc/RpcGroup"
 * import * as RpcSerialization from "@effect/rpc/RpcSerialization"
 * import * as Effect from "effect/Effect"
 * import * as Layer from "effect/Layer"
 * import * as Schema from "effect/Schema"
 * import * as MuxRpc from "effect-wsmux/MuxRpc"
 * import * as NodeTransport from "effect-wsmux/NodeTransport"
 * import * as Session from "effect-wsmux/Session"
 *
 * const Api = RpcGroup.make(
 *   Rpc.make("Greet", { payload: { name: Schema.String }, success: Schema.String })
 * )
 *
 * const Protocol = MuxRpc.layerProtocolClient().pipe(
 *   Layer.provide(Session.layerClient({ streamBufferSize: 256 * 1024 })),
 *   Layer.provide([NodeTransport.layer("ws://127.0.0.1:8080"), RpcSerialization.layerMsgPack])
 * )
 *
 * export const main = Effect.gen(function*() {
 *   const api = yield* RpcClient.make(Api)
 *   return yield* api.Greet({ name: "you" })
 * }).pipe(Effect.scoped, Effect.provide(Protocol))
 * ```
 *
 * @since 0.2.0
 * @category client
 */
export const layerProtocolClient = (
  options?: Options
): Layer.Layer<RpcClient.Protocol, never, RpcSerialization.RpcSerialization | StreamOpener> =>
  Layer.scoped(RpcClient.Protocol, Effect.flatMap(StreamOpener, (opener) => makeProtocolClient(opener, options)))

/**
 * How `Handler.handle` serves one stream. `E` and `R` are those of `otherwise`.
 *
 * @since 0.2.0
 * @category models
 */
export interface HandleOptions<E = WrongPreamble, R = never> {
  /** Headers that come before those of the call, such as those of the request for the WebSocket. */
  readonly headers?: ReadonlyArray<[string, string]> | undefined
  /** Serves a stream that does not begin with the preamble, from its first byte on. Default: fails. */
  readonly otherwise?: ((stream: Buffered<ReadError, WriteError>) => Effect.Effect<unknown, E, R>) | undefined
}

/**
 * A protocol for one `RpcServer`, and what serves the streams of any number of sessions by it.
 *
 * @since 0.2.0
 * @category models
 */
export interface Handler {
  readonly protocol: RpcServer.Protocol["Type"]
  /**
   * Serves the call of a stream, for `Session.run`. Completes when the call is over and its client has left. The
   * handlers of RPC run in the context of the caller.
   */
  readonly handle: <E = WrongPreamble, R = never>(
    stream: MuxStream,
    options?: HandleOptions<E, R>
  ) => Effect.Effect<void, E | CallRefused | UnexpectedEnd | ReadError | WriteError, R>
}

/**
 * Makes a protocol for one `RpcServer`. Each call is a client of its own to `RpcServer`, as over HTTP.
 *
 * - The server interrupts the handler of a call when the client leaves the stream or the session ends.
 * - A request waits unread in the window of its stream until an `RpcServer` runs.
 * - A server that stops gives its calls 1 s for their answers.
 *
 * @example
 * ```ts
 * import * as ByteStream from "effect-wsmux/ByteStream"
 * import * as MuxRpc from "effect-wsmux/MuxRpc"
 * import type * as Session from "effect-wsmux/Session"
 * import * as Effect from "effect/Effect"
 *
 * // calls and echoes over one session
 * export const serve = (session: Session.Session, rpc: MuxRpc.Handler) =>
 *   session.run((stream) =>
 *     rpc.handle(stream, {
 *       otherwise: (other) => Effect.zipRight(ByteStream.forEach(other, other.write), other.end)
 *     }))
 * ```
 *
 * @since 0.2.0
 * @category server
 */
export const makeHandler = (
  options: ServerOptions = {}
): Effect.Effect<Handler, never, RpcSerialization.RpcSerialization | Scope.Scope> =>
  Effect.gen(function*() {
    const { label, maxMessageSize } = withDefaults(options)
    const { handle, protocol } = yield* makeServer(yield* RpcSerialization.RpcSerialization, {
      label,
      maxMessageSize,
      maxUnreadSize: options.maxUnreadSize ?? 64 * 1024 * 1024,
      refused: (detail) => new CallRefused({ detail })
    })
    const otherwise = () => Effect.fail(new WrongPreamble({ label }))
    return {
      protocol,
      handle: <E, R>(stream: MuxStream, given: HandleOptions<E, R> = {}) =>
        handle(stream, {
          headers: given.headers,
          otherwise: given.otherwise ?? otherwise as unknown as () => Effect.Effect<unknown, E, R>
        })
    }
  })

/**
 * Makes the protocol of one `RpcServer` that serves the streams of a session.
 *
 * @since 0.2.0
 * @category server
 */
export const makeProtocolServer = (
  session: Acceptor<unknown>,
  options?: ServerOptions
): Effect.Effect<RpcServer.Protocol["Type"], never, RpcSerialization.RpcSerialization | Scope.Scope> =>
  Effect.gen(function*() {
    const { handle, protocol } = yield* makeHandler(options)
    yield* session.run((stream) => handle(stream)).pipe(
      Effect.catchAll((cause) => Effect.logDebug("cannot serve more calls: the session has ended", cause)),
      Effect.interruptible,
      Effect.forkScoped
    )
    return protocol
  })

/**
 * Provides the protocol of an `RpcServer` that serves the calls of the peer. The layers of `Session` and of
 * `ReconnectingSession` provide its `StreamAcceptor`.
 *
 * @since 0.2.0
 * @category server
 */
export const layerProtocolServer = (
  options?: ServerOptions
): Layer.Layer<RpcServer.Protocol, never, RpcSerialization.RpcSerialization | StreamAcceptor> =>
  Layer.scoped(RpcServer.Protocol, Effect.flatMap(StreamAcceptor, (session) => makeProtocolServer(session, options)))

/**
 * Provides the protocol of an `RpcServer` that serves the calls of all sessions of a `SessionServer`.
 *
 * The headers of the request for the WebSocket come before those of each call. The handlers and the middleware of RPC
 * find the client's `Session` in their context, and in it the principal.
 *
 * @example
 * ```ts
 * import * as Rpc from "@effect/rpc/Rpc"
 * import * as RpcGroup from "@effect/rpc/RpcGroup"
 * import * as RpcSerialization from "@effect/rpc/RpcSerialization"
 * import * as RpcServer from "@effect/rpc/RpcServer"
 * import * as MuxRpc from "effect-wsmux/MuxRpc"
 * import * as NodeTransportServer from "effect-wsmux/NodeTransportServer"
 * import * as SessionServer from "effect-wsmux/SessionServer"
 * import * as Effect from "effect/Effect"
 * import * as Layer from "effect/Layer"
 * import * as Schema from "effect/Schema"
 *
 * const Api = RpcGroup.make(
 *   Rpc.make("Greet", { payload: { name: Schema.String }, success: Schema.String })
 * )
 *
 * // serves every client that connects
 * export const Main = RpcServer.layer(Api).pipe(
 *   Layer.provide(Api.toLayer({ Greet: ({ name }) => Effect.succeed(`hello, ${name}`) })),
 *   Layer.provide(MuxRpc.layerProtocolSessionServer()),
 *   Layer.provide(SessionServer.layer({ streamBufferSize: 256 * 1024 })),
 *   Layer.provide([NodeTransportServer.layer({ port: 8080 }), RpcSerialization.layerMsgPack])
 * )
 * ```
 *
 * @since 0.2.0
 * @category server
 */
export const layerProtocolSessionServer = (
  options?: ServerOptions
): Layer.Layer<RpcServer.Protocol, never, RpcSerialization.RpcSerialization | SessionServer> =>
  Layer.scoped(
    RpcServer.Protocol,
    Effect.gen(function*() {
      const server = yield* SessionServer
      const { handle, protocol } = yield* makeHandler(options)
      yield* server.run((session, request) => {
        const headers = Object.entries(request.headers).flatMap(([name, value]) =>
          value === undefined ? [] : [[name, typeof value === "string" ? value : value.join(", ")] as [string, string]]
        )
        return Effect.provideService(session.run((stream) => handle(stream, { headers })), Session, session)
      }).pipe(Effect.interruptible, Effect.forkScoped)
      return protocol
    })
  )

const withDefaults = ({ label = "rpc", maxMessageSize = 16 * 1024 * 1024 }: Options) => ({ label, maxMessageSize })
