import { describe, expect, it } from "@effect/vitest"
import * as TcpTunnel from "effect-wsmux/TcpTunnel"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import { interruptAt } from "../support/interruptAt.js"
import { quietly } from "../support/observe.js"
import { makeSessions, settle } from "../support/sessions.js"
import { within } from "../support/within.js"

describe("TcpTunnel.serve", () => {
  it.scoped("TcpTunnel.serve leaves the next stream to others when it was interrupted at any step", () =>
    Effect.gen(function*() {
      for (let step = 0, isInterrupted = true; isInterrupted; step++) {
        const { client, server } = yield* makeSessions(quietly())
        const { hasInterrupted, scheduler } = interruptAt(step)
        let dialled = 0
        const connect = () => {
          dialled++
          throw new Error("nothing to dial")
        }
        const serving = Effect.runFork(TcpTunnel.serve(server, { connect }), { scheduler })
        yield* settle
        isInterrupted = hasInterrupted()
        yield* Fiber.interrupt(serving)
        const [near, far] = yield* Effect.all([client.open(), server.accept], { concurrency: 2 }).pipe(
          within("5 seconds", `the stream after an interruption at step ${step}`)
        )
        expect([near.id, dialled]).toEqual([far.id, 0])
      }
    }))
})
