import * as HttpServerRequest from "@effect/platform/HttpServerRequest"
import type * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import { describe, expect, it } from "@effect/vitest"
import * as SessionRoute from "effect-wsmux/SessionRoute"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as TestClock from "effect/TestClock"
import { expectWaiting, start } from "../support/observe.js"
import { within } from "../support/within.js"

const handshake = new Request("http://127.0.0.1/streams", {
  headers: {
    connection: "upgrade",
    upgrade: "websocket",
    "sec-websocket-version": "13",
    "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ=="
  }
})

const answerTo = (
  app: Effect.Effect<HttpServerResponse.HttpServerResponse, unknown, HttpServerRequest.HttpServerRequest>
) => Effect.provideService(app, HttpServerRequest.HttpServerRequest, HttpServerRequest.fromWeb(handshake))

describe("SessionRoute.make", () => {
  for (const [limit, options] of [["10 seconds", {}], ["1 minute", { upgradeTimeout: "1 minute" }]] as const) {
    it.effect(`SessionRoute.make answers 503 when authorize has taken ${limit}`, () =>
      Effect.gen(function*() {
        let interruptions = 0
        const authorize = () => Effect.onInterrupt(Effect.never, () => Effect.sync(() => interruptions++))
        const answer = yield* start(answerTo(SessionRoute.make(() => Effect.never, { ...options, authorize })))
        yield* TestClock.adjust(limit)
        expect((yield* Fiber.join(answer).pipe(within("5 seconds", "the answer"))).status).toBe(503)
        expect(interruptions).toBe(1)
      }))

    it.effect(`SessionRoute.make waits for authorize when it has not taken ${limit}`, () =>
      Effect.gen(function*() {
        const app = SessionRoute.make(() => Effect.never, { ...options, authorize: () => Effect.never })
        const answer = yield* start(answerTo(app))
        yield* TestClock.adjust(limit === "10 seconds" ? "9999 millis" : "59999 millis")
        yield* expectWaiting(answer)
      }))
  }
})
