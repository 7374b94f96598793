import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { randomUUID } from "node:crypto"
import type { Session } from "../Session.js"
import type { Principal } from "./gate.js"
import type { Agent, Names } from "./names.js"

/** What becomes of the names of agents. */
interface Owner {
  readonly names: Names
  /** An agent has come. */
  readonly claim: (agent: Agent) => Effect.Effect<void>
  /** An agent takes no new streams, or has left. */
  readonly release: (agent: Agent) => Effect.Effect<void>
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
    const superseded = yield* Deferred.make<string>()
    const agent: Agent = {
      id: randomUUID(),
      name,
      epoch,
      program,
      at: now(),
      session,
      streams: 0,
      isLeaving: false,
      supersede: (reason = "another agent has the name") => Deferred.unsafeDone(superseded, Effect.succeed(reason))
    }
    const isIn = yield* Effect.acquireRelease(
      Effect.sync(() => names.add(agent)),
      (isIn) =>
        Effect.suspend(() => {
          names.remove(agent, now())
          return isIn ? release(agent) : Effect.void
        })
    )
    // in the background: requests at this node need no directory
    if (isIn) yield* Effect.forkScoped(claim(agent))
    const leave = Effect.suspend(() => {
      agent.isLeaving = true
      return isIn ? release(agent) : Effect.void
    })
    yield* Effect.forkScoped(Effect.zipRight(Effect.ignore(session.awaitDraining), Effect.uninterruptible(leave)))
    const ended = Effect.as(session.awaitClosed, "the session has ended")
    const reason = isIn
      ? yield* Effect.raceFirst(ended, Deferred.await(superseded))
      : "an agent with a newer token has the name"
    // an agent that has moved from this node has the grace of the node's own drain
    const { localDrain } = yield* session.snapshot
    if (localDrain !== undefined) yield* Effect.ignore(session.awaitClosed)
    else yield* session.drain({ grace: supersededGrace, redial: false, reason })
  })

/** How long the requests of an agent may go on whose place another one has taken. */
const supersededGrace = Duration.seconds(30)
