import { expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { describeGo } from "./goPeer.js"
import { endsWithThePeer, failsWhenKilled } from "./lifeSuite.js"
import { eachWay, listenForGo } from "./links.js"

for (const [how, connect] of eachWay) {
  describeGo(`the end of a session with Go, where ${how}`, () => {
    failsWhenKilled(connect, "Go")
    endsWithThePeer(connect, "Go")
  })
}

describeGo("the end of a Go process", () => {
  it.scopedLive("session.close ends a Go process with code 0 when Go had dialled", () =>
    Effect.gen(function*() {
      const { go, session } = yield* listenForGo()
      yield* session.close
      yield* go.next("closed")
      expect(yield* go.next("exited")).toEqual({ event: "exited", code: 0 })
    }))
})
