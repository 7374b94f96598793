import { describe, expect, it } from "@effect/vitest"
import { handlerRefs, withSpan } from "effect-wsmux/internal/session/effectInternals"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as FiberRef from "effect/FiberRef"
import * as HashMap from "effect/HashMap"
import * as Option from "effect/Option"
import * as Runtime from "effect/Runtime"
import * as Scope from "effect/Scope"
import * as Tracer from "effect/Tracer"

/** Returns the names of the spans that an effect creates under the tracer that `make` returns. */
const spansOf = (effect: Effect.Effect<unknown>, make: (tracer: Tracer.Tracer, spy: Tracer.Tracer) => Tracer.Tracer) =>
  Effect.gen(function*() {
    const names: Array<string> = []
    const tracer = yield* Effect.tracer
    const spy = Tracer.make({
      context: (run, fiber) => tracer.context(run, fiber),
      span: (...args) => {
        names.push(args[0])
        return tracer.span(...args)
      }
    })
    yield* Effect.withTracer(effect, make(tracer, spy))
    return names
  })

describe("effectInternals", () => {
  it.effect("withSpan creates a span when the program has its own tracer", () =>
    Effect.gen(function*() {
      expect(yield* spansOf(withSpan("Session.open", Effect.void), (_, spy) => spy)).toEqual(["Session.open"])
    }))

  it("withSpan creates no span when the runtime has Effect's default tracer", () => {
    const span = withSpan("Session.open", Effect.option(Effect.currentSpan))
    expect(Runtime.runSync(Runtime.defaultRuntime)(span)).toEqual(Option.none())
  })

  it.effect("handlerRefs adds the scope and streamId, and keeps the other references", () =>
    Effect.gen(function*() {
      const Name = Context.GenericTag<string>("Name")
      const level = FiberRef.unsafeMake("default")
      const scope = yield* Scope.make()
      const runtime = yield* Effect.runtime<string>().pipe(
        Effect.provideService(Name, "name"),
        Effect.annotateLogs("role", "server"),
        Effect.locally(level, "given")
      )
      const fiber = Runtime.runFork(runtime)(
        Effect.all([Name, Effect.scope, Effect.logAnnotations, FiberRef.get(level)]) as Effect.Effect<
          [string, Scope.Scope, HashMap.HashMap<string, unknown>, string],
          never,
          string
        >,
        { updateRefs: handlerRefs(7, scope) }
      )
      const [name, given, annotations, kept] = yield* fiber
      expect([name, given, kept]).toEqual(["name", scope, "given"])
      expect(Object.fromEntries(HashMap.toEntries(annotations))).toEqual({ role: "server", streamId: 7 })
    }))
})
