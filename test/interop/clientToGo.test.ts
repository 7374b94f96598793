import { expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { describeGo } from "./goPeer.js"
import { dialGo } from "./links.js"
import { expectNoFaults, openMany, serveMany } from "./traffic.js"

describeGo("our client and Go's server", () => {
  it.scopedLive("echo what we open", () =>
    Effect.gen(function*() {
      const { session } = yield* dialGo({}, { serve: "echo" })
      yield* openMany(session, "echo", 1, 5000)
      yield* expectNoFaults(session)
    }))

  it.scopedLive("echo what Go opens", () =>
    Effect.gen(function*() {
      const link = yield* dialGo({}, { open: "echo", bytes: 5000 })
      yield* serveMany(link, "echo", 1, 5000)
      yield* expectNoFaults(link.session)
    }))
})
