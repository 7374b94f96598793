/**
 * Shortcuts around Effect's public operations, for the paths that run once per stream. Each relies on a detail of
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
export const withSpan = <A, E, R>(
  name: string,
  use: (span: Tracer.Span | undefined) => Effect.Effect<A, E, R>
): Effect.Effect<A, E, R> =>
  Effect.withFiberRuntime((fiber) =>
    isTraced(fiber) ? Effect.useSpan(name, { captureStackTrace: false }, use) : use(undefined)
  )

/** Whether the fiber's program has a tracer of its own. */
export const isTraced = (fiber: { readonly currentTracer?: Tracer.Tracer | undefined }): boolean =>
  fiber.currentTracer !== defaultTracer

/** Effect shares one default tracer between all runtimes. */
const defaultTracer = Context.get(DefaultServices.liveServices, Tracer.Tracer)

/**
 * Gives the running fiber a scope, and a parent of its spans where there is one, until its end. `Scope.extend` would
 * also restore the context behind an effect.
 */
export const enterScope = (scope: Scope.Scope, parent: Tracer.AnySpan | undefined): Effect.Effect<void> =>
  FiberRef.update(FiberRef.currentContext, (context) => {
    const scoped = Context.add(context, Scope.Scope, scope)
    return parent === undefined ? scoped : Context.add(scoped, Tracer.ParentSpan, parent)
  })

/**
 * Annotates the log lines of a handler's fiber before it starts. `Effect.annotateLogs` would set and restore the
 * reference around the handler.
 */
export const annotateStream =
  (streamId: number) => (refs: FiberRefs.FiberRefs, fiberId: FiberId.Runtime): FiberRefs.FiberRefs =>
    FiberRefs.updateAs(refs, {
      fiberId,
      fiberRef: FiberRef.currentLogAnnotations,
      value: HashMap.set(
        FiberRefs.getOrDefault(refs, FiberRef.currentLogAnnotations),
        "streamId",
        streamId as unknown
      )
    })
