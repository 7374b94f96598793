import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { text } from "../../../support/bytes.js"
import { connectWith, run, serveWith } from "../inProcess.js"
import * as Tcp from "../tcp.js"
import * as Wire from "../wire.js"
import { logged } from "../wsmux.js"
import * as Process from "./commands.js"
import { ask, askPath, closed, echoAt, folder, listenerFor, portFor } from "./commands.js"

const hello = { how: "end", said: "hello" }

describe("wsmux connect -L", () => {
  it.scopedLive("wsmux connect forwards several -L, remotes and --listen over one session", () =>
    Effect.gen(function*() {
      const [one, two, three] = [yield* Tcp.echo, yield* Tcp.echo, yield* Tcp.echo]
      const server = yield* Process.serveWith([
        "--allow",
        `127.0.0.1:${one}`,
        "--allow",
        `localhost:${two}`,
        "--target",
        `127.0.0.1:${three}`
      ])
      const client = yield* Process.connectWith(server.url, [
        ...[`0:localhost:${two}`, "-L", `0:127.0.0.1:${one}`, "--listen", "127.0.0.1:0"]
      ])
      expect(yield* ask(yield* portFor(client, `127.0.0.1:${one}`), "hello")).toEqual(hello)
      expect(yield* ask(yield* portFor(client, `localhost:${two}`), "hello")).toEqual(hello)
      const [, plain] = yield* client.awaitLine(/^listening on 127\.0\.0\.1:(\d+), forwarding through /)
      expect(yield* ask(Number(plain), "hello")).toEqual(hello)
      yield* server.awaitLine(/client connected/)
      expect(logged(server, "INFO").filter((line) => line === "client connected").length).toBe(1)
    }))

  it.scopedLive("wsmux connect forwards from and to unix sockets, each way to its own end", () =>
    Effect.gen(function*() {
      const here = yield* folder
      const target = `${here}/target.sock`
      yield* echoAt(target)
      const server = yield* serveWith(["--allow", `${here}/*`, "--target", target])
      const client = yield* connectWith(server.url, ["-L", `${here}/near.sock:${target}`, "--listen", "0"])
      expect(yield* listenerFor(client, target)).toBe(`${here}/near.sock`)
      expect(yield* askPath(`${here}/near.sock`, "hello")).toBe("hello")
      const [, plain] = yield* client.awaitLine(/^listening on 127\.0\.0\.1:(\d+), forwarding through /)
      expect(yield* ask(Number(plain), "hello")).toEqual(hello)
    }))

  it.scopedLive("wsmux connect forwards between ports and unix sockets when -L, -R or -D names either", () =>
    Effect.gen(function*() {
      const here = yield* folder
      const [target, port] = [`${here}/target.sock`, yield* Tcp.echo]
      yield* echoAt(target)
      const server = yield* serveWith([
        ...["--allow", target, "--allow", `127.0.0.1:${port}`, "--allow-remote", "*"]
      ])
      const client = yield* connectWith(server.url, [
        ...["-L", `0:${target}`, "-L", `${here}/near.sock:127.0.0.1:${port}`, "-D", `${here}/proxy.sock`]
      ])
      expect(yield* ask(yield* portFor(client, target), "hello")).toEqual(hello)
      expect(yield* askPath(yield* listenerFor(client, `127.0.0.1:${port}`), "hello")).toBe("hello")
      const request = `CONNECT 127.0.0.1:${port} HTTP/1.1\r\n\r\nhello`
      const proxied = yield* askPath(yield* listenerFor(client, "where clients ask"), request)
      expect(proxied).toMatch(/^HTTP\/1\.1 200 [^]*\r\nhello$/)
      const reverse = yield* connectWith(server.url, ["-R", `0:${target}`])
      expect(yield* ask(yield* portFor(reverse, target), "hello")).toEqual(hello)
    }))

  it.scopedLive("wsmux connect resets the connection and tells why when the server does not allow a target", () =>
    Effect.gen(function*() {
      const port = yield* Tcp.echo
      const server = yield* serveWith([
        "--allow",
        `127.0.0.2:${port}`,
        "--allow",
        "127.0.0.1:1",
        "--allow",
        "*.invalid:80",
        "--log-level",
        "debug" // refusals within a second of another are logged at this level
      ])
      const targets: Readonly<Record<string, string>> = {
        [`127.0.0.1:${port}`]: "the server does not allow it",
        [`localhost:${port}`]: "the server does not allow it", // resolves to a forbidden address
        [`[::ffff:127.0.0.1]:${port}`]: "the server does not allow it",
        "127.0.0.2:22": "the server does not allow it",
        "/run/secret.sock": "the server does not allow it",
        [closed]: "the target refused the connection",
        "no.such.name.invalid:80": "the other end finds no address of that name"
      }
      for (const [target, reason] of Object.entries(targets)) {
        const client = yield* connectWith(server.url, ["-L", `0:${target}`, "--log-level", "warning"])
        const { how } = yield* ask(yield* portFor(client, target), "hello")
        expect([target, how]).toEqual([target, "ECONNRESET"])
        yield* client.awaitLine(/cannot forward /)
        const [warning] = logged(client, "WARN")
        expect(warning?.replace(/127\.0\.0\.1:\d+ to/, "PEER to")).toBe(`cannot forward PEER to ${target}: ${reason}`)
        yield* client.signal("SIGINT")
      }
      yield* server.awaitLine(/is at 127\.0\.0\.1, which is not allowed/)
    }))

  it.scopedLive("wsmux passes a reset on through -L in both directions", () =>
    Effect.gen(function*() {
      const target = yield* Tcp.listen
      const server = yield* serveWith(["--allow", `127.0.0.1:${target.port}`])
      const client = yield* connectWith(server.url, ["-L", `0:127.0.0.1:${target.port}`])
      const port = yield* portFor(client, `127.0.0.1:${target.port}`)
      const near = yield* Tcp.connect(port)
      yield* near.write("hello")
      const far = yield* target.accept
      expect(text(yield* far.received(5))).toBe("hello")
      yield* near.reset
      expect((yield* far.over).how).toBe("ECONNRESET")

      const second = yield* Tcp.connect(port)
      yield* second.write("hello")
      const other = yield* target.accept
      yield* other.received(5)
      yield* other.write("bye")
      yield* second.received(3)
      yield* other.reset
      expect((yield* second.over).how).toBe("ECONNRESET")
    }))

  it.scopedLive("wsmux connect exits with 1 when the server speaks Go's wire only", () =>
    Effect.gen(function*() {
      const { url } = yield* Wire.listen
      const { code, stderr } = yield* run(["connect", url, "--log-level", "warning", "-L", "0:db:80"])
      expect({ code, stderr }).toEqual({
        code: 1,
        stderr: "wsmux: cannot forward -L 127.0.0.1:0:db:80: the server does not know labels; " +
          "Go servers and an older wsmux serve take --listen only\n"
      })
    }))

  it.scopedLive("wsmux serve resets plain streams when it has no --target", () =>
    Effect.gen(function*() {
      const server = yield* serveWith(["--allow", closed])
      const client = yield* connectWith(server.url, ["--listen", "0", "--log-level", "warning"])
      const [, port] = yield* client.awaitLine(/^listening on 127\.0\.0\.1:(\d+), /)
      expect((yield* ask(Number(port), "hello")).how).toBe("ECONNRESET")
      yield* client.awaitLine(/cannot forward 127\.0\.0\.1:\d+: the server does not allow it/)
    }))

  it.scopedLive("wsmux serve tells targets the client's address when it has --proxy-protocol", () =>
    Effect.gen(function*() {
      const target = yield* Tcp.listen
      const server = yield* serveWith(["--target", `127.0.0.1:${target.port}`, "--proxy-protocol"])
      const client = yield* connectWith(server.url, ["--listen", "0"])
      const [, port] = yield* client.awaitLine(/^listening on 127\.0\.0\.1:(\d+), /)
      const near = yield* Tcp.connect(Number(port))
      yield* near.write("hello")
      const bytes = Buffer.from(yield* (yield* target.accept).received(28 + 5))
      expect(bytes.subarray(0, 16).toString("hex")).toBe("0d0a0d0a000d0a515549540a2111000c")
      expect([...bytes.subarray(16, 24)]).toEqual([127, 0, 0, 1, 127, 0, 0, 1])
      expect(bytes.readUInt16BE(26)).toBe(Number(new URL(server.url).port))
      expect(bytes.subarray(28).toString()).toBe("hello")
    }))
})
