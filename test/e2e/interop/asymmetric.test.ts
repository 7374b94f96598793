import { expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { pattern } from "../../support/bytes.js"
import { readAll, readSome } from "../../support/sessions.js"
import { describeGo } from "./goPeer.js"
import { dialGo } from "./links.js"
import { expectNoFaults, openMany, request, serveMany, services } from "./traffic.js"

const small = 1024
const large = 65536
const size = 500_000

// An acceptor never learns the window of the opener, and takes it to be as large as its own.
describeGo("windows of different size", () => {
  for (const service of ["echo", "sink", "source"] as const) {
    for (const [ours, go] of [[small, large], [large, small]] as const) {
      it.scopedLive(`session carries ${service} when it opens with a window of ${ours} and Go has ${go}`, () =>
        Effect.gen(function*() {
          const { session } = yield* dialGo({ streamBufferSize: ours }, { buffer: go, serve: service })
          yield* openMany(session, service, 3, size)
          yield* expectNoFaults(session)
        }))
    }

    it.scopedLive(`session carries ${service} when Go opens with a window of ${large} and it has ${small}`, () =>
      Effect.gen(function*() {
        const flags = { buffer: large, open: service, streams: 3, bytes: size }
        const link = yield* dialGo({ streamBufferSize: small }, flags)
        yield* serveMany(link, service, 3, size)
        yield* expectNoFaults(link.session)
      }))

    it.scopedLive(`session carries ${service} when initialSendCredit is the ${small} of Go and it has ${large}`, () =>
      Effect.gen(function*() {
        const options = { streamBufferSize: large, initialSendCredit: small }
        const link = yield* dialGo(options, { buffer: small, open: service, streams: 3, bytes: size })
        yield* serveMany(link, service, 3, size)
        yield* expectNoFaults(link.session)
      }))
  }

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
