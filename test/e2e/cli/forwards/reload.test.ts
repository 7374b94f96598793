import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { renameSync, writeFileSync } from "node:fs"
import * as Net from "node:net"
import { text } from "../../../support/bytes.js"
import { within } from "../../../support/within.js"
import * as Tcp from "../tcp.js"
import { logged, start, type Wsmux } from "../wsmux.js"
import { ask, folder, portFor, serveWith } from "./commands.js"

const hello = { how: "end", said: "hello" }

/** A client with a configuration file, whose forwards the test changes. */
const connectBy = (forwards: string, args: ReadonlyArray<string> = []) =>
  Effect.gen(function*() {
    const server = yield* serveWith(["--allow", "*:*", "--allow-remote", "*", "--allow-remote", "udp:*", ...args])
    const path = `${yield* folder}/connect.yaml`
    // in one step, since the client reads the file at any time
    const write = (forwards: string) => {
      writeFileSync(`${path}.new`, `url: ${server.url}\n${forwards}\n`)
      renameSync(`${path}.new`, path)
    }
    write(forwards)
    const client = yield* start(["connect", "--config", path])
    return { client, server, write, path }
  })

/** Awaits as many warnings. */
const awaitWarnings = (client: Wsmux, count: number) =>
  client.awaitOutput(() => logged(client, "WARN").length >= count).pipe(within("30 seconds", `warning ${count}`))

/** Begins a conversation with an echo. Completes with how to go on. */
const converse = (port: number) =>
  Effect.gen(function*() {
    const peer = yield* Tcp.connect(port)
    let said = ""
    return (words: string) =>
      Effect.gen(function*() {
        yield* peer.write(words)
        said += words
        expect(text(yield* peer.received(said.length).pipe(within("30 seconds", `the echo of ${words}`)))).toBe(said)
      })
  })

/** Completes once no process listens at a port. */
const isClosed = (port: number) =>
  Effect.async<boolean>((resume) => {
    const socket = Net.connect(port, "127.0.0.1")
    socket.once("connect", () => resume(Effect.succeed(false)))
    socket.once("error", ({ code }: NodeJS.ErrnoException) => resume(Effect.succeed(code === "ECONNREFUSED")))
    return Effect.sync(() => socket.destroy())
  }).pipe(within("30 seconds", "an answer of a port"))

describe("wsmux connect --config", () => {
  it.scopedLive("wsmux connect ends and begins listeners at SIGHUP when connections run", () =>
    Effect.gen(function*() {
      const [stays, goes, comes] = [yield* Tcp.echo, yield* Tcp.echo, yield* Tcp.echo]
      const to = (target: number) => `127.0.0.1:${target}`
      const { client, server, write } = yield* connectBy(`local: ["0:${to(stays)}", "0:${to(goes)}"]`)
      const [stayingPort, goingPort] = [yield* portFor(client, to(stays)), yield* portFor(client, to(goes))]
      const [staying, going] = [yield* converse(stayingPort), yield* converse(goingPort)]
      yield* Effect.zipRight(staying("one"), going("one"))

      write(`local: ["0:${to(comes)}", "0:${to(stays)}"]\ndynamic: "0"`)
      yield* client.signal("SIGHUP")
      yield* client.awaitLine(/read \S+connect\.yaml again/)
      yield* client.awaitLine(new RegExp(`listening on 127\\.0\\.0\\.1:${goingPort} no more`))
      expect(yield* isClosed(goingPort)).toBe(true)
      yield* Effect.zipRight(staying(" two"), going(" two"))
      expect(yield* ask(stayingPort, "hello")).toEqual(hello)
      expect(yield* ask(yield* portFor(client, to(comes)), "hello")).toEqual(hello)
      const proxied = yield* ask(
        yield* portFor(client, "where clients ask"),
        `CONNECT ${to(comes)} HTTP/1.1\r\n\r\nhello`
      )
      expect(proxied.said).toMatch(/^HTTP\/1\.1 200 [^]*hello$/)
      expect(client.stdout().match(new RegExp(`forwarding to ${to(stays)} `, "g"))).toHaveLength(1)
      yield* server.awaitLine(/client connected/)
      expect(logged(server, "INFO").filter((line) => line === "client connected")).toHaveLength(1)
      expect(logged(client, "WARN")).toEqual([])
    }))

  it.scopedLive("wsmux connect gives the port of a -R at once to the next one when the file changes", () =>
    Effect.gen(function*() {
      const [one, two, other] = [yield* Tcp.echo, yield* Tcp.listen, yield* Tcp.echo]
      const { client, write } = yield* connectBy(`remote: ["0:127.0.0.1:${one}", "0:127.0.0.1:${other}"]`)
      const port = yield* portFor(client, `127.0.0.1:${one}`)
      const running = yield* converse(port)
      const beside = yield* converse(yield* portFor(client, `127.0.0.1:${other}`))
      yield* Effect.zipRight(running("one"), beside("one"))

      write(`remote: ["${port}:127.0.0.1:${two.port}", "0:127.0.0.1:${other}"]`)
      yield* client.signal("SIGHUP")
      expect(yield* portFor(client, `127.0.0.1:${two.port}`)).toBe(port)
      yield* client.awaitLine(new RegExp(`listening on 127\\.0\\.0\\.1:${port} at \\S+ no more`))
      yield* Effect.zipRight(running(" two"), beside(" two"))
      const near = yield* Tcp.connect(port)
      yield* near.write("hello")
      const far = yield* two.accept
      expect(text(yield* far.received(5))).toBe("hello")
      expect(logged(client, "WARN")).toEqual([])
    }))

  it.scopedLive("wsmux connect takes the first -R and udp: when it began with --listen alone", () =>
    Effect.gen(function*() {
      const echo = yield* Tcp.echo
      const { client, write } = yield* connectBy("listen: 127.0.0.1:0", ["--target", `127.0.0.1:${echo}`])
      const [, plain] = yield* client.awaitLine(/^listening on 127\.0\.0\.1:(\d+), forwarding through /)
      const running = yield* converse(Number(plain))
      yield* running("one")
      write(`listen: 127.0.0.1:0\nremote: ["0:127.0.0.1:${echo}"]\nlocal: ["udp:0:127.0.0.1:9"]`)
      yield* client.signal("SIGHUP")
      expect(yield* ask(yield* portFor(client, `127.0.0.1:${echo}`), "hello")).toEqual(hello)
      const udp = yield* portFor(client, "udp:127.0.0.1:9")
      yield* running(" two")
      write(`remote: ["0:127.0.0.1:${echo}"]`)
      yield* client.signal("SIGHUP")
      yield* client.awaitLine(new RegExp(`listening on udp:127\\.0\\.0\\.1:${udp} no more`))
      yield* client.awaitLine(new RegExp(`listening on 127\\.0\\.0\\.1:${plain} no more`))
      yield* running(" three")
    }))

  it.scopedLive("wsmux connect keeps all forwards and logs one line when the file has a fault", () =>
    Effect.gen(function*() {
      const [echo, other] = [yield* Tcp.echo, yield* Tcp.echo]
      const good = `local: ["0:127.0.0.1:${echo}"]`
      const { client, path, write } = yield* connectBy(good)
      const port = yield* portFor(client, `127.0.0.1:${echo}`)
      const running = yield* converse(port)
      const faults: ReadonlyArray<readonly [forwards: string, fault: string]> = [
        [`local: ["0:127.0.0.1:${other}", nonsense]`, `:2:${25 + String(other).length}: local: expected `],
        ["local: [", ":"],
        ["local: []", ":2:8: --listen, -L, -R, -D, -W: expected one of them"],
        [`${good}\nalow-anonymous: true`, ":3:1: unknown key 'alow-anonymous'"],
        [`local: ["0.0.0.0:0:127.0.0.1:${other}"]`, ":2:9: local: other machines can reach 0.0.0.0:0"],
        ["stdio: db:22", ":2:8: stdio: the command has begun without it"],
        [`${good}\ntoken-file: /nowhere`, ":3:13: token-file: /nowhere does not exist"]
      ]
      for (const [i, [forwards, fault]] of faults.entries()) {
        write(forwards)
        yield* client.signal("SIGHUP")
        yield* awaitWarnings(client, i + 1)
        const warnings = logged(client, "WARN")
        expect(warnings).toHaveLength(i + 1)
        expect(warnings[i]).toContain(`${fault.startsWith(":") ? path : ""}${fault}`)
        yield* running(String(i))
      }
      write(`${good}\nreconnect: true\nkeep-alive: 5s`)
      yield* client.awaitLine(/connect\.yaml: keep-alive, reconnect: changed at a restart only/)
      expect(yield* ask(port, "hello")).toEqual(hello)
      expect(client.stdout().match(/listening on/g)).toHaveLength(1)
    }))

  it.scopedLive("wsmux connect warns and begins the others when a new listener cannot begin", () =>
    Effect.gen(function*() {
      const echo = yield* Tcp.echo
      const { port: taken } = yield* Tcp.listen
      const { client, write } = yield* connectBy(`local: ["0:127.0.0.1:1"]`, ["--allow-remote", "127.0.0.9:1"])
      yield* portFor(client, "127.0.0.1:1")
      const wanted = `local: ["${taken}:db:1", "0:127.0.0.1:${echo}"]\nremote: ["${taken}:db:2", "80:db:3"]`
      write(wanted)
      yield* client.signal("SIGHUP")
      yield* client.awaitLine(/read \S+connect\.yaml again/)
      expect(yield* ask(yield* portFor(client, `127.0.0.1:${echo}`), "hello")).toEqual(hello)
      yield* awaitWarnings(client, 3)
      expect(logged(client, "WARN")).toEqual([
        `cannot listen on 127.0.0.1:${taken}: address already in use (EADDRINUSE)`,
        `cannot forward -R 127.0.0.1:${taken}:db:2: the server cannot listen there (EADDRINUSE)`,
        "cannot forward -R 127.0.0.1:80:db:3: the server does not allow it"
      ])
    }))

  it.scopedLive("wsmux connect asks its next session for a -R when the file changes without a session", () =>
    Effect.gen(function*() {
      const [one, two] = [yield* Tcp.echo, yield* Tcp.echo]
      const { client, server, write } = yield* connectBy(`remote: ["0:127.0.0.1:${one}"]\nreconnect: true`)
      yield* portFor(client, `127.0.0.1:${one}`)
      yield* server.signal("SIGKILL")
      yield* client.awaitLine(/the next attempt is in/)
      write(`remote: ["0:127.0.0.1:${two}"]\nreconnect: true`)
      yield* client.signal("SIGHUP")
      yield* client.awaitLine(/read \S+connect\.yaml again/)
      yield* start(["serve", "--listen", new URL(server.url).host, "--allow-remote", "*"])
      expect(yield* ask(yield* portFor(client, `127.0.0.1:${two}`), "hello")).toEqual(hello)
      expect(client.stdout().match(new RegExp(`forwarding to 127.0.0.1:${one}`, "g"))).toHaveLength(1)
    }))
})
