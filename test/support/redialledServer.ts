import * as MemoryTransport from "effect-wsmux/MemoryTransport"
import * as Session from "effect-wsmux/Session"
import type * as SessionConfig from "effect-wsmux/SessionConfig"
import { Transport } from "effect-wsmux/Transport"
import { ConnectFailure } from "effect-wsmux/WsmuxError"
import * as Effect from "effect/Effect"
import * as Queue from "effect/Queue"
import * as Ref from "effect/Ref"
import * as Schedule from "effect/Schedule"
import * as Scope from "effect/Scope"
import { settle } from "./sessions.js"

/** A connection that a client has dialled, and the session at its server's end. */
export interface Link {
  readonly server: Session.Session
  readonly pair: MemoryTransport.Pair
}

export const unreachable = new ConnectFailure({ url: "ws://nowhere", reason: "Unreachable" })

export const everySecond = Schedule.spaced("1 second")

/** A server in memory that reconnecting sessions dial. `link` waits for the next connection. */
export const makeServer = (config?: SessionConfig.PartialSettings) =>
  Effect.gen(function*() {
    const scope = yield* Effect.scope
    const links = yield* Queue.unbounded<Link>()
    const down = yield* Ref.make(false)
    const calls = yield* Ref.make(0)
    const dial = Effect.gen(function*() {
      yield* Ref.update(calls, (n) => n + 1)
      if (yield* Ref.get(down)) return yield* unreachable
      const pair = yield* Scope.extend(MemoryTransport.makePair(), scope)
      const making = Effect.orDie(Effect.provideService(Session.makeServer(config), Transport, pair.server))
      yield* Queue.offer(links, { server: yield* Scope.extend(making, scope), pair })
      return pair.client
    })
    return {
      dial,
      links,
      link: Queue.take(links),
      calls: Ref.get(calls),
      setDown: (isDown: boolean) => Ref.set(down, isDown)
    }
  })

/** Loses the connection, at both ends. */
export const cut = ({ pair }: Link) => Effect.zipRight(pair.cut, settle)
