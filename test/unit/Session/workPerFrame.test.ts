import { describe, expect, it } from "@effect/vitest"
import * as MemoryTransport from "effect-wsmux/MemoryTransport"
import * as Session from "effect-wsmux/Session"
import { Transport } from "effect-wsmux/Transport"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as FiberId from "effect/FiberId"
import * as RuntimeFlags from "effect/RuntimeFlags"
import * as RuntimeFlagsPatch from "effect/RuntimeFlagsPatch"
import * as Stream from "effect/Stream"
import * as Supervisor from "effect/Supervisor"
import * as Frame from "../../../src/internal/wire/frame.js"
import { quiet } from "../../support/observe.js"
import { patience, within } from "../../support/within.js"
import { withParts } from "../../support/withParts.js"

const kib = 1024

/** Counts the steps of all fibers, and how often a fiber waits. */
class Steps extends Supervisor.AbstractSupervisor<void> {
  override readonly value = Effect.void
  steps = 0
  sleeps = 0

  override onEffect(_fiber: unknown, effect: Effect.Effect<unknown>): void {
    this.steps++
    if ((effect as { readonly _op?: string })._op === "Async") this.sleeps++
  }
}

/** Counts the byte arrays that this package and Node create. */
const countingArrays = (count: () => void) =>
  Effect.acquireRelease(
    Effect.sync(() => {
      const original = globalThis.Uint8Array
      globalThis.Uint8Array = new Proxy(original, {
        construct: (target, args, newTarget) => {
          count()
          return Reflect.construct(target, args, newTarget)
        }
      })
      return original
    }),
    (original) =>
      Effect.sync(() => {
        globalThis.Uint8Array = original
      })
  )

interface Work {
  readonly steps: number
  readonly sleeps: number
  readonly arrays: number
  readonly messages: number
}

/**
 * Measures the work of both ends for each frame while `streams` streams send without pause. The socket takes four
 * frames at a time. The count runs from the 1,000th frame to the 3,000th, when all streams send.
 */
const workPerFrame = (streams: number, supervisor = new Steps()) =>
  Effect.gen(function*() {
    const total = { steps: 0, sleeps: 0, arrays: 0, messages: 0 }
    const now = (): Work => ({ ...total, steps: supervisor.steps, sleeps: supervisor.sleeps })
    const done = Deferred.unsafeMake<Work>(FiberId.none)
    let frames = 0
    let start = now()
    const end = () => {
      const work = now()
      const each = (key: keyof Work) => (work[key] - start[key]) / 2000
      Deferred.unsafeDone(
        done,
        Effect.succeed({
          steps: each("steps"),
          sleeps: each("sleeps"),
          arrays: each("arrays"),
          messages: each("messages")
        })
      )
    }
    const pair = yield* MemoryTransport.makePair({ capacity: 256 * kib })
    const watched = withParts(pair.client, {
      send: (parts) => {
        total.messages++
        if (Frame.decode(parts[0]!)._tag === "Dat") {
          frames++
          if (frames === 1000) start = now()
          if (frames === 3000) end()
        }
        pair.client.send(parts)
      }
    })
    const options = { ...quiet, streamBufferSize: 256 * kib }
    const client = yield* Effect.provideService(Session.makeClient(options), Transport, watched)
    const server = yield* Effect.provideService(Session.makeServer(options), Transport, pair.server)
    yield* countingArrays(() => total.arrays++)
    yield* Effect.forkScoped(server.run((stream) => Stream.runDrain(stream.readable)))
    const chunk = new Uint8Array(64 * kib)
    const send = Effect.flatMap(client.open(), (stream) =>
      Stream.run(
        Stream.fromIteratorSucceed(
          (function*() {
            for (;;) yield chunk
          })(),
          1
        ),
        stream.writable
      ))
    for (let i = 0; i < streams; i++) yield* Effect.forkScoped(send)
    return yield* Deferred.await(done).pipe(within(patience, "the end of the work"))
  }).pipe(
    Effect.scoped,
    Effect.withRuntimeFlagsPatch(RuntimeFlagsPatch.enable(RuntimeFlags.OpSupervision)),
    Effect.supervised(supervisor)
  )

describe("Session", () => {
  it.effect(
    "Session does the same work for each frame when 100 streams send as when one does",
    () =>
      Effect.gen(function*() {
        const one = yield* workPerFrame(1)
        const hundred = yield* workPerFrame(100)
        for (const key of ["steps", "sleeps", "arrays", "messages"] as const) {
          expect(hundred[key], key).toBeLessThanOrEqual(one[key] * 1.25)
        }
      }),
    60_000
  )
})
