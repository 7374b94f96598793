import { expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { describeGo } from "./goPeer.js"
import { endsWithThePeer, failsWhenKilled } from "./lifeSuite.js"
import { dialGo, listenForGo } from "./links.js"

describeGo("the end of a session with Go", () => {
  failsWhenKilled(dialGo, "Go")

  it.scopedLive("session.close ends a Go process with code 0 when Go had dialled", () =>
    Effect.gen(function*() {
      const { go, session } = yield* listenForGo()
      yield* session.close
      yield* go.next("closed")
      expect(yield* go.next("exited")).toEqual({ event: "exited", code: 0 })
    }))
})

for (const [who, connect] of [["we dialled", dialGo], ["Go dialled", listenForGo]] as const) {
  describeGo(`the end of a session with Go, where ${who}`, () => endsWithThePeer(connect, "Go"))
}
