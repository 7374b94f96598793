import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Queue from "effect/Queue"
import { fail, type Finding, ok } from "./finding.js"
import type { Line } from "./peer.js"

/** How often the bytes of the peer are looked at. */
const interval = 100

/** Sends nothing for a time, and tells whether the WebSocket outlives it. A peer that pings breaks the silence. */
export const idle = (line: Line, wanted: Duration.Duration): Effect.Effect<Finding> =>
  Effect.gen(function*() {
    yield* Queue.takeAll(line.events)
    const limit = Duration.toMillis(wanted)
    const start = performance.now()
    let last = start
    let longest = 0
    let count = line.transport.receiveCount()
    const look = () => {
      const now = performance.now()
      longest = Math.max(longest, now - last)
      if (line.transport.receiveCount() === count) return
      count = line.transport.receiveCount()
      last = now
    }
    const end = yield* Effect.raceFirst(
      Queue.take(line.events).pipe(Effect.repeat({ until: ({ _tag }) => _tag === "Close" }), Effect.asSome),
      Effect.sync(look).pipe(
        Effect.delay(interval),
        Effect.repeat({ until: () => performance.now() - start >= limit }),
        Effect.as(Option.none())
      )
    )
    look()
    const seconds = (time: number) => `${(time / 1000).toFixed(1)} s`
    return Option.isSome(end)
      ? fail(
        "idle",
        `the WebSocket was cut after ${seconds(performance.now() - start)}, and ${
          seconds(performance.now() - last)
        } of silence`,
        "leave --keep-alive below that at both ends, or raise the time-out of the proxy"
      )
      : ok("idle", `the WebSocket lives after ${seconds(limit)}, with silences of at most ${seconds(longest)}`)
  })
