import { expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { bytes, pattern } from "../../support/bytes.js"
import { describeGo } from "./goPeer.js"
import { dialGo, eachRole } from "./links.js"
import { closesSoon, soon } from "./worstSuite.js"

const mebibyte = 1024 * 1024

for (const [who, connect] of eachRole) {
  describeGo(`a living Go process, where ${who}`, () => {
    closesSoon(connect, "Go")
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
