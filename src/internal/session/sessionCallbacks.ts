import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import type { MuxStream } from "../../MuxStream.js"
import type { OpenOptions } from "../../SessionOptions.js"
import type { Cancel, Done } from "../sync/later.js"
import { interruptSoon } from "../sync/unowned.js"
import type { Fork } from "./callbacks.js"

/** A stream with the duty of its owner. */
export interface OwnedStream {
  readonly stream: MuxStream
  /** Leaves the stream, as the end of its scope by this exit does: by default after success. Must be called once. */
  readonly leave: (exit?: Exit.Exit<unknown, unknown>) => void
}

/** `open` with a callback. A cancelled open never calls back, and leaves its stream. */
export type UnsafeOpen<E> = (done: Done<OwnedStream, E>) => Cancel

/**
 * `run` with a callback for each stream of the peer. Calls `done` at the end of the session, when handlers may still
 * have streams. Cancelling takes no stream from its handler.
 */
export type UnsafeRun<E> = (handler: (owned: OwnedStream) => void, done: Done<never, E>) => Cancel

/** An opener whose callers choose no id. An open with a label may also fail with `LabelsUnsupported`. */
export interface OpenerWithoutId<E> {
  readonly open: (options?: StreamOptions) => Effect.Effect<MuxStream, E, Scope.Scope>
}

/** What the peer is told about a stream. */
export type StreamOptions = Pick<OpenOptions, "label" | "metadata" | "early">

type MakeOpen<E> = (fork: Fork, options?: StreamOptions) => UnsafeOpen<E>

interface Acceptor<E> {
  readonly run: (handler: (stream: MuxStream) => Effect.Effect<unknown, unknown>) => Effect.Effect<never, E>
}

// The keys are the operations themselves, so that a copy of a session has the same callbacks.
const openers = new WeakMap<object, MakeOpen<unknown>>()
const acceptors = new WeakMap<object, UnsafeRun<unknown>>()

/** Gives an `open` a form without a fiber. */
export const setUnsafeOpen = <E>(opener: { readonly open: object }, make: MakeOpen<E>): void => {
  openers.set(opener.open, make)
}

/** Gives a `run` a form without fibers. */
export const setUnsafeRun = <E>(acceptor: Acceptor<E>, run: UnsafeRun<E>): void => {
  acceptors.set(acceptor.run, run)
}

/** Returns `open` with a callback. A session of this package needs no fiber for that. */
export const unsafeOpenOf = <E>(opener: OpenerWithoutId<E>, fork: Fork, options?: StreamOptions): UnsafeOpen<E> =>
  (openers.get(opener.open)?.(fork, options) as UnsafeOpen<E> | undefined) ?? forkOpen(opener, fork, options)

/** Opens each stream in a fiber. */
export const forkOpen = <E>(
  opener: OpenerWithoutId<E>,
  fork: Fork,
  options?: StreamOptions
): UnsafeOpen<E> =>
(done) => {
  const scope = Effect.runSync(Scope.make())
  const leave: OwnedStream["leave"] = (exit = Exit.void) => void fork(Scope.close(scope, exit))
  const fiber = fork(Scope.extend(Effect.suspend(() => opener.open(options)), scope))
  let isCancelled = false
  fiber.addObserver((exit) => {
    if (isCancelled || Exit.isFailure(exit)) leave()
    if (!isCancelled) done(Exit.map(exit, (stream) => ({ stream, leave })))
  })
  return () => {
    isCancelled = true
    interruptSoon(fiber)
  }
}

/** Returns `run` with a callback for each stream. A session of this package needs no fiber for that. */
export const unsafeRunOf = <E>(acceptor: Acceptor<E>, fork: Fork): UnsafeRun<E> =>
  (acceptors.get(acceptor.run) as UnsafeRun<E> | undefined) ?? forkRun(acceptor, fork)

/** Holds a fiber for each stream. */
const forkRun = <E>(acceptor: Acceptor<E>, fork: Fork): UnsafeRun<E> => (handler, done) => {
  let isCancelled = false
  const fiber = fork(
    acceptor.run((stream) =>
      Effect.async<unknown, unknown>((resume) => handler({ stream, leave: (exit = Exit.void) => resume(exit) }))
    )
  )
  fiber.addObserver((exit) => isCancelled || done(exit))
  return () => {
    isCancelled = true
    interruptSoon(fiber)
  }
}
