import * as Effect from "effect/Effect"
import * as Tracer from "effect/Tracer"

/** A tracer of a program's own, and the names of its spans. */
export const makeTracer = Effect.map(Effect.tracer, (tracer) => {
  const names: Array<string> = []
  const span: Tracer.Tracer["span"] = (...args) => {
    names.push(args[0])
    return tracer.span(...args)
  }
  return { names, tracer: Tracer.make({ context: (run, fiber) => tracer.context(run, fiber), span }) }
})
