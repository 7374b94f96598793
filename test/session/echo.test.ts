import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import { pattern } from "../support/bytes.js"
import { makeStreams, readAll } from "../support/sessions.js"

describe("a stream", () => {
  it.scoped("carries bytes both ways, each way to its own end", () =>
    Effect.gen(function*() {
      const { far, near } = yield* makeStreams()
      const sent = pattern(100_000)
      yield* Effect.fork(Stream.run(far.readable, far.writable))
      yield* Effect.fork(Effect.zipRight(near.write(sent), near.end))
      expect(yield* readAll(near)).toEqual(sent)
    }))
})
