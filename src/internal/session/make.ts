import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { format } from "../../Address.js"
import type * as Api from "../../Session.js"
import type { PartialSettings } from "../../SessionConfig.js"
import { SharedLimits } from "../../SharedLimits.js"
import { Transport } from "../../Transport.js"
import type { InvalidConfiguration, OpenError, TerminalError } from "../../WsmuxError.js"
import { inspectable } from "../observe/inspectable.js"
import { makeMetricsReporter } from "../observe/metricsReporter.js"
import { makeSessionLog } from "../observe/sessionLog.js"
import { resolve } from "../settings/resolve.js"
import { validateMessageSize } from "../settings/validate.js"
import { inMicrotask } from "../sync/later.js"
import { monotonicMillis } from "../time/clock.js"
import { Feature } from "../wire/record.js"
import type { Role } from "../wire/streamIds.js"
import { acceptEach } from "./accept.js"
import { setAcceptSource } from "./acceptAny.js"
import { makeDrain } from "./drain.js"
import type { SessionInfo } from "./handle.js"
import { makeLifecycle } from "./lifecycle.js"
import { makeOpens, own } from "./open.js"
import { SessionProtocol } from "./protocol.js"
import { makeAccept, makeRun } from "./run.js"
import { setUnsafeOpen, setUnsafeRun } from "./sessionCallbacks.js"
import { makeRoundTrips, type RoundTrips, startPings } from "./timers.js"
import { setWithStream } from "./withStream.js"

export const TypeId: Api.TypeId = Symbol.for("effect-wsmux/Session") as Api.TypeId

/** Makes a session from its parts: the protocol, the transport, timers, metrics, log and scope. */
export const makeSession = (
  role: Role,
  given: PartialSettings | undefined
): Effect.Effect<Api.Session, InvalidConfiguration, Transport | Scope.Scope> =>
  Effect.gen(function*() {
    const transport = yield* Transport
    const settings = yield* resolve(given)
    yield* validateMessageSize(settings, transport)
    const clock = yield* Effect.clock
    const now = () => monotonicMillis(clock)
    const log = yield* makeSessionLog(settings.log, { role, peer: format(transport.remoteAddress) }, now)
    const protocol = new SessionProtocol({ role, settings, transport, log, limits: yield* SharedLimits, now })
    const ping = transport.ping === undefined
      ? protocol.pings.ping
      : (answered: () => void) => transport.ping?.(answered)
    const roundTrips = makeRoundTrips(ping, settings, log, now, () => protocol.scheduler.flush())
    if (transport.ping !== undefined) protocol.measureBy(roundTrips.congestion, roundTrips.tuner)
    const lifecycle = yield* makeLifecycle(protocol, transport, settings)
    const { awaitClosed, close, lifetime, setCloseCallback } = lifecycle
    const snapshot = () => ({ ...protocol.snapshot(), roundTripMillis: roundTrips.rtt.latest })
    const metrics = yield* Scope.extend(makeMetricsReporter(role, snapshot, () => protocol.terminal), lifetime)
    const pings = startPings(protocol, transport, settings, roundTrips, metrics, lifetime)
    if (transport.ping !== undefined) yield* pings
    else yield* Effect.forkIn(Effect.interruptible(whenNativePings(protocol, roundTrips, pings)), lifetime)
    if (settings.dialect === "required") {
      yield* Effect.sync(() => protocol.requireDialect()).pipe(
        Effect.delay(settings.streamAcceptDeadline),
        Effect.interruptible,
        Effect.forkIn(lifetime)
      )
    }
    log.debug("the session starts")

    const { localAddress, remoteAddress } = transport
    const info: SessionInfo = { localAddress, remoteAddress, scope: lifetime }
    const accept = makeAccept(protocol, info)
    const { open, unsafeOpen, withStream } = yield* makeOpens(protocol, settings, info)
    const session: Api.Session = {
      ...inspectable(() => {
        const { streams, ...rest } = snapshot()
        const [address, remoteAddress] = [transport.localAddress, transport.remoteAddress].map(format)
        return { _id: "effect-wsmux/Session", address, remoteAddress, streams: streams.length, ...rest }
      }),
      [TypeId]: TypeId,
      principal: undefined,
      role,
      localAddress,
      remoteAddress,
      open: open as Api.Open<OpenError>, // DuplicateStream needs a chosen id
      accept,
      accepted: Stream.repeatEffect(accept),
      run: makeRun(protocol, info),
      close: Effect.asVoid(close),
      ...makeDrain(protocol, lifecycle, metrics.report),
      isClosed: Effect.sync(() => protocol.terminal !== undefined),
      awaitClosed,
      setCloseCallback: (callback) => Effect.sync(() => setCloseCallback(callback)),
      snapshot: Effect.sync(snapshot)
    }
    setWithStream(session, withStream)
    setAcceptSource(session, { peers: protocol.peers, info })
    setUnsafeOpen<OpenError>(session, (_fork, options) => (done) =>
      unsafeOpen(options, (exit) => done(Exit.map(exit, (stream) => own(info, stream)))))
    setUnsafeRun<TerminalError>(session, (handler, done) =>
      acceptEach(
        protocol,
        (stream) =>
          handler(own(info, stream, () => protocol.peers.served(stream))),
        (cause) => done(Exit.fail(cause)),
        inMicrotask
      ))
    return session
  }).pipe(Effect.uninterruptible)

/** Runs the effect when the peer is known to answer the pings of the dialect. */
const whenNativePings = (
  protocol: SessionProtocol,
  roundTrips: RoundTrips,
  pings: Effect.Effect<void>
): Effect.Effect<void> =>
  Effect.flatMap(protocol.dialect.awaitDecided, () => {
    if (!protocol.dialect.has(Feature.ping)) return Effect.void
    protocol.measureBy(roundTrips.congestion, roundTrips.tuner)
    return pings
  })
