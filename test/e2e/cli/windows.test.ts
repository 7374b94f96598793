import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { createHash } from "node:crypto"
import { pattern } from "../../support/bytes.js"
import * as Tcp from "./tcp.js"
import { connect, logged, serve } from "./wsmux.js"

const sha256 = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex")

describe("wsmux", () => {
  it.scopedLive("wsmux carries 40 MiB to a late reader when both ends have the largest --buffer-size", () =>
    Effect.gen(function*() {
      const target = yield* Tcp.listen
      const server = yield* serve(target.port, ["--buffer-size", "64M"])
      const client = yield* connect(server.url, ["--buffer-size", "64M"])
      const near = yield* Tcp.connect(client.port)
      yield* near.write("!")
      const far = yield* target.accept
      const sent = pattern(40 * 1024 * 1024)
      yield* far.write(sent) // The tunnel buffers the bytes that the client has not read.
      yield* far.end
      const { bytes, how } = yield* near.over
      expect([how, sha256(bytes)]).toEqual(["end", sha256(sent)])
      expect([server, client].flatMap((wsmux) => logged(wsmux, "WARN"))).toEqual([])
    }))
})
