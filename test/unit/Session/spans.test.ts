import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { bytes } from "../../support/bytes.js"
import { makeSessions } from "../../support/sessions.js"
import { makeTracer } from "../../support/spans.js"

describe("Session", () => {
  it.scoped("Session creates spans for open and accept only", () =>
    Effect.gen(function*() {
      const { names, tracer } = yield* makeTracer
      yield* Effect.withTracer(
        Effect.gen(function*() {
          const { client, server } = yield* makeSessions()
          const [near] = yield* Effect.all([client.open(), server.accept], { concurrency: 2 })
          yield* near.write(bytes("x"))
          yield* near.end
        }),
        tracer
      )
      expect(names.sort()).toEqual(["Session.accept", "Session.open"])
    }))

  it.scoped("Session creates a span for each wait of run when the program has a tracer", () =>
    Effect.gen(function*() {
      const { names, tracer } = yield* makeTracer
      const { client, server } = yield* makeSessions()
      yield* Effect.fork(Effect.withTracer(server.run(() => Effect.void), tracer))
      yield* Effect.zipRight(client.open(), client.open())
      expect(names).toEqual(["Session.accept", "Session.accept", "Session.accept"])
    }))
})
