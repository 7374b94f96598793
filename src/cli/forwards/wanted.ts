import type { ValidationError } from "@effect/cli/ValidationError"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import type * as Session from "../../Session.js"
import type { TerminalError } from "../../WsmuxError.js"
import type * as Endpoint from "../endpoint.js"
import { refuseAnonymous, usage } from "../options.js"
import * as About from "./about.js"
import { type ForwardFailure, written } from "./failure.js"
import * as Local from "./local.js"
import * as Place from "./place.js"
import * as Remote from "./remote.js"
import * as Spec from "./spec.js"

/** The options of `wsmux connect` that name forwards. */
export interface Given {
  readonly listen: Option.Option<Endpoint.Endpoint>
  readonly local: ReadonlyArray<Spec.Forward>
  readonly remote: ReadonlyArray<Spec.Forward>
  readonly dynamic: ReadonlyArray<Spec.Forward>
  readonly stdio: Option.Option<Place.Place>
  readonly remotes: ReadonlyArray<Spec.Forward | Spec.Stdio>
  readonly allowAnonymous: boolean
  readonly tcpKeepAlive: Duration.Duration
  readonly proxyProtocol: boolean
  readonly target: Option.Option<unknown>
  readonly stats: Option.Option<unknown>
}

/** The forwards of one `wsmux connect`. */
export interface Wanted {
  /** The target of standard input and output. Nothing else is forwarded then. */
  readonly stdio: Option.Option<Place.Place>
  /** Prepares a new session: checks what the server can do, and asks for the listeners there. */
  readonly prepare: (session: Session.Session) => Effect.Effect<void, ForwardFailure | TerminalError, Scope.Scope>
  /** Makes the listeners of this machine. `hurry` is called when a connection waits. */
  readonly listeners: <E>(
    tunnel: Session.Opener<E>,
    hurry: () => void
  ) => Effect.Effect<ReadonlyArray<Local.Listener>, never, Scope.Scope>
}

/** Collects the forwards that the options name. Fails without any. The scope ends what sessions serve. */
export const of = (given: Given, url: string): Effect.Effect<Wanted, ValidationError, Scope.Scope> =>
  Effect.gen(function*() {
    const forwards = [
      ...given.local,
      ...given.remote,
      ...given.dynamic,
      ...given.remotes.flatMap((remote) => remote.side === "stdio" ? [] : [remote])
    ]
    const stdio = Option.orElse(
      given.stdio,
      () => Option.fromNullable(given.remotes.flatMap((remote) => remote.side === "stdio" ? [remote.target] : [])[0])
    )
    if (Option.isSome(stdio) && (forwards.length > 0 || Option.isSome(given.listen) || Option.isSome(given.stats))) {
      return yield* usage("-W: expected no other forward and no --stats beside it, since the output is the target's")
    }
    if (Option.isSome(given.target)) return yield* usage("--target: expected --websocktunnel beside it")
    if (forwards.length === 0 && Option.isNone(given.listen) && Option.isNone(stdio)) {
      return yield* usage("--listen, -L, -R, -D, -W: expected one of them")
    }
    const here = forwards.filter(({ side }) => side === "local")
    const there = forwards.filter(({ side }) => side === "remote")
    for (const listen of Option.toArray(given.listen)) {
      yield* refuseAnonymous("--listen", listen, given.allowAnonymous, "give ")
    }
    for (const forward of here) {
      if (forward.listen._tag === "Path") continue
      yield* refuseAnonymous(Spec.optionOf(forward), forward.listen, given.allowAnonymous, "give ")
    }
    const scope = yield* Effect.scope
    const common = { keepAlive: given.tcpKeepAlive, url, proxyProtocol: given.proxyProtocol }
    const asked = [
      ...forwards.map(written),
      ...Option.toArray(Option.map(stdio, (target) => `-W ${Place.format(target)}`))
    ]
    const [first] = asked
    let isFirst = true
    return {
      stdio,
      prepare: (session) =>
        Effect.gen(function*() {
          if (first === undefined) return
          yield* About.check(session, first)
          if (there.length === 0) return
          // Connections that have ended may deliver their last bytes after the end of the session.
          yield* Effect.forkIn(Effect.ignore(Remote.serve(session, there, common)), scope)
          const ask = isFirst ? Remote.listen : Remote.listenAgain
          const asking = Effect.forEach(
            there,
            (forward, name) => ask(session, forward, String(name), common),
            { concurrency: "unbounded", discard: true }
          )
          // Other forwards of a later session need not wait for a port that is still in use.
          yield* isFirst ? asking : Effect.forkScoped(asking)
          isFirst = false
        }),
      listeners: (tunnel, hurry) => {
        const context = { ...common, tunnel, hurry }
        return Effect.all([
          ...Option.toArray(given.listen).map(({ host, port }) => Local.make(context, Place.port(host, port))),
          ...here.map(({ listen, protocol, target }) =>
            protocol === "udp" && listen._tag === "Port" && target !== "proxy" && target._tag === "Port"
              ? Local.makeUdp(context, listen, target)
              : Local.make(context, listen, target)
          )
        ])
      }
    }
  })
