import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { once } from "node:events"
import * as Net from "node:net"
import { patience, within } from "../../support/within.js"
import { ask, connectWith, portFor, serveWith } from "./forwards/commands.js"
import { makeLink } from "./link.js"
import * as Tcp from "./tcp.js"
import { connect, serve } from "./wsmux.js"

/** A connection whose other end repeats what it gets, and the bytes that came back. */
const makeEcho = (port: number) =>
  Effect.acquireRelease(
    Effect.sync(() => {
      const socket = Net.connect(port, "127.0.0.1")
      const seen = { bytes: 0, text: "" }
      socket.on("error", () => {}).on("data", (chunk) => {
        seen.bytes += chunk.length
        seen.text = chunk.toString().slice(-20)
      })
      return { socket, seen }
    }),
    ({ socket }) => Effect.sync(() => socket.destroy())
  )

describe("wsmux", () => {
  it.scopedLive("wsmux carries each byte once when the WebSocket is reset ten times", () =>
    Effect.gen(function*() {
      const server = yield* serve(yield* Tcp.echo)
      const link = yield* makeLink(Number(new URL(server.url).port))
      const client = yield* connect(`ws://127.0.0.1:${link.port}`, ["--resume", "default"])
      const { seen, socket } = yield* makeEcho(client.port)
      const block = Buffer.alloc(256 * 1024, 120)
      for (let cuts = 0; cuts < 10; cuts++) {
        const before = seen.bytes
        socket.write(block)
        socket.write(`key stroke ${cuts}`)
        yield* link.cut
        const all = block.length + `key stroke ${cuts}`.length
        yield* Effect.promise(async () => {
          while (seen.bytes - before < all) await once(socket, "data")
        }).pipe(within(patience, `the echo after cut ${cuts}`))
        expect(seen.bytes - before).toBe(all)
        expect(seen.text.endsWith(`key stroke ${cuts}`)).toBe(true)
      }
      yield* client.awaitLine(/resumed the connections through/)
    }))

  it.scopedLive("wsmux connect ends, and does not wait, when its server has drained", () =>
    Effect.gen(function*() {
      const server = yield* serve(yield* Tcp.echo, ["--grace", "100ms"])
      const client = yield* connect(server.url, ["--resume", "default"])
      const peer = yield* Tcp.connect(client.port)
      yield* peer.write("hello")
      yield* peer.received(5)
      yield* server.signal("SIGTERM")
      expect((yield* peer.over).how).toBe("ECONNRESET")
      yield* server.exit
      expect(yield* client.exit.pipe(within(patience, "the exit of connect"))).not.toBe(0)
    }))

  it.scopedLive("wsmux serve gives the port of -R of a client that was killed to its next one, at once", () =>
    Effect.gen(function*() {
      const target = yield* Tcp.echo
      const server = yield* serveWith(["--allow-remote", "*"])
      const first = yield* connectWith(server.url, ["--resume", "1m", "-R", `0:127.0.0.1:${target}`])
      const port = yield* portFor(first, `127.0.0.1:${target}`)
      yield* first.signal("SIGKILL")
      yield* first.exit
      yield* server.awaitLine(/listening on .* for the client/)
      const next = yield* connectWith(server.url, ["--reconnect", "-R", `${port}:127.0.0.1:${target}`])
      expect(yield* portFor(next, `127.0.0.1:${target}`)).toBe(port)
      expect(yield* ask(port, "hello")).toEqual({ how: "end", said: "hello" })
    }))
})
