import type { ValidationError } from "@effect/cli/ValidationError"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import type * as Session from "../../Session.js"
import type { ListenFailure, TerminalError } from "../../WsmuxError.js"
import type * as Endpoint from "../endpoint.js"
import { refuseAnonymous, usage } from "../options.js"
import { messageOf } from "../plainText.js"
import { type ForwardFailure, written } from "./failure.js"
import * as Local from "./local.js"
import { Locals, type Make } from "./locals.js"
import * as Place from "./place.js"
import { Remotes } from "./remotes.js"
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
  /** The listeners of this machine. `hurry` is called when a connection waits. */
  readonly listeners: <E>(tunnel: Session.Opener<E>, hurry: () => void) => Effect.Effect<Listeners, never, Scope.Scope>
}

/** The listeners of this machine. */
export interface Listeners {
  /** Begins to listen. */
  readonly listen: Effect.Effect<void, ListenFailure>
  /** Completes once no connection is left. */
  readonly awaitEmpty: Effect.Effect<void>
  /**
   * Takes other forwards in place of those that there are, here and at the server: ends the listeners that are left
   * out, then begins further ones, and leaves all others alone. A listener that cannot begin is logged. Fails, and
   * changes nothing, when the options have a fault.
   */
  readonly change: (given: Given) => Effect.Effect<void, ValidationError>
}

/** The forwards that options name. */
interface Asked {
  readonly stdio: Option.Option<Place.Place>
  readonly listen: ReadonlyArray<Endpoint.Endpoint>
  readonly here: ReadonlyArray<Spec.Forward>
  readonly there: ReadonlyArray<Spec.Forward>
  /** The first one as it is written, where it needs the dialect. */
  readonly first: string | undefined
}

/** Collects the forwards that the options name. Fails without any. */
const collect = (given: Given): Effect.Effect<Asked, ValidationError> =>
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
    const twice = repeated([
      ...Option.toArray(given.listen).map(({ host, port }) => ({
        option: "--listen",
        at: `local tcp ${Place.formatPort(host, port)}`,
        place: Place.port(host, port)
      })),
      ...forwards.map((forward) => ({
        option: Spec.optionOf(forward),
        at: `${forward.side} ${forward.protocol} ${Place.format(forward.listen)}`,
        place: forward.listen
      }))
    ])
    if (twice !== undefined) return yield* usage(twice)
    const [first] = [
      ...forwards.map(written),
      ...Option.toArray(Option.map(stdio, (target) => `-W ${Place.format(target)}`))
    ]
    return { stdio, listen: Option.toArray(given.listen), here, there, first }
  })

/** Returns the fault of the first listener that another one has already. Port 0 takes a free port each time. */
const repeated = (
  listeners: ReadonlyArray<{ readonly option: string; readonly at: string; readonly place: Place.Place }>
): string | undefined => {
  const options = new Map<string, string>()
  for (const { at, option, place } of listeners) {
    if (place._tag === "Port" && place.port === 0) continue
    const other = options.get(at)
    if (other === undefined) options.set(at, option)
    else return `${other === option ? option : `${other}, ${option}`}: ${Place.format(place)} is given twice`
  }
  return undefined
}

/** Returns items by their texts. A text that repeats gets a number, so that none is lost. */
const keyed = <A>(items: ReadonlyArray<A>, textOf: (item: A) => string): ReadonlyMap<string, A> => {
  const found = new Map<string, A>()
  for (const item of items) {
    const text = textOf(item)
    let key = text
    for (let i = 2; found.has(key); i++) key = `${text} (${i})`
    found.set(key, item)
  }
  return found
}

/** Collects the forwards that the options name. Fails without any. The scope ends what sessions serve. */
export const of = (given: Given, url: () => string): Effect.Effect<Wanted, ValidationError, Scope.Scope> =>
  Effect.gen(function*() {
    let asked = yield* collect(given)
    const scope = yield* Effect.scope
    const common = { keepAlive: given.tcpKeepAlive, url, proxyProtocol: given.proxyProtocol }
    const remotes = new Remotes(scope, common)
    for (const [key, forward] of keyed(asked.there, written)) remotes.want(key, forward)
    return {
      stdio: asked.stdio,
      prepare: (session) => Effect.suspend(() => remotes.prepare(session, asked.first)),
      listeners: (tunnel, hurry) =>
        Effect.map(Effect.scope, (scope): Listeners => {
          const locals = new Locals(scope)
          const makes = makesOf({ ...common, tunnel, hurry })
          return {
            listen: Effect.forEach(makes(asked), ([name, make]) => locals.add(name, make), { discard: true }),
            awaitEmpty: locals.awaitEmpty,
            change: (given) =>
              Effect.gen(function*() {
                const next = yield* collect(given)
                if (Option.isSome(next.stdio)) return yield* usage("-W: the command has begun without it")
                asked = next
                const here = makes(next)
                const there = keyed(next.there, written)
                const gone = [
                  ...locals.names.filter((name) => !here.has(name)).map((name) => locals.remove(name)),
                  ...remotes.keys.filter((key) => !there.has(key)).map((key) => remotes.remove(key))
                ]
                yield* Effect.all(gone, { discard: true })
                const [hasName, hasKey] = [new Set(locals.names), new Set(remotes.keys)]
                for (const [name, make] of here) {
                  if (!hasName.has(name)) yield* orWarn(locals.add(name, make))
                }
                for (const [key, forward] of there) {
                  if (!hasKey.has(key)) yield* orWarn(remotes.add(key, forward, written(forward)))
                }
              })
          }
        })
    }
  })

/** Returns how to make the listeners of this machine, by their names. */
const makesOf = <E>(context: Local.Context<E>) => ({ here, listen }: Asked): ReadonlyMap<string, Make> =>
  new Map([
    ...listen.map(({ host, port }): readonly [string, Make] => [
      `--listen ${Place.formatPort(host, port)}`,
      Local.make(context, Place.port(host, port))
    ]),
    ...[...keyed(here, written)].map(([name, { listen, protocol, target }]): readonly [string, Make] => [
      name,
      protocol === "udp" && listen._tag === "Port" && target !== "proxy" && target._tag === "Port"
        ? Local.makeUdp(context, listen, target)
        : Local.make(context, listen, target)
    ])
  ])

const orWarn = (effect: Effect.Effect<void, { readonly message: string }>): Effect.Effect<void> =>
  Effect.catchAll(effect, (failure) => Effect.logWarning(messageOf(failure)))
