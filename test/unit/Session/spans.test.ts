import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Tracer from "effect/Tracer"
import { bytes } from "../../support/bytes.js"
import { makeSessions } from "../../support/sessions.js"

describe("Session", () => {
  it.scoped("Session creates spans for open and accept only", () =>
    Effect.gen(function*() {
      const names: Array<string> = []
      const tracer = yield* Effect.tracer
      const recording = Tracer.make({
        context: (run, fiber) => tracer.context(run, fiber),
        span: (...args) => {
          names.push(args[0])
          return tracer.span(...args)
        }
      })
      yield* Effect.withTracer(
        Effect.gen(function*() {
          const { client, server } = yield* makeSessions()
          const [near] = yield* Effect.all([client.open(), server.accept], { concurrency: 2 })
          yield* near.write(bytes("x"))
          yield* near.end
        }),
        recording
      )
      expect(names.sort()).toEqual(["Session.accept", "Session.open"])
    }))
})
