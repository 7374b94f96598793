import { expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"
import type { Connect } from "./links.js"
import { openMany, services } from "./traffic.js"

// 300 ms were too few for a machine with five times more to do than its cores can.
const keepalive = "600ms"
const ours = { keepAliveInterval: "600 millis", streamBufferSize: 4096 } as const

interface Load {
  readonly streams: number
  readonly bytes: number
  /** The pause between two rounds of the session in milliseconds. */
  readonly pause?: number
}

/** Both ends send data for longer than five intervals. */
export const livesUnderLoad = (connect: Connect, who: string, { bytes, pause = 0, streams }: Load): void => {
  it.scopedLive(`session lives through five keep-alive intervals of load when ${who}`, () =>
    Effect.gen(function*() {
      const load = { open: "echo", streams, bytes, "repeat-for": "3600ms" } as const
      const { go, session } = yield* connect(ours, { keepalive, buffer: 4096, serve: "echo", ...load })
      yield* Effect.forkScoped(session.run(services.echo))
      const round = openMany(session, "echo", streams, bytes)
      yield* Effect.forkScoped(Effect.repeat(round, Schedule.spaced(pause)))
      expect(yield* go.next("result")).toMatchObject({ ok: true, errors: [] })
      expect(yield* session.isClosed).toBe(false)
    }))
}

/** Neither end sends data, or the peer is frozen. */
export const keepsAlive = (connect: Connect, peer: string, who: string): void => {
  it.scopedLive(`session lives through five keep-alive intervals without data when ${who}`, () =>
    Effect.gen(function*() {
      // The open of the peer waits for its deadline. Until then both ends receive pings and pongs alone.
      const flags = { keepalive, open: "echo", "accept-deadline": "3600ms" } as const
      const { go, session } = yield* connect(ours, flags)
      expect(yield* go.next("result")).toMatchObject({ errors: ["stream 0: open: accept timed out"] })
      expect(yield* session.isClosed).toBe(false)
    }))

  it.scopedLive(`session ends with KeepAliveExpired when ${peer} is frozen and ${who}`, () =>
    Effect.gen(function*() {
      const { go, session } = yield* connect({ ...ours, closeTimeout: "50 millis", faults: true })
      yield* go.signal("SIGSTOP")
      expect(yield* session.awaitClosed).toMatchObject({ _tag: "KeepAliveExpired", intervalMillis: 600 })
    }))
}
