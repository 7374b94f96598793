import { describe, expect, it } from "@effect/vitest"
import * as NodeDuplex from "effect-wsmux/NodeDuplex"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Scope from "effect/Scope"
import * as Net from "node:net"
import { budget, heldBytes, readSize } from "../../../../src/internal/tcp/socketReader.js"
import * as Tcp from "../../../e2e/cli/tcp.js"
import { pattern } from "../../../support/bytes.js"
import { eventually } from "../../../support/transports.js"

describe("SocketReader", () => {
  it.scopedLive("SocketReader counts no waiting bytes after the scope of a connection has ended", () =>
    Effect.gen(function*() {
      const target = yield* Tcp.listen
      const scope = yield* Scope.make()
      let socket: Net.Socket | undefined
      const connection = yield* Scope.extend(
        NodeDuplex.toByteStream(() => socket = Net.connect({ host: "127.0.0.1", port: target.port })),
        scope
      )
      const far = yield* target.accept
      yield* Effect.fork(connection.write(pattern(32 * 1024 * 1024))) // more than the kernel takes
      const reading = yield* Effect.fork(connection.read)
      yield* eventually(() => socket!.writableLength > 0)
      yield* Fiber.interrupt(reading)
      const given = yield* Effect.fork(Scope.close(scope, Exit.void))
      yield* far.write("some bytes")
      yield* eventually(() => socket!.bytesRead === 10)
      yield* given
      expect(heldBytes()).toBe(0)
    }))

  it.scopedLive("SocketReader takes one chunk from a target that sends without end, until the next read", () =>
    Effect.gen(function*() {
      const target = yield* Tcp.listen
      let socket: Net.Socket | undefined
      const connection = yield* NodeDuplex.toByteStream(
        () => socket = Net.connect({ host: "127.0.0.1", port: target.port })
      )
      const far = yield* target.accept
      yield* Effect.fork(far.write("x".repeat(8 * 1024 * 1024)))
      const { byteLength } = Option.getOrThrow(yield* connection.read)
      // Further reads would happen within these turns.
      yield* Effect.repeatN(turn, 100)
      expect(socket!.bytesRead).toBe(byteLength)
      expect(byteLength).toBeLessThanOrEqual(64 * 1024)
    }))

  it("SocketReader takes fewer bytes at once when more bytes wait", () => {
    const kibibyte = 1024
    expect([0, 0.5, 0.95, 1, 2].map((share) => readSize(share * budget))).toEqual([
      64 * kibibyte,
      64 * kibibyte,
      13_107,
      4 * kibibyte,
      4 * kibibyte
    ])
  })
})

const turn = Effect.async<void>((resume) => void setImmediate(() => resume(Effect.void)))
