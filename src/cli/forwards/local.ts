import type * as Cause from "effect/Cause"
import * as Console from "effect/Console"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Predicate from "effect/Predicate"
import * as Runtime from "effect/Runtime"
import type * as Scope from "effect/Scope"
import type * as Net from "node:net"
import type * as Session from "../../Session.js"
import * as TcpTunnel from "../../TcpTunnel.js"
import type { ListenFailure } from "../../WsmuxError.js"
import { forwarding } from "../forward.js"
import * as RareWarning from "../rareWarning.js"
import * as Monitor from "../status/monitor.js"
import * as Tcp from "../tcp.js"
import * as Codes from "./codes.js"
import * as Labels from "./labels.js"
import * as Place from "./place.js"
import { Associated } from "./proxy/associate.js"
import { ProxyRefusal } from "./proxy/negotiate.js"
import { throughSession } from "./proxy/reach.js"
import * as Udp from "./udp/sockets.js"

/** What listeners of one `wsmux connect` share. */
export interface Context<E> {
  readonly tunnel: Session.Opener<E>
  readonly keepAlive: Duration.Duration
  /** The address of the server that is dialled now, for output. */
  readonly url: () => string
  /** Brings the next attempt to reach the server forward, because a connection waits. */
  readonly hurry: () => void
}

/** A listener that is not listening yet. */
export interface Listener {
  /** Completes once no connection is left. */
  readonly awaitEmpty: Effect.Effect<void>
  /**
   * Listens, prints the address, and completes with the address. The scope ends the listening, and with it datagrams,
   * but no connection.
   */
  readonly listen: Effect.Effect<string, ListenFailure, Scope.Scope>
}

/**
 * Makes a listener. Without a target its connections go to that of `wsmux serve`. As a proxy they go where each client
 * asks.
 */
export const make = <E>(
  context: Context<E>,
  place: Place.Place,
  target?: Place.Place | "proxy"
): Effect.Effect<Listener, never, Scope.Scope> =>
  Effect.gen(function*() {
    const server = Tcp.makeServer(context.keepAlive)
    const isFixed = target !== undefined && target !== "proxy"
    const { remember, ...told } = yield* tellRefusals(isFixed ? ` to ${Place.format(target)}` : "")
    const { awaitEmpty } = yield* TcpTunnel.forward(context.tunnel, server, {
      ...told,
      ...(target === "proxy" ? { open: throughSession(context.tunnel, tellDatagrams(RareWarning.make())) } : {}),
      ...(isFixed ? { ...Labels.toTarget(Labels.located("tcp", target)), early: true } : {}),
      onConnection: (connection) => {
        if (target !== undefined) remember(connection)
        context.hurry()
      }
    })
    const destination = target === undefined
      ? "forwarding"
      : `forwarding to ${target === "proxy" ? "where clients ask" : Place.format(target)}`
    return {
      awaitEmpty,
      listen: Effect.gen(function*() {
        const address = Place.format(yield* Tcp.listen(server, place))
        yield* Monitor.forward({ ...shown(target), listen: address })
        yield* Console.log(`listening on ${address}, ${destination} through ${context.url()}`)
        return address
      })
    }
  })

/** The option and the target of a listener, for the status page. */
const shown = (target: Place.Place | "proxy" | undefined) =>
  target === undefined
    ? { option: "--listen", target: "--target of the server" }
    : target === "proxy"
    ? { option: "-D", target: "where clients ask" }
    : { option: "-L", target: Place.format(target) }

/** Makes a listener for datagrams. Each address that sends to it has a stream of its own. */
export const makeUdp = <E>(
  { hurry, tunnel, url }: Context<E>,
  place: Place.Port,
  target: Place.Port
): Effect.Effect<Listener> =>
  Effect.sync(() => {
    const warn = RareWarning.make()
    const name = `udp:${Place.format(target)}`
    const open = () => {
      hurry()
      return tunnel.open({ ...Labels.toTarget(Labels.located("udp", target)), early: true })
    }
    const tell = tellDatagrams(warn)
    const onEnd = (peer: string, exit: Exit.Exit<void, unknown>) => tell(peer, Place.format(target), exit)
    const listen = Effect.gen(function*() {
      const listener = yield* Udp.listen(place)
      yield* Udp.serve(listener, open, onEnd)
      yield* Monitor.forward({ option: "-L", listen: `udp:${listener.address}`, target: name })
      yield* Console.log(`listening on udp:${listener.address}, forwarding to ${name} through ${url()}`)
      return `udp:${listener.address}`
    })
    return { awaitEmpty: Effect.void, listen }
  })

/** Returns what logs why datagrams are not forwarded. */
const tellDatagrams =
  (warn: ReturnType<typeof RareWarning.make>) =>
  (peer: string, target: string, exit: Exit.Exit<void, unknown>): Effect.Effect<void> => {
    if (Exit.isSuccess(exit) || exit.cause._tag !== "Fail" || isLocalClose(exit.cause.error)) return Effect.void
    const { cause } = exit
    return warn(() => `cannot forward ${peer} to udp:${target}: ${describe(cause, cause.error)}`)
  }

/**
 * The options that log why connections are not forwarded: at most one warning a second. `where` follows the address in
 * the message.
 */
export const tellRefusals = (where: string) =>
  Effect.gen(function*() {
    const options = yield* forwarding
    const fork = Runtime.runFork(yield* Effect.runtime<never>())
    const warn = RareWarning.make()
    const peers = new WeakMap<Net.Socket, string>()
    const tell = (connection: Net.Socket, detail: string, place = where) => {
      const peer = peers.get(connection) ?? Tcp.peerOf(connection)
      fork(warn(() => `cannot forward ${peer}${place}: ${detail}`))
    }
    return {
      ...options,
      /** Keeps the address of a client that may have gone when it is refused. */
      remember: (connection: Net.Socket) => void peers.set(connection, Tcp.peerOf(connection)),
      onRefused: (connection: Net.Socket, cause: Cause.Cause<unknown>) => {
        if (cause._tag !== "Fail" || isLocalClose(cause.error) || cause.error instanceof Associated) return
        const { error } = cause
        if (!(error instanceof ProxyRefusal)) return tell(connection, describe(cause, error))
        tell(connection, error.reason, error.target && ` to ${Place.format(error.target)}`)
      },
      onJoined: (...[stream, connection]: Parameters<NonNullable<TcpTunnel.Options["onJoined"]>>) => {
        const onEnd = options.onJoined?.(stream, connection)
        return (exit: Exit.Exit<void, TcpTunnel.ForwardError>) => {
          onEnd?.(exit)
          const refusal = Exit.isFailure(exit) ? Codes.refusalOf(exit.cause) : Option.none()
          if (Option.isSome(refusal) && Codes.tellsWhy(refusal.value)) tell(connection, refusal.value.reason)
        }
      }
    }
  })

const describe = (cause: Cause.Cause<unknown>, error: unknown): string => {
  const refusal = Codes.refusalOf(cause)
  if (Option.isSome(refusal) && Codes.isOfCommand(refusal.value)) return refusal.value.reason
  const message = error instanceof Error ? error.message : String(error)
  const isOfGo = Predicate.isTagged(error, "StreamRefused") && Option.isNone(refusal)
  return isOfGo ? `${message}; its log tells why` : message // Go's wire carries no reason
}

/** Whether this command has closed the session. */
const isLocalClose = (error: unknown): boolean =>
  (Predicate.isTagged(error, "NotConnected") && "reason" in error && error.reason === "Closed") ||
  (Predicate.isTagged(error, "SessionClosed") && "by" in error && error.by === "local")
