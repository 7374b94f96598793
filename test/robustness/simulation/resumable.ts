import * as MemoryTransport from "effect-wsmux/MemoryTransport"
import * as ResumableTransport from "effect-wsmux/ResumableTransport"
import * as ResumeServer from "effect-wsmux/ResumeServer"
import type { Transport } from "effect-wsmux/Transport"
import { ConnectFailure, ResumeFailure } from "effect-wsmux/WsmuxError"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"
import type * as Scope from "effect/Scope"
import { abandonedCode } from "../../../src/internal/transport/closeCode.js"
import type { Random } from "../../support/random.js"
import { encodeMessage, hello } from "../../support/records.js"
import { withParts } from "../../support/withParts.js"

/** Two joined transports. */
export interface Pair extends MemoryTransport.Pair {
  /** Whether the sessions may end with a loss: it came before the client was ready, or they speak plain wsmux. */
  readonly mayEnd: () => boolean
  readonly cuts: () => number
  readonly resumed: () => number
}

export type MakePair = (options: MemoryTransport.Options) => Effect.Effect<Pair, never, Scope.Scope>

/** Pairs whose sessions end with their connection. */
export const makePlainPair: MakePair = (options) =>
  Effect.map(
    MemoryTransport.makePair(options),
    (pair) => ({ ...pair, mayEnd: () => true, cuts: () => 0, resumed: () => 0 })
  )

/** Makes pairs that survive the loss of their connection, which comes by cuts and by ambushes behind some message. */
export const makeResumablePairs = (random: Random): Effect.Effect<MakePair, never, Scope.Scope> =>
  Effect.map(ResumeServer.make<undefined>(), (resuming) => (options) =>
    Effect.gen(function*() {
      const scope = yield* Effect.scope
      const carriers: Array<MemoryTransport.Pair> = []
      const given = yield* Deferred.make<Transport>()
      const over = yield* Deferred.make<void>()
      const tells = random.chance(0.5)
      const ambushes = random.pick([0, 0.3, 0.8])
      const failures = random.pick([0, 0.3])
      const delay = random.pick([0, 0, 300])
      let cuts = 0
      let resumed = 0
      let mayEnd = false
      let isHeard = false
      let ends: ReadonlyArray<Transport> = []

      const stateOf = (end: Transport | undefined) => end?.resumption?.()?.state
      /** A client that does not know whether its server can resume gives the session up, also when that is silent. */
      const harm = () => {
        mayEnd ||= ends.length < 2 || stateOf(ends[0]) === undefined
      }
      /** Loses the carrier, by the end of TCP or by close frames from between. In a handshake any code is a loss. */
      const cut = (carrier: MemoryTransport.Pair) =>
        Effect.suspend(() => {
          harm()
          if (ends.some((end) => stateOf(end) === "connected")) cuts++
          if (random.chance(0.6)) return carrier.cut
          const isResuming = ends.length === 2 && ends.every((end) => stateOf(end) === "suspended")
          return carrier.close(isResuming ? random.pick([1000, 1001, 1005, 1011]) : abandonedCode, "from between")
        })
      /** Loses the carrier behind a number of messages. */
      const ambush = (carrier: MemoryTransport.Pair) => {
        let left = cuts < maxAmbushes && random.chance(ambushes) ? random.pick([1, random.int(1, 30)]) : Infinity
        const watch = (end: Transport): Transport =>
          withParts(end, {
            listen: (listener) =>
              end.listen({
                onMessage: (message) => {
                  isHeard ||= end === carrier.server
                  listener.onMessage(message)
                  if (--left === 0) Effect.runSync(cut(carrier))
                },
                onText: () => listener.onText(),
                onWritable: () => listener.onWritable(),
                onClose: (info) => listener.onClose(info)
              })
          })
        return { client: watch(carrier.client), server: watch(carrier.server) }
      }
      /** A page begins a session of its own before the server knows better. */
      const stray = (transport: Transport) =>
        Effect.async<void>((resume) => {
          transport.listen({
            onMessage: () => {},
            onText: () => {},
            onWritable: () => {},
            onClose: () => resume(Effect.void)
          })
          transport.send([encodeMessage(hello({ features: 15 }))])
        })
      const serve = (transport: Transport, isFirst: boolean) => {
        const headers: Record<string, string> = isFirst || !tells ? {} : { "wsmux-resume": "1" }
        const handler = (transport: Transport) =>
          isFirst ? Effect.zipRight(Deferred.succeed(given, transport), Deferred.await(over)) : stray(transport)
        return resuming.accept(transport, { principal: undefined, request: { url: "/", headers } }, handler).pipe(
          Effect.ensuring(transport.close(1006, "", 0)),
          Effect.forkIn(scope)
        )
      }
      const dial = Effect.gen(function*() {
        const isFirst = carriers.length === 0
        if (!isFirst && random.chance(failures)) {
          return yield* new ConnectFailure({ url: "simulated", reason: "Unreachable" })
        }
        yield* Effect.sleep(isFirst ? 0 : random.int(0, delay))
        const carrier = yield* MemoryTransport.makePair(options)
        carriers.push(carrier)
        const watched = ambush(carrier)
        yield* serve(watched.server, isFirst)
        return watched.client
      })
      const client = yield* Effect.orDie(ResumableTransport.connect(dial, { schedule: Schedule.spaced(200) }))
      const server = yield* Deferred.await(given)
      ends = [client, server]
      const last = () => carriers[carriers.length - 1]!
      return {
        client,
        server: withParts(server, {
          listen: (listener) =>
            server.listen({
              onMessage: (message) => listener.onMessage(message),
              onText: () => listener.onText(),
              onWritable: () => listener.onWritable(),
              onRenewed: () => {
                resumed++
                listener.onRenewed?.()
              },
              onClose: (info) => {
                // it waits a shorter time for a client that was never heard
                const isExpired = info.cause instanceof ResumeFailure && info.cause.reason === "GraceExpired"
                mayEnd ||= isExpired && !isHeard
                Deferred.unsafeDone(over, Effect.void)
                listener.onClose(info)
              }
            })
        }),
        cut: Effect.suspend(() => cut(last())),
        stall: (from) =>
          Effect.suspend(() => {
            harm()
            return last().stall(from)
          }),
        resume: (from) => Effect.suspend(() => last().resume(from)),
        close: (code, reason) =>
          Effect.suspend(() => {
            if (code === 1006) harm()
            else mayEnd = true
            return last().close(code, reason)
          }),
        mayEnd: () => mayEnd,
        cuts: () => cuts,
        resumed: () => resumed
      }
    }))

const maxAmbushes = 40
