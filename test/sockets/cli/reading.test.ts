import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Scope from "effect/Scope"
import type * as Net from "node:net"
import { dial, heldBytes } from "../../../src/cli/reading.js"
import * as Tcp from "../../e2e/cli/tcp.js"
import { pattern } from "../../support/bytes.js"
import { eventually } from "../../support/transports.js"

describe("Reading", () => {
  it.scopedLive("Reading counts no waiting bytes after the scope of a connection has ended", () =>
    Effect.gen(function*() {
      const target = yield* Tcp.listen
      const scope = yield* Scope.make()
      let socket: Net.Socket | undefined
      const connection = yield* Scope.extend(
        dial({ host: "127.0.0.1", port: target.port }, (dialled) => socket = dialled),
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
})
