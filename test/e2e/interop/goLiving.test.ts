import { expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { bytes, pattern } from "../../support/bytes.js"
import { describeGo } from "./goPeer.js"
import { dialGo, listenForGo } from "./links.js"

const mebibyte = 1024 * 1024

/** The longest end of a session in these tests in milliseconds, far below the time-outs. */
const soon = 6000

for (const [who, connect] of [["we dialled", dialGo], ["Go dialled", listenForGo]] as const) {
  describeGo(`a living Go process, where ${who}`, () => {
    it.scopedLive("a session closes towards Go in far less than its closeTimeout", () =>
      Effect.gen(function*() {
        const { go, session } = yield* connect({ closeTimeout: "30 seconds" }, { serve: "hold" })
        yield* session.open()
        const since = performance.now()
        yield* session.close
        expect(performance.now() - since).toBeLessThan(soon)
        yield* go.next("closed")
      }))
  })
}

describeGo("a living Go process", () => {
  it.scopedLive("a session ends with its cause at once when a message of Go is too large", () =>
    Effect.gen(function*() {
      const options = { maxPeerWindow: mebibyte - 100, maxMessageSize: mebibyte, closeTimeout: "30 seconds" } as const
      const { session } = yield* dialGo(options, { serve: "http", buffer: 8 * mebibyte })
      const stream = yield* session.open()
      // net/http writes a body of 2 MiB at once, in one message
      const head = bytes(`POST /echo HTTP/1.1\r\nhost: go\r\ncontent-length: ${2 * mebibyte}\r\n\r\n`)
      yield* stream.writeAll([head, pattern(2 * mebibyte)])
      const since = performance.now()
      expect(yield* session.awaitClosed).toMatchObject({
        _tag: "TransportFailure",
        cause: { message: "message too big" }
      })
      expect(performance.now() - since).toBeLessThan(soon)
    }))
})
