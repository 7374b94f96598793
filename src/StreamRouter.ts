/**
 * Serves several protocols over one session: each label has its handler.
 *
 * The opener of a stream names the protocol by `open({ label })`. Only peers that speak the dialect send labels.
 * Streams of other peers have the empty label.
 *
 * @since 0.2.0
 */
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import type * as Scope from "effect/Scope"
import type { Address } from "./Address.js"
import { type MuxStream, ResetCode } from "./MuxStream.js"
import type { Acceptor } from "./Session.js"

/**
 * Serves a stream in a fiber and a scope of its own, as the handler of `Session.run` does.
 *
 * @since 0.2.0
 * @category models
 */
export type Handler<E = unknown, R = unknown> = (stream: MuxStream) => Effect.Effect<unknown, E, R>

/**
 * Handlers by the labels that they serve. The empty label is that of streams without one.
 *
 * @since 0.2.0
 * @category models
 */
export type Handlers = { readonly [label: string]: Handler }

/**
 * The requirements of handlers, without the scope of their streams.
 *
 * @since 0.2.0
 * @category models
 */
export type Requirements<H extends Handlers> = Exclude<Effect.Effect.Context<ReturnType<H[keyof H]>>, Scope.Scope>

/**
 * Returns the handler that gives each stream to the handler of its label, for `Session.run` or `SessionServer.run`.
 * Streams with another label go to `otherwise`. Without `otherwise`, they are reset with `ResetCode.NoHandler`.
 *
 * @since 0.2.0
 * @category constructors
 */
export const make = <H extends Handlers, R = never>(
  handlers: H,
  otherwise: Handler<unknown, R> = refuse
): (stream: MuxStream) => Effect.Effect<unknown, unknown, Effect.Effect.Context<ReturnType<H[keyof H]>> | R> => {
  // A label is text of a stranger, and must not find what every object inherits.
  const byLabel = new Map<string, Handler>(Object.entries(handlers))
  return (stream) =>
    (byLabel.get(stream.label) ?? otherwise)(stream) as Effect.Effect<
      unknown,
      unknown,
      Effect.Effect.Context<ReturnType<H[keyof H]>> | R
    >
}

/**
 * Runs the handler of its label for every stream that the peer opens. Streams with another label go to `otherwise`.
 * Without `otherwise`, they are reset with `ResetCode.NoHandler`. Failures, the end and interruption are those of
 * `Session.run`.
 *
 * @example
 * ```ts
 * import * as Effect from "effect/Effect"
 * import * as Stream from "effect/Stream"
 * import * as ByteStream from "effect-wsmux/ByteStream"
 * import * as Session from "effect-wsmux/Session"
 * import * as StreamRouter from "effect-wsmux/StreamRouter"
 *
 * export const serve = Effect.flatMap(Session.Session, (session) =>
 *   StreamRouter.run(session, {
 *     echo: (stream) => Stream.run(stream.readable, stream.writable),
 *     time: (stream) => ByteStream.writeEnd(stream, new Date(0).toISOString())
 *   }))
 * ```
 *
 * @since 0.2.0
 * @category combinators
 */
export const run = <E, H extends Handlers, R = never>(
  acceptor: Acceptor<E>,
  handlers: H,
  otherwise?: Handler<unknown, R>
): Effect.Effect<never, E, Requirements<H> | Exclude<R, Scope.Scope>> =>
  acceptor.run(make(handlers, otherwise)) as Effect.Effect<never, E, Requirements<H> | Exclude<R, Scope.Scope>>

/**
 * Makes an `Acceptor` for each label, for adapters that serve a whole session: `MuxHttp.makeServer`,
 * `MuxSocket.makeServer`, `TcpTunnel.serve`, `NodeDuplex.serve`. Streams with another label go to `otherwise`, or are
 * reset with `ResetCode.NoHandler`.
 *
 * The scope serves the session. A stream waits until its acceptor runs a handler. The run of an acceptor fails when the
 * session has ended and all handlers have returned. Interrupting a run interrupts its handlers.
 *
 * @example
 * ```ts
 * import * as Effect from "effect/Effect"
 * import * as MuxHttp from "effect-wsmux/MuxHttp"
 * import * as MuxSocket from "effect-wsmux/MuxSocket"
 * import * as Session from "effect-wsmux/Session"
 * import * as StreamRouter from "effect-wsmux/StreamRouter"
 *
 * // an HTTP server and a SocketServer for RPC in one session, beside streams of the program's own
 * export const serve = Effect.gen(function*() {
 *   const session = yield* Session.Session
 *   const { http, rpc } = yield* StreamRouter.acceptors(session, ["http", "rpc"], (stream) => stream.end)
 *   return { http: yield* MuxHttp.makeServer(http), rpc: MuxSocket.makeServer(rpc) }
 * })
 * ```
 *
 * @since 0.2.0
 * @category constructors
 */
export const acceptors = <E, L extends string, R = never>(
  session: Acceptor<E>,
  labels: ReadonlyArray<L>,
  otherwise?: Handler<unknown, R>
): Effect.Effect<{ readonly [K in L]: Acceptor<E> }, never, Exclude<R, Scope.Scope> | Scope.Scope> =>
  Effect.gen(function*() {
    const ended = yield* Deferred.make<never, E>()
    const routes = labels.map((label) => [label, makeRoute(session.localAddress, Deferred.await(ended))] as const)
    const handlers = Object.fromEntries(routes.map(([label, route]) => [label, route.handler]))
    yield* Effect.forkScoped(Effect.intoDeferred(run(session, handlers, otherwise), ended))
    return Object.fromEntries(routes.map(([label, route]) => [label, route.acceptor])) as {
      readonly [K in L]: Acceptor<E>
    }
  })

/** One label: the handler of its streams, which passes them to the run of its acceptor. */
const makeRoute = <E>(localAddress: Address | undefined, ended: Effect.Effect<never, E>) => {
  const fibers = new Set<Fiber.RuntimeFiber<unknown, unknown>>()
  const isServed = Effect.unsafeMakeLatch(false)
  let current: Handler<unknown, never> | undefined
  const handler: Handler<unknown, never> = (stream) =>
    Effect.flatMap(isServed.await, () => {
      if (current === undefined) return handler(stream) // the run has ended before this fiber's turn
      const serve = current
      return Effect.withFiberRuntime<unknown, unknown>((fiber) => {
        fibers.add(fiber)
        return Effect.ensuring(serve(stream), Effect.sync(() => fibers.delete(fiber)))
      })
    })
  const acceptor: Acceptor<E> = {
    localAddress,
    run: <E2, R>(serve: Handler<E2, R>) =>
      Effect.contextWithEffect((context: Context.Context<Exclude<R, Scope.Scope>>) =>
        Effect.acquireUseRelease(
          Effect.suspend(() => {
            // The fiber of each stream provides the scope of the stream.
            current = (stream) =>
              Effect.mapInputContext(
                serve(stream),
                (own: Context.Context<never>) => Context.merge(context, own) as Context.Context<R>
              )
            return isServed.open
          }),
          () => ended,
          () =>
            Effect.suspend(() => {
              current = undefined
              isServed.unsafeClose()
              return Fiber.interruptAll(fibers)
            })
        )
      )
  }
  return { acceptor, handler }
}

const refuse: Handler<never, never> = (stream) =>
  stream.reset({ code: ResetCode.NoHandler, reason: "no handler for the label" })
