import { describe, expect, it } from "@effect/vitest"
import { annotateStream, enterScope, withSpan } from "effect-wsmux/internal/session/effectInternals"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as FiberRef from "effect/FiberRef"
import * as HashMap from "effect/HashMap"
import * as Option from "effect/Option"
import * as Runtime from "effect/Runtime"
import * as Scope from "effect/Scope"
import { makeTracer } from "../../../support/spans.js"

describe("effectInternals", () => {
  it.effect("withSpan creates a span when the program has its own tracer", () =>
    Effect.gen(function*() {
      const { names, tracer } = yield* makeTracer
      yield* Effect.withTracer(withSpan("Session.open", () => Effect.void), tracer)
      expect(names).toEqual(["Session.open"])
    }))

  it("withSpan creates no span when the runtime has Effect's default tracer", () => {
    const span = withSpan("Session.open", () => Effect.option(Effect.currentSpan))
    expect(Runtime.runSync(Runtime.defaultRuntime)(span)).toEqual(Option.none())
  })

  it.effect("annotateStream adds streamId, enterScope the scope, and both keep the other references", () =>
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
        Effect.zipRight(
          enterScope(scope, undefined),
          Effect.all([Name, Effect.scope, Effect.logAnnotations, FiberRef.get(level)])
        ) as Effect.Effect<[string, Scope.Scope, HashMap.HashMap<string, unknown>, string], never, string>,
        { updateRefs: annotateStream(7) }
      )
      const [name, given, annotations, kept] = yield* fiber
      expect([name, given, kept]).toEqual(["name", scope, "given"])
      expect(Object.fromEntries(HashMap.toEntries(annotations))).toEqual({ role: "server", streamId: 7 })
    }))
})
