import { describe, expect, it } from "@effect/vitest"
import * as ByteStream from "effect-wsmux/ByteStream"
import * as NodeTransportServer from "effect-wsmux/NodeTransportServer"
import * as ResumableTransport from "effect-wsmux/ResumableTransport"
import * as Session from "effect-wsmux/Session"
import * as SessionServer from "effect-wsmux/SessionServer"
import { Transport } from "effect-wsmux/Transport"
import * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"
import * as Stream from "effect/Stream"
import { createHash } from "node:crypto"
import { FaultProxy } from "../robustness/faults/proxy.js"
import { pattern } from "../support/bytes.js"
import { extent } from "../support/extent.js"
import { loseFourTimes } from "../support/resumable.js"
import { auto, readAll } from "../support/sessions.js"
import { type Dialler, dialStandard, dialWs, dialWsConstructor, urlOf } from "../support/transports.js"
import { patience, within } from "../support/within.js"

const diallers: Readonly<Record<string, Dialler>> = {
  "NodeTransport": dialWs,
  "WebSocketTransport over ws": dialWsConstructor,
  "WebSocketTransport over undici": dialStandard
}

const digest = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex")

const content = pattern(2_000_000)

/** The bytes after which each WebSocket is lost: windows are full, and messages are under way. */
const enough = 350_000

describe("ResumableTransport", () => {
  for (const [name, dial] of Object.entries(diallers)) {
    it.scopedLive(`stream keeps each byte when ${name} loses 4 connections in mid-transfer`, () =>
      Effect.gen(function*() {
        const transports = yield* NodeTransportServer.make({ port: 0 })
        const server = yield* SessionServer.fromTransportServer(transports, auto, { resume: true })
        yield* Effect.forkScoped(
          server.run((session) => session.run((stream) => Stream.run(stream.readable, stream.writable)))
        )
        const proxy = yield* FaultProxy.make(Number(new URL(urlOf(transports)).port))
        const transport = yield* ResumableTransport.connect(dial(`ws://127.0.0.1:${proxy.port}`), {
          schedule: Schedule.spaced("20 millis")
        })
        yield* loseFourTimes(proxy, transport, enough)
        const session = yield* Effect.provideService(Session.makeClient(auto), Transport, transport)
        const stream = yield* session.open()
        const [echo] = yield* Effect.all([readAll(stream), ByteStream.writeEnd(stream, content)], { concurrency: 2 })
          .pipe(within(patience, "the echo"))
        expect(digest(echo)).toBe(digest(content))
        expect((yield* session.snapshot).resumption).toMatchObject({ state: "connected", resumed: 4 })
      }))
  }

  for (const direction of ["up", "down"] as const) {
    it.scopedLive(`stream keeps each byte when two connections are lost after any byte ${direction}`, () =>
      Effect.gen(function*() {
        const transports = yield* NodeTransportServer.make({ port: 0 })
        const server = yield* SessionServer.fromTransportServer(transports, auto, { resume: true })
        yield* Effect.forkScoped(
          server.run((session) => session.run((stream) => Stream.run(stream.readable, stream.writable)))
        )
        const proxy = yield* FaultProxy.make(Number(new URL(urlOf(transports)).port))
        let dials = 0
        let resumed = 0
        /** Loses the first connection after so many bytes of the stream, and the next after as many of its resume. */
        const loseTwice = (bytes: number) =>
          Effect.gen(function*() {
            dials = 0
            const dial = Effect.tap(dialWs(`ws://127.0.0.1:${proxy.port}`), () =>
              Effect.sync(() => {
                if (++dials === 2) proxy.loseAfter(direction, bytes, "reset")
              }))
            const transport = yield* ResumableTransport.connect(dial, { schedule: Schedule.spaced("5 millis") })
            const session = yield* Effect.provideService(Session.makeClient(auto), Transport, transport)
            const stream = yield* session.open()
            proxy.loseAfter(direction, bytes, "end")
            const sent = content.subarray(0, 400)
            const [echo] = yield* Effect.all([readAll(stream), ByteStream.writeEnd(stream, sent)], { concurrency: 2 })
              .pipe(within(patience, `the echo after losses behind ${bytes} bytes`))
            expect([bytes, digest(echo)]).toEqual([bytes, digest(sent)])
            resumed += (yield* session.snapshot).resumption!.resumed
          })
        for (let bytes = 1; bytes < 500; bytes += extent(3, 20)) yield* Effect.scoped(loseTwice(bytes))
        expect(resumed).toBeGreaterThan(500 / extent(3, 20))
      }))
  }
})
