/**
 * Two shortcuts around Effect's public operations, for the paths that run once per stream. Each relies on a detail of
 * Effect 3.22 that the test of this file checks.
 */
import * as Context from "effect/Context"
import * as DefaultServices from "effect/DefaultServices"
import * as Effect from "effect/Effect"
import type * as FiberId from "effect/FiberId"
import * as FiberRef from "effect/FiberRef"
import * as FiberRefs from "effect/FiberRefs"
import * as HashMap from "effect/HashMap"
import * as Scope from "effect/Scope"
import * as Tracer from "effect/Tracer"

/**
 * Runs an effect in a span, except under Effect's default tracer: that tracer records no spans, and making a span costs
 * more than the rest of an open. No effect inside asks for the span, so the span is the parent of no other.
 */
export const withSpan = <A, E, R>(name: string, effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  Effect.tracerWith((tracer) =>
    tracer === defaultTracer ? effect : Effect.useSpan(name, { captureStackTrace: false }, () => effect)
  )

/** Effect shares one default tracer between all runtimes. */
const defaultTracer = Context.get(DefaultServices.liveServices, Tracer.Tracer)

/**
 * Gives a handler's fiber its scope and the annotation of its log lines before it starts. `Effect.provideService` and
 * `Effect.annotateLogs` would set and restore both references around the handler.
 */
export const handlerRefs =
  (streamId: number, scope: Scope.Scope) =>
  (refs: FiberRefs.FiberRefs, fiberId: FiberId.Runtime): FiberRefs.FiberRefs => {
    const context = Context.add(FiberRefs.getOrDefault(refs, FiberRef.currentContext), Scope.Scope, scope)
    const annotations = HashMap.set(
      FiberRefs.getOrDefault(refs, FiberRef.currentLogAnnotations),
      "streamId",
      streamId as unknown
    )
    return FiberRefs.updateManyAs(refs, {
      entries: [
        [FiberRef.currentContext, [[fiberId, context]]],
        [FiberRef.currentLogAnnotations, [[fiberId, annotations]]]
      ]
    })
  }
