import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type { Session } from "../Session.js"
import type { Principal } from "./gate.js"
import type { Agent, Names } from "./names.js"

/** What becomes of the names of agents. */
interface Owner {
  readonly names: Names
  /** An agent of the name has come. */
  readonly claim: (name: string, epoch: number) => Effect.Effect<void>
  /** The last agent of the name has left. */
  readonly release: (name: string, epoch: number) => Effect.Effect<void>
  /** The monotonic time in milliseconds. */
  readonly now: () => number
}

/** Keeps an agent in its name until its session ends or another one takes its place. */
export const serveAgent = (
  session: Session,
  { epoch, name, program }: Extract<Principal, { readonly kind: "agent" }>,
  { claim, names, now, release }: Owner
): Effect.Effect<void, never, Scope.Scope> =>
  Effect.gen(function*() {
    const superseded = yield* Deferred.make<void>()
    const agent: Agent = {
      name,
      epoch,
      program,
      session,
      streams: 0,
      isLeaving: false,
      supersede: () => Deferred.unsafeDone(superseded, Effect.void)
    }
    const isIn = yield* Effect.acquireRelease(
      Effect.sync(() => names.add(agent)),
      () => Effect.suspend(() => names.remove(agent, now()) ? release(name, epoch) : Effect.void)
    )
    // in the background: requests at this node need no directory
    if (isIn) yield* Effect.forkScoped(claim(name, epoch))
    const leaving = Effect.ignore(session.awaitDraining).pipe(
      Effect.zipRight(Effect.sync(() => agent.isLeaving = true))
    )
    yield* Effect.forkScoped(leaving)
    if (isIn) yield* Effect.raceFirst(session.awaitClosed, Deferred.await(superseded))
    yield* session.drain({ grace: supersededGrace, redial: false, reason: "another agent has the name" })
  })

/** How long the requests of an agent may go on whose place another one has taken. */
const supersededGrace = Duration.seconds(30)
