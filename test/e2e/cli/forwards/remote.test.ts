import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Net from "node:net"
import { text } from "../../../support/bytes.js"
import { connectWith, run, serveWith } from "../inProcess.js"
import * as Tcp from "../tcp.js"
import * as Process from "./commands.js"
import { ask, askPath, folder, freed, listenerFor, portFor } from "./commands.js"

const hello = { how: "end", said: "hello" }

describe("wsmux connect -R", () => {
  it.scopedLive("wsmux connect forwards the connections of two listeners at the server to their targets", () =>
    Effect.gen(function*() {
      const [one, two] = [yield* Tcp.echo, yield* Tcp.listen]
      const server = yield* Process.serveWith(["--allow-remote", "*"])
      const client = yield* Process.connectWith(server.url, ["-R", `0:127.0.0.1:${one}`, `R:0:127.0.0.1:${two.port}`])
      expect(yield* ask(yield* portFor(client, `127.0.0.1:${one}`), "hello")).toEqual(hello)

      const far = yield* Tcp.connect(yield* portFor(client, `127.0.0.1:${two.port}`))
      yield* far.write("to the client")
      yield* far.end
      const near = yield* two.accept
      expect(text((yield* near.over).bytes)).toBe("to the client")
      yield* near.write("and back")
      yield* near.end
      const { bytes, how } = yield* far.over
      expect([text(bytes), how]).toEqual(["and back", "end"])
    }))

  it.scopedLive("wsmux passes a reset on through -R in both directions", () =>
    Effect.gen(function*() {
      const target = yield* Tcp.listen
      const server = yield* serveWith(["--allow-remote", "0"])
      const client = yield* connectWith(server.url, ["-R", `0:127.0.0.1:${target.port}`])
      const port = yield* portFor(client, `127.0.0.1:${target.port}`)
      const far = yield* Tcp.connect(port)
      yield* far.write("hello")
      const near = yield* target.accept
      yield* near.received(5)
      yield* far.reset
      expect((yield* near.over).how).toBe("ECONNRESET")
      const second = yield* Tcp.connect(port)
      yield* second.write("hello")
      const other = yield* target.accept
      yield* other.received(5)
      yield* other.reset
      expect((yield* second.over).how).toBe("ECONNRESET")
    }))

  it.scopedLive("wsmux resets a connection of -R when the client cannot reach its target", () =>
    Effect.gen(function*() {
      const server = yield* serveWith(["--allow-remote", "*"])
      const client = yield* connectWith(server.url, ["-R", "0:127.0.0.1:1"])
      expect((yield* ask(yield* portFor(client, "127.0.0.1:1"), "hello")).how).toBe("ECONNRESET")
      yield* client.awaitLine(
        /cannot forward 127\.0\.0\.1:\d+ by -R 127\.0\.0\.1:0:127\.0\.0\.1:1: connect ECONNREFUSED/
      )
    }))

  it.scopedLive("wsmux connect listens at a unix socket of the server", () =>
    Effect.gen(function*() {
      const here = yield* folder
      const target = yield* Tcp.echo
      const server = yield* serveWith(["--allow-remote", `${here}/*`])
      const client = yield* connectWith(server.url, ["-R", `${here}/far.sock:127.0.0.1:${target}`])
      const path = yield* listenerFor(client, `127.0.0.1:${target}`)
      expect(yield* askPath(path, "hello")).toBe("hello")
    }))

  it.scopedLive("wsmux connect tells targets of -R their client's address when it has --proxy-protocol", () =>
    Effect.gen(function*() {
      const target = yield* Tcp.listen
      const server = yield* serveWith(["--allow-remote", "*"])
      const client = yield* connectWith(server.url, ["-R", `0:127.0.0.1:${target.port}`, "--proxy-protocol"])
      const port = yield* portFor(client, `127.0.0.1:${target.port}`)
      const far = yield* Effect.acquireRelease(
        Effect.sync(() => Net.connect(port, "127.0.0.1")),
        (far) => Effect.sync(() => far.destroy())
      )
      far.write("hello")
      const bytes = Buffer.from(yield* (yield* target.accept).received(28 + 5))
      expect(bytes.subarray(0, 16).toString("hex")).toBe("0d0a0d0a000d0a515549540a2111000c")
      expect([...bytes.subarray(16, 20)]).toEqual([127, 0, 0, 1])
      expect(bytes.readUInt16BE(24)).toBe(far.localPort)
      expect(bytes.subarray(28).toString()).toBe("hello")
    }))

  const forbidden = ["9081", "0.0.0.0:9080", "*:9080", "[::]:9080", "80", "/run/wsmux.sock", "udp:9080"]
  it.scopedLive("wsmux connect exits with 1 when --allow-remote names another port, bind, path or protocol", () =>
    Effect.gen(function*() {
      const { url } = yield* serveWith(["--allow-remote", "9080", "--allow-remote", "127.0.0.9:*"])
      const results = yield* Effect.forEach(
        forbidden,
        (asked) => run(["connect", url, "--log-level", "error", "-R", `${asked}:127.0.0.1:80`, "--reconnect"]),
        { concurrency: 2 }
      )
      for (const { code, stderr } of results) {
        expect(code).toBe(1)
        expect(stderr).toMatch(/^wsmux: cannot forward -R .*:127\.0\.0\.1:80: the server does not allow it\n$/)
      }
    }))

  it.scopedLive("wsmux connect exits with 1 when the port of -R is in use at the server", () =>
    Effect.gen(function*() {
      const { port } = yield* Tcp.listen
      const { url } = yield* serveWith(["--allow-remote", "*"])
      const { code, stderr } = yield* run(["connect", url, "--log-level", "error", "-R", `${port}:db:80`])
      const reason = "the server cannot listen there (EADDRINUSE)"
      expect({ code, stderr }).toEqual({
        code: 1,
        stderr: `wsmux: cannot forward -R 127.0.0.1:${port}:db:80: ${reason}\n`
      })
    }))

  it.scopedLive("wsmux serve frees the port of a client that is killed, at once", () =>
    Effect.gen(function*() {
      const server = yield* Process.serveWith(["--allow-remote", "*"])
      const client = yield* Process.connectWith(server.url, ["-R", "0:127.0.0.1:1"])
      const port = yield* portFor(client, "127.0.0.1:1")
      yield* client.signal("SIGKILL")
      yield* freed(port)
    }))

  for (const [signal, resume] of [["SIGSTOP", "off"], ["SIGSTOP", "2m"], ["SIGKILL", "2m"]] as const) {
    it.scopedLive(`wsmux serve frees a port two keep-alives after ${signal} to its client, --resume ${resume}`, () =>
      Effect.gen(function*() {
        const server = yield* Process.serveWith(["--allow-remote", "*", "--keep-alive", "1s"])
        const args = ["-R", "0:127.0.0.1:1", "--keep-alive", "1s", "--resume", resume]
        const client = yield* Process.connectWith(server.url, args)
        const port = yield* portFor(client, "127.0.0.1:1")
        yield* client.signal(signal)
        yield* freed(port, "5 seconds") // two intervals, and three seconds for a busy machine
      }))
  }
})
