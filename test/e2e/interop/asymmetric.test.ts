import { expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { pattern } from "../../support/bytes.js"
import { readAll, readSome } from "../../support/sessions.js"
import { describeGo } from "./goPeer.js"
import { dialGo, eachWay } from "./links.js"
import { request, services } from "./traffic.js"
import { large, small, smallOpeners, windowsDiffer } from "./windowsSuite.js"

const size = 500_000

// An acceptor never learns the window of the opener, and takes it to be as large as its own.
for (const [how, connect] of eachWay) {
  describeGo(`windows of different size, where ${how}`, () => {
    const bytes = connect === dialGo ? size : size / 5
    windowsDiffer(connect, "Go", bytes)
    smallOpeners(connect, "Go", bytes, small)
  })
}

describeGo("a window that the session does not know", () => {
  it.scopedLive("Go drops bytes when it opens with a smaller window and initialSendCredit is not set", () =>
    Effect.gen(function*() {
      const content = 10_000 // one frame: more than the window of Go, and less than the session takes that window for
      const flags = { buffer: small, open: "source", bytes: content } as const
      const { go, session } = yield* dialGo({ streamBufferSize: large }, flags)
      yield* Effect.forkScoped(session.run(services.source))
      expect(yield* go.next("result")).toMatchObject({ ok: false, bytes: 0, failed: 1 })
    }))

  it.scopedLive("stream fails with NoCapacity when Go sends beyond maxPeerWindow, and others go on", () =>
    Effect.gen(function*() {
      const ceiling = 5000
      const options = { streamBufferSize: small, maxPeerWindow: ceiling, maxMessageSize: 1024 * 1024 }
      const { session } = yield* dialGo(options, { buffer: large, serve: "source" })
      const [stream, other] = yield* Effect.all([session.open(), session.open()])
      yield* stream.write(request(size))
      expect(new Uint8Array(yield* readSome(stream))).toEqual(pattern(ceiling))
      expect((yield* Effect.flip(stream.read))._tag).toBe("NoCapacity")

      yield* other.write(request(ceiling - 64))
      expect((yield* readAll(other)).subarray(0, -64)).toEqual(pattern(ceiling - 64))
    }))
})
