import { expect, it } from "@effect/vitest"
import * as Drain from "effect-wsmux/relay/drain"
import { Sessions } from "effect-wsmux/relay/sessions"
import * as Effect from "effect/Effect"
import * as Http from "node:http"
import { logged } from "../../support/relayNodes.js"

for (const [running, lines] of [[[], []], [["a", "a", "b"], ["requests for a: 2, requests for b: 1"]]] as const) {
  it.effect(`drain tells of ${running.length} requests when they run as the grace passes`, () =>
    Effect.gen(function*() {
      const told = yield* logged(Drain.drain({
        sessions: new Sessions(),
        drainSessions: () => Effect.void,
        leave: Effect.void,
        server: Http.createServer(),
        running: () => running,
        awaitNoRequest: Effect.never
      }, 0))
      expect(told).toEqual(lines.map((line) => `cannot end all requests: the grace has passed with ${line}`))
    }))
}
