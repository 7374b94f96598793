import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as DefaultServices from "effect/DefaultServices"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import type * as FiberId from "effect/FiberId"
import * as FiberRef from "effect/FiberRef"
import * as FiberRefs from "effect/FiberRefs"
import * as FiberSet from "effect/FiberSet"
import * as HashMap from "effect/HashMap"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as Tracer from "effect/Tracer"
import { format } from "../../Address.js"
import type { MuxStream } from "../../MuxStream.js"
import type { Open, OpenOptions, Session, TypeId } from "../../Session.js"
import type { PartialSettings, Settings } from "../../SessionConfig.js"
import { SharedLimits } from "../../SharedLimits.js"
import { Transport } from "../../Transport.js"
import {
  AcceptTimeout,
  type InvalidConfiguration,
  type OpenError,
  SessionClosed,
  type TerminalError,
  TransportFailure
} from "../../WsmuxError.js"
import { inspectable } from "../observe/inspectable.js"
import { makeMetricsReporter } from "../observe/metricsReporter.js"
import { makeSessionLog } from "../observe/sessionLog.js"
import { WindowTuner } from "../recv/windowTuner.js"
import { CongestionController } from "../send/congestion.js"
import { resolve } from "../settings/resolve.js"
import { validateMessageSize } from "../settings/validate.js"
import { Notify } from "../sync/notify.js"
import { monotonicMillis } from "../time/clock.js"
import { keepAlive, toSchedule } from "../time/keepAlive.js"
import { makeOpenTimeout } from "../time/openTimeout.js"
import { RttEstimator } from "../time/rtt.js"
import { unlessClockStandsStill } from "../time/standstill.js"
import type { Role } from "../wire/streamIds.js"
import { MuxStreamHandle, type SessionInfo } from "./handle.js"
import { PendingOpen } from "./openLimiter.js"
import { SessionProtocol } from "./protocol.js"
import type { StreamProtocol } from "./streamProtocol.js"

const typeId: TypeId = Symbol.for("effect-wsmux/Session") as TypeId

/** Makes a session of the state machine: gives it a transport, a keep-alive, a closing routine and a scope. */
export const makeSession = (
  role: Role,
  given: PartialSettings | undefined
): Effect.Effect<Session, InvalidConfiguration, Transport | Scope.Scope> =>
  Effect.gen(function*() {
    const transport = yield* Transport
    const settings = yield* resolve(given)
    yield* validateMessageSize(settings, transport)
    const clock = yield* Effect.clock
    const now = () => monotonicMillis(clock)
    const journal = yield* makeSessionLog(settings.log, { role, peer: format(transport.remoteAddress) }, now)
    const rtt = transport.ping && new RttEstimator({ ping: (answered) => transport.ping?.(answered), now })
    const tuner = rtt && makeTuner(settings, rtt)
    const fullFlights = new Notify()
    const flight = rtt && new CongestionController(rtt, {
      onBlind: () =>
        journal.fault("Warning", "the peer answers no ping: the session no longer limits the bytes in flight"),
      onFull: () => fullFlights.notifyOne(),
      onRoom: () => state.scheduler.flush()
    })
    const limits = yield* SharedLimits
    const state: SessionProtocol = new SessionProtocol({
      role,
      settings,
      transport,
      log: journal,
      limits,
      tuner,
      congestion: flight,
      now
    })
    const lifetime = yield* Scope.make()
    const closed = yield* Deferred.make<TerminalError>()
    let closeCallback = settings.closeCallback

    // The one closing routine. What is synchronous of it has happened in `terminate`, when the error was set.
    const closing = Effect.gen(function*() {
      const error = yield* Deferred.await(state.terminated)
      journal.debug("the session ends", { cause: error.message })
      yield* Scope.close(lifetime, Exit.void)
      yield* state.scheduler.awaitEmpty.pipe(
        Effect.interruptible,
        Effect.timeoutOption(settings.flushTimeout),
        unlessClockStandsStill
      )
      const [code, reason] = closeFrame(error)
      yield* unlessClockStandsStill(transport.close(code, reason, settings.closeTimeout))
      yield* Deferred.succeed(closed, error)
      if (closeCallback !== undefined) {
        const callback = closeCallback
        yield* Effect.suspend(() => callback(error)).pipe(
          Effect.catchAllCause((cause) => Effect.logError("the close callback of a session failed", cause))
        )
      }
    })
    transport.listen(state) // before anything of this session is in the scope: a transport that has one already refuses
    const closer = yield* Effect.forkScoped(Effect.uninterruptible(closing))
    const close = Effect.suspend(() => {
      state.terminate(new SessionClosed({ by: "local", code: 1000, reason: "" }))
      return Deferred.await(closed)
    })
    yield* Effect.addFinalizer(() => Effect.zipRight(close, Fiber.await(closer)))

    const meter = yield* Scope.extend(makeMetricsReporter(role, () => state.snapshot(), () => state.terminal), lifetime)
    const schedule = toSchedule(settings.keepAliveInterval)
    if (rtt !== undefined && schedule !== undefined) {
      yield* keepAlive({ transport, rtt, schedule, onTick: meter.report, onRtt: meter.roundTrip }).pipe(
        Effect.catchAllDefect((cause) =>
          Effect.fail(new TransportFailure({ code: 1006, reason: "cannot ping", cause }))
        ),
        Effect.catchAll((error) => Effect.sync(() => state.terminate(error))),
        Effect.interruptible,
        Effect.forkIn(lifetime)
      )
    } else if (tuner !== undefined) {
      rtt?.refresh()
    }
    if (flight !== undefined) yield* Effect.forkIn(watchFlight(flight, fullFlights), lifetime)
    journal.debug("the session starts")

    const home: SessionInfo = {
      localAddress: transport.localAddress,
      remoteAddress: transport.remoteAddress,
      scope: lifetime
    }
    const give = (stream: StreamProtocol, scope: Scope.Scope): Effect.Effect<MuxStream> => {
      const handle = new MuxStreamHandle(stream, home)
      return Effect.as(Scope.addFinalizerExit(scope, () => MuxStreamHandle.release(handle)), handle)
    }
    const own = (stream: StreamProtocol) => Effect.flatMap(Effect.scope, (scope) => give(stream, scope))

    const deadline = Duration.decode(settings.streamAcceptDeadline)
    const acceptTimeout = new AcceptTimeout({ afterMillis: Duration.toMillis(deadline) })
    const acceptDeadline = yield* makeOpenTimeout(
      deadline,
      (opening: PendingOpen) => state.expireOpen(opening, acceptTimeout)
    ).pipe(Scope.extend(lifetime))

    const open = (options?: OpenOptions) =>
      spanned(
        "Session.open",
        Effect.uninterruptibleMask((restore) => {
          const opening = new PendingOpen(options?.id)
          state.open(opening)
          if (!opening.settled) acceptDeadline.watch(opening)
          return Effect.matchCauseEffect(restore(opening.await), {
            onFailure: (cause) => {
              acceptDeadline.leave(opening)
              state.cancelOpen(opening)
              return Effect.failCause(cause)
            },
            onSuccess: (stream) => {
              acceptDeadline.leave(opening)
              return own(stream)
            }
          })
        })
      )

    const awaitAccepted = (restore: <A, E>(effect: Effect.Effect<A, E>) => Effect.Effect<A, E>) =>
      spanned("Session.accept", state.awaitAccepted(restore))
    const accept = Effect.uninterruptibleMask((restore) => Effect.flatMap(awaitAccepted(restore), own))

    const run = <E, R>(handler: (stream: MuxStream) => Effect.Effect<unknown, E, R>) =>
      Effect.scopedWith((scope) =>
        Effect.uninterruptibleMask((restore) =>
          Effect.gen(function*() {
            const handlers = yield* Scope.extend(FiberSet.make<void>(), scope)
            const fork = yield* FiberSet.runtime(handlers)<Exclude<R, Scope.Scope>>()
            // What is forked starts uninterruptible, so a stream is always left again.
            const serve = (stream: StreamProtocol) =>
              Effect.flatMap(Scope.make(), (streamScope) =>
                Effect.map(give(stream, streamScope), (handle) => {
                  stream.isServed = true
                  const work = restore(Effect.suspend(() => handler(handle))).pipe(
                    Effect.onExit((exit) => Scope.close(streamScope, exit)),
                    Effect.catchAllCause((cause) =>
                      Cause.isInterruptedOnly(cause)
                        ? Effect.void
                        : Effect.logDebug("the handler of a stream failed", cause)
                    ),
                    Effect.ensuring(Effect.sync(() => state.served(stream)))
                  )
                  fork(work as Effect.Effect<void, never, Exclude<R, Scope.Scope>>, {
                    updateRefs: handlerRefs(stream.id, streamScope)
                  })
                }))
            // Handlers may still be reading what had arrived when the session ended, so they end by themselves.
            return yield* Effect.forever(Effect.flatMap(awaitAccepted(restore), serve)).pipe(
              Effect.onError((cause) =>
                Cause.isInterrupted(cause) ? Effect.void : Effect.interruptible(FiberSet.awaitEmpty(handlers))
              )
            )
          })
        )
      )

    const session: Session = {
      ...inspectable(() => {
        const { streams, ...rest } = state.snapshot()
        const [address, remoteAddress] = [transport.localAddress, transport.remoteAddress].map(format)
        return { _id: "effect-wsmux/Session", address, remoteAddress, streams: streams.length, ...rest }
      }),
      [typeId]: typeId,
      principal: undefined,
      role,
      localAddress: transport.localAddress,
      remoteAddress: transport.remoteAddress,
      open: open as Open<OpenError>, // fails with DuplicateStream for a chosen id only
      accept,
      accepted: Stream.repeatEffect(accept),
      run,
      close: Effect.asVoid(close),
      isClosed: Effect.sync(() => state.terminal !== undefined),
      awaitClosed: Deferred.await(closed),
      setCloseCallback: (callback) =>
        Effect.sync(() => {
          closeCallback = callback
        }),
      snapshot: Effect.sync(() => state.snapshot())
    }
    return session
  }).pipe(Effect.uninterruptible)

/**
 * Nothing inside the span asks for it, so it is nobody's parent; and where there is only Effect's own tracer, which
 * keeps no spans, nobody ever would: to make one costs more than the rest of an open.
 */
const spanned = <A, E, R>(name: string, effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  Effect.tracerWith((tracer) =>
    tracer === ownTracer ? effect : Effect.useSpan(name, { captureStackTrace: false }, () => effect)
  )

const ownTracer = Context.get(DefaultServices.liveServices, Tracer.Tracer)

/** What a handler's fiber starts with: its scope, and the stream that its log lines are about. */
const handlerRefs = (streamId: number, scope: Scope.Scope) => (refs: FiberRefs.FiberRefs, fiberId: FiberId.Runtime) => {
  const context = Context.add(FiberRefs.getOrDefault(refs, FiberRef.currentContext), Scope.Scope, scope)
  const about = HashMap.set(
    FiberRefs.getOrDefault(refs, FiberRef.currentLogAnnotations),
    "streamId",
    streamId as unknown
  )
  return FiberRefs.updateManyAs(refs, {
    entries: [
      [FiberRef.currentContext, [[fiberId, context]]],
      [FiberRef.currentLogAnnotations, [[fiberId, about]]]
    ]
  })
}

/** Makes a tuner where the settings let windows grow. */
const makeTuner = (settings: Settings, rtt: RttEstimator): WindowTuner | undefined => {
  const { maxStreamBufferSize: maxWindow, maxWindowGrowth: budget, streamBufferSize } = settings
  return maxWindow === undefined || maxWindow <= streamBufferSize
    ? undefined
    : new WindowTuner({ maxWindow, budget, rtt })
}

/** Looks after flights that wait for an answer: a Go peer drops a pong that it cannot write within a second. */
const watchFlight = (flight: CongestionController, full: Notify): Effect.Effect<never> =>
  full.waitUntil(() => {
    const overdue = flight.overdueProbe
    return overdue && Effect.succeed(overdue)
  }).pipe(
    Effect.flatMap((probe) =>
      Effect.delay(Effect.sync(() => flight.overdueProbe === probe && flight.onProbeTimeout()), overdueAfter)
    ),
    Effect.forever,
    Effect.interruptible
  )

/** Longer than any network takes that is worth waiting for. */
const overdueAfter = Duration.seconds(5)

/** The close frame that tells the peer why; a reason holds at most 123 bytes, and ours are ASCII. */
const closeFrame = (error: TerminalError): readonly [code: number, reason: string] => {
  switch (error._tag) {
    case "SessionClosed":
      return error.by === "local" ? [error.code, error.reason] : [1000, ""]
    case "MalformedFrame":
    case "UnexpectedText":
    case "WrongParity":
    case "PeerFlood":
      return [1008, error.message.slice(0, 123)]
    case "KeepAliveExpired":
    case "TransportFailure":
      return [1001, ""]
  }
}
