import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { text } from "../../support/bytes.js"
import * as Tcp from "./tcp.js"
import { connect, start, type Wsmux } from "./wsmux.js"

/**
 * A loopback address that no other process uses, so that a server's port stays free between two servers. Systems other
 * than Linux have one loopback address.
 */
const host = process.platform === "linux" ? "127.83.119.110" : "127.0.0.1"

const serveAt = (address: string, target: number, args: ReadonlyArray<string>) =>
  Effect.gen(function*() {
    const wsmux = yield* start(["serve", "--listen", address, "--target", `127.0.0.1:${target}`, ...args])
    const [, url] = yield* wsmux.awaitLine(/^listening on (\S+),/)
    return { ...wsmux, address: url!.slice("ws://".length) }
  })

/** Sends SIGTERM, and waits until the port is free. */
const letGo = (server: Wsmux) =>
  Effect.zipRight(
    server.signal("SIGTERM"),
    server.awaitLine(/taking no more clients: connections end within/)
  )

const say = (peer: Tcp.Tcp, words: string, length: number) => Effect.zipRight(peer.write(words), peer.received(length))

describe("wsmux serve", () => {
  for (const workers of process.platform === "linux" ? ["1", "2"] : ["1"]) {
    it.scopedLive(`wsmux serve hands over to the next process when SIGTERM comes, with --workers ${workers}`, () =>
      Effect.gen(function*() {
        const target = yield* Tcp.echo
        const args = ["--workers", workers, "--grace", "30s"]
        const first = yield* serveAt(`${host}:0`, target, args)
        const client = yield* connect(`ws://${first.address}`, ["--reconnect"])
        const old = yield* Tcp.connect(client.port)
        yield* say(old, "one ", 4)
        yield* letGo(first)
        yield* serveAt(first.address, target, args)
        yield* client.awaitLine(/the server takes no more connections, and ends those that run within 30 s/)
        const next = yield* Tcp.connect(client.port)
        yield* say(next, "next ", 5)
        yield* say(old, "two ", 8)
        yield* old.end
        expect(text((yield* old.over).bytes)).toBe("one two ")
        expect(yield* first.exit).toBe(0)
        yield* say(next, "again", 10)
      }))
  }

  it.scopedLive("wsmux serve resets the connections that are left when the grace has passed", () =>
    Effect.gen(function*() {
      const target = yield* Tcp.echo
      const server = yield* serveAt("127.0.0.1:0", target, ["--grace", "100ms"])
      const client = yield* connect(`ws://${server.address}`)
      const peer = yield* Tcp.connect(client.port)
      yield* say(peer, "hello", 5)
      yield* letGo(server)
      expect((yield* peer.over).how).toBe("ECONNRESET")
      expect(yield* server.exit).toBe(0)
    }))

  it.scopedLive("wsmux serve ends at once when a second SIGTERM comes within the grace", () =>
    Effect.gen(function*() {
      const target = yield* Tcp.echo
      const server = yield* serveAt("127.0.0.1:0", target, ["--grace", "1h"])
      const client = yield* connect(`ws://${server.address}`)
      const peer = yield* Tcp.connect(client.port)
      yield* say(peer, "hello", 5)
      yield* letGo(server)
      const again = Effect.zipRight(server.signal("SIGTERM"), Effect.sleep("50 millis"))
      expect(yield* Effect.raceFirst(Effect.forever(again), server.exit)).toBe(143)
      expect((yield* peer.over).how).toBe("ECONNRESET")
    }))
})
