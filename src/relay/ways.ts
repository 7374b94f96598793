import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import type * as ByteStream from "../ByteStream.js"
import type { MuxStream } from "../MuxStream.js"
import type { DuplicateStream, LabelsUnsupported, OpenError, ReadError, WriteError } from "../WsmuxError.js"
import * as Failure from "./failure.js"
import type { Agent, Names } from "./names.js"

/** What a stream to an agent is for: a request, or a stream of a client with its label. */
export type Purpose =
  | { readonly kind: "http" }
  | { readonly kind: "stream"; readonly label: string; readonly metadata: Readonly<Record<string, string>> }

/** A stream to an agent. */
export interface Way {
  readonly stream: MuxStream
  /** The bytes of the stream. A program that joins streams reads these. */
  readonly bytes: ByteStream.Operations<ReadError | WriteError>
}

/** Ways to agents of other nodes. */
export interface OtherNodes {
  /**
   * Opens a stream to an agent of another node. Completes with none where no node is known to have the name. Fails
   * where a node is known and cannot be reached, or the directory cannot tell.
   */
  readonly open: (
    name: string,
    purpose: Purpose
  ) => Effect.Effect<Option.Option<Way>, Failure.Unanswered, Scope.Scope>
}

/** Opens streams to agents by their names. */
export class Ways {
  readonly #names: Names
  readonly #others: OtherNodes
  readonly #holdMillis: number
  readonly #now: () => number
  readonly #maxStreams: number

  /** @param now the monotonic time in milliseconds */
  constructor(names: Names, others: OtherNodes, holdMillis: number, maxStreams: number, now: () => number) {
    this.#names = names
    this.#others = others
    this.#holdMillis = holdMillis
    this.#maxStreams = maxStreams
    this.#now = now
  }

  /**
   * Opens a stream to an agent of the name. An agent that has just left is about to dial again, here or at another
   * node. So the open waits for the agent, at most for `holdTimeout`: a node that drains loses no request.
   */
  open(name: string, purpose: Purpose): Effect.Effect<Way, Failure.Unanswered, Scope.Scope> {
    const until = this.#now() + this.#holdMillis
    const attempt: Effect.Effect<Way, Failure.Unanswered, Scope.Scope> = Effect.suspend(() => {
      const news = this.#watch(name) // before the look, so that no news are missed
      return Effect.ensuring(
        Effect.flatMap(Effect.either(this.#try(name, purpose)), (tried) => {
          if (tried._tag === "Right" && Option.isSome(tried.right)) return Effect.succeed(tried.right.value)
          const failure = tried._tag === "Left" ? tried.left : Failure.noAgent
          const isKnown = tried._tag === "Left" || this.#names.hasJustLeft(name, this.#now()) ||
            this.#names.count(name) > 0
          if (!isKnown) return Effect.fail(Failure.unknownName)
          if (failure !== Failure.noAgent) return Effect.fail(failure)
          const rest = until - this.#now()
          if (rest <= 0) return Effect.fail(failure)
          return Effect.zipRight(Effect.timeoutOption(news.wait, Math.min(rest, lookAgainMillis)), attempt)
        }),
        Effect.sync(news.cancel)
      )
    })
    return attempt
  }

  /** Opens a stream to an agent of this node. Completes with none where no agent takes it. */
  openHere(
    name: string,
    purpose: Purpose,
    epoch?: number
  ): Effect.Effect<Option.Option<Way>, Failure.Unanswered, Scope.Scope> {
    return Effect.suspend(() => {
      const agent = this.#names.pick(name, epoch)
      if (agent === undefined) return Effect.succeedNone
      const room = this.#names.partOf(name, this.#maxStreams)
      if (this.#names.streamsOf(name) >= room) return Effect.fail(tooManyStreams)
      return Effect.zipRight(
        count(agent),
        Effect.map(open(agent, purpose), (stream) => Option.some({ stream, bytes: stream }))
      ).pipe(
        Effect.catchTags({
          SessionDraining: () => this.#leave(agent, name, purpose, epoch),
          AcceptTimeout: () => Effect.fail(Failure.agentSilent),
          StreamRefused: () => Effect.fail(Failure.agentFailed),
          LabelsUnsupported: () => Effect.fail(Failure.agentFailed),
          DuplicateStream: Effect.die
        }),
        Effect.catchAll((error) =>
          error._tag === "Unanswered" ? Effect.fail(error) : this.#leave(agent, name, purpose, epoch)
        ) // the session has ended
      )
    })
  }

  #leave(agent: Agent, name: string, purpose: Purpose, epoch: number | undefined) {
    agent.isLeaving = true
    return this.openHere(name, purpose, epoch)
  }

  #try(name: string, purpose: Purpose) {
    return Effect.flatMap(Effect.either(this.openHere(name, purpose)), (here) => {
      if (here._tag === "Right") {
        return Option.isSome(here.right) ? Effect.succeed(here.right) : this.#others.open(name, purpose)
      }
      const isShared = this.#names.partOf(name, this.#maxStreams) < this.#maxStreams
      if (here.left !== tooManyStreams || !isShared) return Effect.fail(here.left)
      // another node may have room in its part of the limit
      return Effect.flatMap(
        Effect.orElseSucceed(this.#others.open(name, purpose), () => Option.none<Way>()),
        (there) => Option.isSome(there) ? Effect.succeed(there) : Effect.fail(tooManyStreams)
      )
    })
  }

  #watch(name: string) {
    let wake = () => {}
    let isAwake = false
    const cancel = this.#names.watch(name, () => {
      isAwake = true
      wake()
    })
    const wait = Effect.async<void>((resume) => {
      if (isAwake) return resume(Effect.void)
      wake = () => resume(Effect.void)
    })
    return { wait, cancel }
  }
}

const tooManyStreams = new Failure.Unanswered({
  status: 503,
  message: "the agent has too many requests",
  retryAfter: 1
})

/** How long a request waits for news of a name before it asks again: another node may know more. */
const lookAgainMillis = 250

/** Counts a stream of an agent for as long as the scope is open. */
const count = (agent: Agent): Effect.Effect<void, never, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.sync(() => void agent.streams++),
    () => Effect.sync(() => void agent.streams--)
  )

/**
 * An agent of this package routes streams by their labels. Other agents take each stream for a connection.
 *
 * The request leaves when the agent has accepted the stream. With early data an agent that drains at this moment would
 * refuse a request whose body has gone.
 */
const open = (
  agent: Agent,
  purpose: Purpose
): Effect.Effect<MuxStream, OpenError | LabelsUnsupported | DuplicateStream, Scope.Scope> =>
  purpose.kind === "stream"
    ? agent.session.open({
      label: purpose.label,
      metadata: purpose.metadata,
      labelFallback: purpose.label === "" // a stream without a label needs none at the agent
    })
    : agent.session.open(agent.program === undefined ? {} : { label: "http" })
