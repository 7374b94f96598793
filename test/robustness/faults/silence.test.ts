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
/** The end of the session at the peer, when the way to the peer is open. */
const told = { _tag: "SessionClosed", by: "peer", code: 1001 }
const mebibyte = 1024 * 1024

describe("a silent link", () => {
  const silences: ReadonlyArray<readonly [name: string, silence: (proxy: FaultProxy) => void]> = [
    ["half-open", (proxy) => proxy.vanish()],
    ["stalled both ways", (proxy) => proxy.stall("up", "down")]
  ]
  for (const [name, silence] of silences) {
    for (const side of ["client", "server"] as const) {
      it.scopedLive(`session of a ${side} fails its waiting operations by the keep-alive when a link is ${name}`, () =>
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
      const what = side === deaf ? "by the keep-alive" : "by the close of its peer"
      it.scopedLive(`session of a ${side} fails waiting operations ${what} when the way to the ${deaf} stalls`, () =>
        Effect.gen(function*() {
          const options = { ...settings, [other]: patient } // this end still receives pings
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

  it.scopedLive("session fails a write with its sent bytes and closes when the link stalls under load", () =>
    Effect.gen(function*() {
      const { client, far, near, proxy } = yield* makeStreams({ ...settings, streamBufferSize: 32 * mebibyte })
      const content = pattern(32 * mebibyte)
      yield* Effect.fork(Effect.forever(far.read))
      proxy.stall("up", "down")
      const write = yield* Effect.fork(Effect.flip(near.write(content)))
      // until the kernel takes no more bytes
      yield* eventually(() => sentOf(client) > 0)
      const cause = yield* client.awaitClosed
      expect(cause).toMatchObject(expired)
      const error = yield* Fiber.join(write)
      expect(error).toMatchObject({ _tag: "BrokenPipe", operation: "write", cause })
      expect(error.written).toBeGreaterThan(0)
      expect(error.written).toBeLessThan(content.byteLength)
    }).pipe(
      Effect.timeoutFail({ duration: soon, onTimeout: () => new Error(`the session took longer than ${soon} ms`) })
    ))

  it.scopedLive("session loses no byte when the link stalls for less than the keep-alive allows", () =>
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
