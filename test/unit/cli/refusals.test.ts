import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Logger from "effect/Logger"
import * as TestClock from "effect/TestClock"
import type * as Http from "node:http"
import * as Refusals from "../../../src/cli/refusals.js"
import { hour, withSteppedClock } from "../../support/steppedClock.js"

const request = { headers: {}, socket: { remoteAddress: "192.0.2.1", remotePort: 1 } } as Http.IncomingMessage

describe("Refusals", () => {
  for (const [direction, step] of [["back", hour], ["forward", -hour]] as const) {
    it.effect(`Refusals logs one line per second when the wall clock is set ${direction} by an hour`, () => {
      const logged: Array<string> = []
      const keep = Logger.make(({ message }) => logged.push(String(message)))
      return withSteppedClock((setBack) =>
        Effect.gen(function*() {
          const refuse = Refusals.make()({ status: 401 }, request)
          yield* refuse
          setBack(step)
          yield* TestClock.adjust(999)
          yield* refuse
          yield* TestClock.adjust(1)
          yield* refuse
          const line = "refused 192.0.2.1:1: 401, no token"
          expect(logged).toEqual([line, `${line} (1 more before)`])
        })
      ).pipe(Effect.provide(Logger.replace(Logger.defaultLogger, keep)))
    })
  }
})
