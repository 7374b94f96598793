import { expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { describeGo } from "./goPeer.js"
import { dialGo, listenForGo } from "./links.js"
import { openMany, services } from "./traffic.js"

// 300 ms were too few for a machine with five times more to do than its cores can.
const keepalive = "600ms"
const ours = { keepAliveInterval: "600 millis", streamBufferSize: 4096 } as const

// The tests run one after the other, since both ends must answer in time.
describeGo("the keep-alive with Go", () => {
  for (const [who, connect] of [["we dial", dialGo], ["Go dials", listenForGo]] as const) {
    it.scopedLive(`session lives through five keep-alive intervals of load when ${who}`, () =>
      Effect.gen(function*() {
        const load = { open: "echo", streams: 10, bytes: 100_000, "repeat-for": "3600ms" } as const
        const { go, session } = yield* connect(ours, { keepalive, buffer: 4096, serve: "echo", ...load })
        yield* Effect.forkScoped(session.run(services.echo))
        yield* Effect.forkScoped(Effect.forever(openMany(session, "echo", 10, 100_000)))
        expect(yield* go.next("result")).toMatchObject({ ok: true, errors: [] })
        expect(yield* session.isClosed).toBe(false)
      }))
  }

  it.scopedLive("session lives through five keep-alive intervals when neither end sends data", () =>
    Effect.gen(function*() {
      // The open of Go waits for its deadline. Until then both ends receive pings and pongs alone.
      const flags = { keepalive, open: "echo", "accept-deadline": "3600ms" } as const
      const { go, session } = yield* dialGo(ours, flags)
      expect(yield* go.next("result")).toMatchObject({ errors: ["stream 0: open: accept timed out"] })
      expect(yield* session.isClosed).toBe(false)
    }))

  it.scopedLive("session ends with KeepAliveExpired when the Go process is frozen", () =>
    Effect.gen(function*() {
      const { go, session } = yield* dialGo({ ...ours, closeTimeout: "50 millis" })
      yield* go.signal("SIGSTOP")
      expect(yield* session.awaitClosed).toMatchObject({ _tag: "KeepAliveExpired", intervalMillis: 600 })
    }))
}, { sequential: true })
