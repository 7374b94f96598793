import { describe, expect, it } from "@effect/vitest"
import * as SharedLimits from "effect-wsmux/SharedLimits"
import { InvalidConfiguration } from "effect-wsmux/WsmuxError"
import * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"

/** The totals of the limits that a layer provides. */
const totals = (layer: Layer.Layer<SharedLimits.SharedLimits, InvalidConfiguration>) =>
  Effect.map(SharedLimits.SharedLimits, ({ connections, streams }) => [connections.total, streams.total]).pipe(
    Effect.provide(layer)
  )

describe("SharedLimits.layer", () => {
  it.effect("SharedLimits.layer provides the defaults for the limits that are undefined", () =>
    Effect.gen(function*() {
      expect(yield* totals(SharedLimits.layer({ maxConnections: undefined, maxStreams: 7 }))).toEqual([2000, 7])
    }))

  it.effect("SharedLimits.layer fails when a limit is not a whole number from 0 on", () =>
    Effect.gen(function*() {
      for (const maxStreams of [-1, 0.5, NaN, Infinity]) {
        const detail = `${maxStreams} is not a whole number from 0 on`
        expect(yield* Effect.flip(totals(SharedLimits.layer({ maxStreams })))).toEqual(
          new InvalidConfiguration({ setting: "maxStreams", detail })
        )
      }
    }))
})
