import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"
import { readFileSync } from "node:fs"
import { fileURLToPath } from "node:url"
import { text } from "../../support/bytes.js"
import { tcpServer } from "../../support/transports.js"
import * as Tcp from "./tcp.js"
import { connect, run, serve, type Wsmux } from "./wsmux.js"

const secret = "correct-horse-battery-staple"
const twoWorkers = ["--workers", "2"]
const fixture = (name: string): string => fileURLToPath(new URL(`../../fixtures/tls/${name}`, import.meta.url))

/** The processes that a process has started, in their order. */
const workersOf = ({ pid }: Wsmux): ReadonlyArray<number> =>
  readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8").trim().split(" ").map(Number)

/** Completes when all processes have ended. */
const gone = (pids: ReadonlyArray<number>) =>
  Effect.sync(() => pids.filter(isAlive)).pipe(
    Effect.repeat(
      Schedule.addDelay(Schedule.recurUntil((living: ReadonlyArray<number>) => living.length === 0), () => 20)
    ),
    Effect.timeoutFail({ duration: "10 seconds", onTimeout: () => new Error(`${pids} have not ended within 10 s`) })
  )

const isAlive = (pid: number): boolean => {
  try {
    process.kill(pid, 0)
    return true
  } catch {
    return false
  }
}

/** The answer of an echo target through the tunnel. */
const echoed = (port: number) =>
  Effect.scoped(Effect.gen(function*() {
    const peer = yield* Tcp.connect(port)
    yield* peer.write("hello")
    yield* peer.end
    return text((yield* peer.over).bytes)
  }))

/** Kills a worker, and awaits the line that tells so. */
const kill = (server: Wsmux, number: number, pid: number) =>
  Effect.zipRight(
    Effect.sync(() => process.kill(pid, "SIGKILL")),
    server.awaitLine(
      new RegExp(`level=WARN message="worker ${number} was ended by SIGKILL; the next one starts in 0.25 s"`)
    )
  )

describe.skipIf(process.platform !== "linux")("wsmux serve --workers", () => {
  it.scopedLive("wsmux serve announces its port once and hands sessions to workers in turn", () =>
    Effect.gen(function*() {
      const server = yield* serve(yield* Tcp.echo, [...twoWorkers, "--token", secret])
      const clients = yield* Effect.all([1, 2, 3, 4].map(() => connect(server.url, ["--token", secret])))
      for (const { port } of clients) expect(yield* echoed(port)).toBe("hello")
      const workers = () =>
        server.stderr().split("\n").filter((line) => line.includes("client connected")).flatMap((line) =>
          /worker=(\d+)/.exec(line)?.[1] ?? []
        )
      yield* server.awaitOutput(() => workers().length === clients.length)
      expect(workers().sort()).toEqual(["1", "1", "2", "2"])
      expect(server.stdout()).toMatch(/^listening on \S+, forwarding to \S+\n$/)
      yield* server.awaitLine(/resuming is off: with --workers/)
    }))

  it.scopedLive("wsmux serve replaces a worker and goes on by the other one when one is killed", () =>
    Effect.gen(function*() {
      const server = yield* serve(yield* Tcp.echo, twoWorkers)
      const clients = yield* Effect.all([connect(server.url, ["--reconnect"]), connect(server.url, ["--reconnect"])])
      const near = yield* Effect.all(clients.map(({ port }) => Tcp.connect(port)))
      for (const peer of near) {
        yield* peer.write("hello")
        yield* peer.received(5)
      }
      yield* kill(server, 1, workersOf(server)[0]!)
      const fates = Effect.all(near.map((peer) => Effect.timeoutOption(peer.over, "1 second")), { concurrency: 2 })
      expect((yield* fates).filter(({ _tag }) => _tag === "Some")).toHaveLength(1)
      for (const { port } of clients) expect(yield* echoed(port)).toBe("hello")
      yield* server.signal("SIGTERM")
      expect(yield* server.exit).toBe(0)
    }))

  it.scopedLive("wsmux serve comes back at its port when port 0 was given and all workers are killed", () =>
    Effect.gen(function*() {
      const server = yield* serve(yield* Tcp.echo, twoWorkers)
      const client = yield* connect(server.url, ["--reconnect"])
      expect(yield* echoed(client.port)).toBe("hello")
      const [first, second] = workersOf(server)
      yield* Effect.all([kill(server, 1, first!), kill(server, 2, second!)], { concurrency: 2 })
      expect(yield* echoed(client.port)).toBe("hello")
    }))

  it.scopedLive("wsmux serve keeps connections waiting when none of its workers serves yet", () =>
    Effect.gen(function*() {
      const server = yield* serve(yield* Tcp.echo, twoWorkers)
      const [first, second] = workersOf(server)
      yield* Effect.all([kill(server, 1, first!), kill(server, 2, second!)], { concurrency: 2 })
      const socket = yield* Tcp.connect(Number(new URL(server.url).port))
      yield* socket.write("GET / HTTP/1.1\r\nhost: x\r\n\r\n")
      expect(text(yield* socket.received(12))).toContain("HTTP/1.1 426")
    }))

  it.scopedLive("wsmux serve ends every worker and closes every session when SIGTERM comes", () =>
    Effect.gen(function*() {
      const server = yield* serve(yield* Tcp.echo, twoWorkers)
      const clients = yield* Effect.all([connect(server.url), connect(server.url)])
      const workers = workersOf(server)
      yield* server.signal("SIGTERM")
      for (const client of clients) expect(yield* client.exit).toBe(1)
      expect(yield* server.exit).toBe(0)
      expect(workers.filter(isAlive)).toEqual([])
      expect(server.stderr()).not.toContain("the next one")
    }))

  it.scopedLive("wsmux serve exits with 0 when Ctrl-C sends SIGINT to the workers, too", () =>
    Effect.gen(function*() {
      const server = yield* serve(yield* Tcp.echo, twoWorkers)
      yield* Effect.sync(() => {
        for (const pid of [server.pid, ...workersOf(server)]) process.kill(pid, "SIGINT")
      })
      expect(yield* server.exit).toBe(0)
    }))

  it.scopedLive("wsmux serve ends its workers and resets their connections when SIGKILL ends the parent", () =>
    Effect.gen(function*() {
      const target = yield* Tcp.listen
      const server = yield* serve(target.port, twoWorkers)
      const client = yield* connect(server.url)
      const near = yield* Tcp.connect(client.port)
      yield* near.write("hello")
      const far = yield* target.accept
      yield* far.received(5)
      const workers = workersOf(server)
      yield* server.signal("SIGKILL")
      expect((yield* far.over).how).toBe("ECONNRESET")
      yield* gone(workers)
    }))

  for (const given of ["--token", "WSMUX_TOKEN"]) {
    it.scopedLive(`wsmux serve shows its workers' secrets in no list of processes when ${given} gives one`, () =>
      Effect.gen(function*() {
        const isOption = given === "--token"
        const args = [...twoWorkers, ...isOption ? ["--token", secret] : [], "--log-level", "all"]
        const server = yield* serve(yield* Tcp.echo, args, isOption ? {} : { env: { WSMUX_TOKEN: secret } })
        const client = yield* connect(server.url, [], { env: { WSMUX_TOKEN: secret } })
        expect(yield* echoed(client.port)).toBe("hello")
        expect(yield* run(["connect", server.url, "--listen", "127.0.0.1:0"])).toMatchObject({ code: 1, stdout: "" })
        const shown = workersOf(server).flatMap((pid) =>
          ["cmdline", "environ"].map((file) => readFileSync(`/proc/${pid}/${file}`, "utf8"))
        )
        expect(shown).toHaveLength(4)
        expect([...shown, server.stdout(), server.stderr()].filter((text) => text.includes(secret))).toEqual([])
      }))
  }

  it.scopedLive("wsmux serve listens with TLS in its workers when a certificate is given", () =>
    Effect.gen(function*() {
      const tls = ["--tls-cert", fixture("cert.pem"), "--tls-key", fixture("key.pem")]
      const server = yield* serve(yield* Tcp.echo, [...twoWorkers, ...tls])
      expect(server.url).toMatch(/^wss:/)
      const client = yield* connect(server.url, ["--tls-ca", fixture("cert.pem")])
      expect(yield* echoed(client.port)).toBe("hello")
    }))

  it.scopedLive("wsmux serve exits with 1 as without workers when its port is in use", () =>
    Effect.gen(function*() {
      const { port } = yield* tcpServer(() => {})
      const args = ["serve", "--listen", `127.0.0.1:${port}`, "--target", "127.0.0.1:1"]
      const alone = yield* run(args)
      expect(alone).toMatchObject({ code: 1, stderr: expect.stringContaining("EADDRINUSE") })
      expect(yield* run([...args, ...twoWorkers])).toEqual(alone)
    }))

  it.live("wsmux serve exits with 1 when a worker cannot start", () =>
    Effect.gen(function*() {
      const dying = "--import=data:text/javascript,if(process.env.WSMUX_WORKER==2)process.exit(3)"
      const args = ["serve", ...twoWorkers, "--listen", "127.0.0.1:0", "--target", "127.0.0.1:1"]
      expect(yield* run(args, { env: { NODE_OPTIONS: dying } })).toEqual({
        code: 1,
        stdout: "",
        stderr: "wsmux: cannot start worker 2: the process exited with code 3\n"
      })
    }))
})
