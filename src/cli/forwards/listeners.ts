import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Schedule from "effect/Schedule"
import type * as Net from "node:net"
import { format } from "../../Address.js"
import * as ByteStream from "../../ByteStream.js"
import type { MuxStream } from "../../MuxStream.js"
import * as TcpTunnel from "../../TcpTunnel.js"
import type { ListenFailure } from "../../WsmuxError.js"
import { forwarding } from "../forward.js"
import type { Target } from "../policy/policy.js"
import * as Monitor from "../status/monitor.js"
import * as Tcp from "../tcp.js"
import { awaitAway, awaitBack } from "./away.js"
import * as Codes from "./codes.js"
import type { Context } from "./context.js"
import * as Labels from "./labels.js"
import * as Place from "./place.js"
import * as Udp from "./udp/sockets.js"

/** The listeners of one client. Each takes a file descriptor. */
const maxListeners = 64

/**
 * Returns how `wsmux serve` serves the streams that ask for listeners. A listener lives as long as its stream: its port
 * is free again when the client ends or resets the stream, or when the session ends. Connections that run go on after
 * the client has ended the stream.
 *
 * While a session is suspended for longer, its TCP ports and paths are free, too, and connections that run wait for the
 * client. When the client is back, the listener is there again, or its stream is reset because the place is in use.
 *
 * Each second the rules judge the listener anew: they may have changed. Connections that run go on.
 */
export const make = (context: Context): (stream: MuxStream) => Effect.Effect<unknown, unknown> => {
  const { holders, isCurrent, policy, session, user, warn } = context
  const patience = Duration.toMillis(context.patience)
  let count = 0
  const refuse = (stream: MuxStream, code: Codes.Code, reason?: string) =>
    Effect.zipRight(
      stream.reset(Codes.resetOf(code, reason)),
      warn(() => `refused a listener at ${stream.metadata.bind}: ${Codes.resetOf(code, reason).reason}`)
    )
  const tell = (stream: MuxStream, address: string) => stream.write(new TextEncoder().encode(`${address}\n`))
  /** Waits until the client ends the listener. */
  const awaitEnd = (stream: MuxStream) => ByteStream.forEach(stream, () => {})
  /** Waits while there is a listener. */
  const showing = (address: string) => <A, E>(wait: Effect.Effect<A, E>) =>
    Effect.scoped(Effect.gen(function*() {
      yield* Effect.logInfo(`listening on ${address} for the client`)
      yield* Monitor.forward({ option: "-R", listen: address, target: named(session, user) })
      return yield* Effect.ensuring(wait, Effect.logInfo(`listening on ${address} no more`))
    }))
  /** A client that has started anew may find its port held by its suspended session. */
  const listenOrTake = (server: Net.Server, place: Place.Place) =>
    Effect.catchTag(
      Tcp.listen(server, place),
      "ListenFailure",
      (failure) => Effect.flatMap(holders.take(place, user), (isFree) => isFree ? Tcp.listen(server, place) : failure)
    )
  const isRefused = (located: Labels.Located) =>
    !isCurrent() || policy.decide(user, targetOf(located))._tag === "Refused"
  const awaitRefused = (located: Labels.Located) =>
    Effect.sync(() => isRefused(located)).pipe(
      Effect.repeat({ until: (is) => is, schedule: Schedule.spaced(1000) }),
      Effect.asVoid
    )
  const listenTcp = (stream: MuxStream, located: Labels.Located & { readonly name: string }) =>
    Effect.gen(function*() {
      const { name, place } = located
      const server = Tcp.makeServer(context.keepAlive)
      const { awaitEmpty } = yield* TcpTunnel.forward(session, server, {
        ...yield* forwarding,
        label: Labels.Label.forwarded,
        metadata: (connection) => ({ listener: name, peer: Tcp.peerOf(connection) })
      })
      const ending = yield* Effect.fork(awaitEnd(stream))
      const end = Fiber.join(ending)
      /** Listens until the client ends the listener or is away, or another session of the user takes the place. */
      const listenAt = (at: Place.Place) =>
        Effect.gen(function*() {
          const address = yield* listenOrTake(server, at)
          const taken = yield* holders.hold(address, user, session)
          if (at === place) yield* tell(stream, Place.format(address))
          const away = Effect.raceFirst(taken, awaitAway(session, patience))
          const over = Effect.raceFirst(away, awaitRefused(located))
          yield* Effect.raceFirst(end, over).pipe(showing(Place.format(address)))
          return { ...address }
        }).pipe(Effect.scoped)
      let at = yield* listenAt(place)
      while (ending.unsafePoll() === null && !isRefused(located)) {
        yield* Effect.raceFirst(end, awaitBack(session))
        if (ending.unsafePoll() === null && !isRefused(located)) at = yield* listenAt(at)
      }
      if (ending.unsafePoll() === null) yield* refuse(stream, Codes.Code.Forbidden)
      else yield* Effect.zipRight(end, stream.end) // tells that the place is free
      yield* awaitEmpty
    })
  const listenUdp = (stream: MuxStream, located: Labels.Located & { readonly name: string }, place: Place.Port) =>
    Effect.gen(function*() {
      const { name } = located
      const listener = yield* Udp.listen(place)
      const open = (peer: string) =>
        session.open({ label: Labels.Label.forwarded, metadata: { listener: name, peer }, early: true })
      yield* Udp.serve(listener, open, () => Effect.void)
      yield* tell(stream, listener.address)
      const refused = Effect.as(awaitRefused(located), true)
      return yield* Effect.raceFirst(Effect.as(awaitEnd(stream), false), refused).pipe(showing(listener.address))
    }).pipe(
      Effect.scoped,
      Effect.flatMap((isRefused) => isRefused ? refuse(stream, Codes.Code.Forbidden) : stream.end)
    )
  const listen = (stream: MuxStream, located: Labels.Located & { readonly name: string }) =>
    (located.protocol === "udp" && located.place._tag === "Port"
      ? listenUdp(stream, located, located.place)
      : listenTcp(stream, located))
      .pipe(
        Effect.scoped,
        Effect.catchTag("ListenFailure", (failure) => refuse(stream, Codes.Code.CannotListen, describe(failure)))
      )
  return (stream) =>
    Effect.suspend(() => {
      const asked = Labels.listenerOf(stream)
      if (Option.isNone(asked)) return refuse(stream, Codes.Code.Malformed)
      const { value } = asked
      if (isRefused(value)) return refuse(stream, Codes.Code.Forbidden)
      if (count >= maxListeners) return refuse(stream, Codes.Code.TooMany)
      count++
      return Effect.ensuring(listen(stream, value), Effect.sync(() => count--))
    })
}

/** The client that a listener forwards to. */
const named = ({ remoteAddress }: Context["session"], user: Context["user"]): string =>
  user === undefined ? format(remoteAddress) : `${format(remoteAddress)} (${user})`

const targetOf = ({ place, protocol }: Labels.Located): Target =>
  place._tag === "Path"
    ? { _tag: "ListenPath", path: place.path }
    : { _tag: "Listen", protocol: protocol === "udp" ? "udp" : "tcp", host: place.host, port: place.port }

/** The code of the system tells enough, and Node's text would repeat the address. */
const describe = ({ cause }: ListenFailure): string => {
  const { code } = (cause ?? {}) as NodeJS.ErrnoException
  const { reason = "" } = Codes.resetOf(Codes.Code.CannotListen)
  return code === undefined ? reason : `${reason} (${code})`
}
