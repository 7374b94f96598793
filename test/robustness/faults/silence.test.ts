import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import { pattern } from "../../support/bytes.js"
import { eventually } from "../../support/transports.js"
import { makeStreams, soon, startAll } from "./links.js"
import type { FaultProxy } from "./proxy.js"

const intervalMillis = 500
const settings = { keepAliveInterval: intervalMillis, flushTimeout: 200, closeTimeout: 200 } as const
const patient = { keepAliveInterval: "10 seconds" } as const
const expired = { _tag: "KeepAliveExpired", intervalMillis }
/** What the other end hears, where the way to it is still open. */
const told = { _tag: "SessionClosed", by: "peer", code: 1001 }
const mebibyte = 1024 * 1024

describe("a link that has gone silent", () => {
  const silences: ReadonlyArray<readonly [name: string, silence: (proxy: FaultProxy) => void]> = [
    ["half-open, where packets vanish both ways", (proxy) => proxy.vanish()],
    ["stalled both ways", (proxy) => proxy.stall("up", "down")]
  ]
  for (const [name, silence] of silences) {
    for (const side of ["client", "server"] as const) {
      it.scopedLive(`${name}, fails all that waits at the ${side} by the keep-alive, and the other end alike`, () =>
        Effect.gen(function*() {
          const { far, near, proxy, ...sessions } = yield* makeStreams(settings)
          const outcome = yield* startAll(sessions[side], side === "client" ? near : far)
          silence(proxy)
          const { cause, closedAfter } = yield* outcome
          expect(cause).toMatchObject(expired)
          expect(closedAfter).toBeLessThan(soon)
          expect(yield* sessions[side === "client" ? "server" : "client"].awaitClosed).toMatchObject(expired)
        }))
    }
  }

  for (const [deaf, direction, other] of [["server", "up", "client"], ["client", "down", "server"]] as const) {
    for (const side of [deaf, other]) {
      const what = side === deaf ? "by the keep-alive" : "because the other end says so"
      it.scopedLive(`only towards the ${deaf}, fails all that waits at the ${side} ${what}`, () =>
        Effect.gen(function*() {
          const options = { ...settings, [other]: patient } // which hears the pings of the other end
          const { far, near, proxy, ...sessions } = yield* makeStreams(options)
          const outcome = yield* startAll(sessions[side], side === "client" ? near : far)
          proxy.stall(direction)
          const { cause, closedAfter } = yield* outcome
          expect(cause).toMatchObject(side === deaf ? expired : told)
          expect(closedAfter).toBeLessThan(soon)
          expect(yield* sessions[side === deaf ? other : deaf].awaitClosed).toMatchObject(
            side === deaf ? told : expired
          )
        }))
    }
  }

  it.scopedLive("under load, fails a write with what had gone, and closes though nothing more leaves the socket", () =>
    Effect.gen(function*() {
      const { client, far, near, proxy } = yield* makeStreams({ ...settings, streamBufferSize: 32 * mebibyte })
      const content = pattern(32 * mebibyte)
      yield* Effect.fork(Effect.forever(far.read))
      proxy.stall("up", "down")
      const write = yield* Effect.fork(Effect.flip(near.write(content)))
      // until the kernel takes no more
      yield* eventually(() => sentOf(client) > 0)
      const cause = yield* client.awaitClosed
      expect(cause).toMatchObject(expired)
      const error = yield* Fiber.join(write)
      expect(error).toMatchObject({ _tag: "BrokenPipe", operation: "write", cause })
      expect(error.written).toBeGreaterThan(0)
      expect(error.written).toBeLessThan(content.byteLength)
    }).pipe(Effect.timeoutFail({ duration: soon, onTimeout: () => new Error("it takes too long") })))

  it.scopedLive("for less than the keep-alive allows, loses nothing", () =>
    Effect.gen(function*() {
      const options = { ...patient, streamBufferSize: mebibyte }
      const { client, far, near, proxy, server } = yield* makeStreams(options)
      const content = pattern(mebibyte)
      proxy.stall("up", "down")
      const write = yield* Effect.fork(near.write(content))
      yield* eventually(() => sentOf(client) > 0)
      proxy.resume()
      yield* Fiber.join(write)
      let at = 0
      while (at < content.byteLength) {
        const chunk = yield* Effect.flatten(far.read)
        expect(Buffer.compare(chunk, content.subarray(at, at + chunk.byteLength))).toBe(0)
        at += chunk.byteLength
      }
      expect([yield* client.isClosed, yield* server.isClosed]).toEqual([false, false])
    }))
})

const sentOf = (session: Parameters<typeof startAll>[0]): number => Effect.runSync(session.snapshot).counters.bytesOut
