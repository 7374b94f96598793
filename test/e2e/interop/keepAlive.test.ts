import { expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { describeGo } from "./goPeer.js"
import { dialGo, listenForGo } from "./links.js"
import { openMany, services } from "./traffic.js"

const keepalive = "300ms"
const ours = { keepAliveInterval: "300 millis", streamBufferSize: 4096 } as const

// One after the other: both sides must answer in time, so they get the machine for themselves.
describeGo("the keep-alive with Go", () => {
  for (const [who, connect] of [["we dial", dialGo], ["Go dials", listenForGo]] as const) {
    it.scopedLive(`lasts through more than five intervals of load when ${who}`, () =>
      Effect.gen(function*() {
        const load = { open: "echo", streams: 10, bytes: 100_000, "repeat-for": "1800ms" } as const
        const { go, session } = yield* connect(ours, { keepalive, buffer: 4096, serve: "echo", ...load })
        yield* Effect.forkScoped(session.run(services.echo))
        yield* Effect.forkScoped(Effect.forever(openMany(session, "echo", 10, 100_000)))
        expect(yield* go.next("result")).toMatchObject({ ok: true, errors: [] })
        expect(yield* session.isClosed).toBe(false)
      }))
  }

  it.scopedLive("lasts through five intervals of silence", () =>
    Effect.gen(function*() {
      // Go's open waits until its deadline: by then neither side has heard more than pings and pongs.
      const flags = { keepalive, open: "echo", "accept-deadline": "1800ms" } as const
      const { go, session } = yield* dialGo(ours, flags)
      expect(yield* go.next("result")).toMatchObject({ errors: ["stream 0: open: accept timed out"] })
      expect(yield* session.isClosed).toBe(false)
    }))

  it.scopedLive("ends a session with a Go process that is frozen", () =>
    Effect.gen(function*() {
      const { go, session } = yield* dialGo({ ...ours, closeTimeout: "50 millis" })
      yield* go.signal("SIGSTOP")
      expect(yield* session.awaitClosed).toMatchObject({ _tag: "KeepAliveExpired", intervalMillis: 300 })
    }))
}, { sequential: true })
