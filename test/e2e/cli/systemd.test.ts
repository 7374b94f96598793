import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { spawn, spawnSync } from "node:child_process"
import {
  chmodSync,
  closeSync,
  existsSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  watch,
  writeFileSync,
  writeSync
} from "node:fs"
import { tmpdir } from "node:os"
import { delimiter, join } from "node:path"
import { programs } from "../../support/programs.js"
import { within } from "../../support/within.js"
import * as Tcp from "./tcp.js"
import { makeWaits } from "./waits.js"
import { connect, logged, serve } from "./wsmux.js"

const temporary = Effect.acquireRelease(
  Effect.sync(() => mkdtempSync(join(tmpdir(), "wsmux-"))),
  (folder) => Effect.sync(() => rmSync(folder, { recursive: true, force: true }))
)

/**
 * A folder with a stand-in for `systemd-notify`, which writes its arguments to a file and then runs the lines of
 * `rest`.
 */
const standIn = (rest = "") =>
  Effect.gen(function*() {
    const folder = yield* temporary
    const { until, wake } = makeWaits()
    yield* Effect.acquireRelease(
      Effect.sync(() => watch(folder, wake)),
      (watcher) => Effect.sync(() => watcher.close())
    )
    const told = join(folder, "told")
    const program = join(folder, "systemd-notify")
    writeFileSync(program, `#!/bin/sh\necho "$NOTIFY_SOCKET $*" >> '${told}'\n${rest}\n`)
    chmodSync(program, 0o755)
    const lines = () => existsSync(told) ? readFileSync(told, "utf8").split("\n").slice(0, -1) : []
    return {
      folder,
      env: { NOTIFY_SOCKET: "@wsmux/test", PATH: `${folder}${delimiter}${process.env.PATH}` },
      /** Awaits as many messages, and completes with all of them. */
      until: (count: number) =>
        until(() => lines().length < count ? undefined : Effect.sync(lines)).pipe(
          within("30 seconds", `${count} messages to systemd`)
        )
    }
  })

/** A pipe from which a stand-in reads. `open` lets a stand-in go on that waits for a line. */
const gate = (path: string) =>
  Effect.map(
    Effect.acquireRelease(
      Effect.sync(() => {
        spawnSync("mkfifo", [path])
        return openSync(path, "r+") // a reader never waits for a writer then
      }),
      (fd) => Effect.sync(() => closeSync(fd))
    ),
    (fd) => ({ open: Effect.sync(() => writeSync(fd, "\n")) })
  )

describe.skipIf(process.platform !== "linux")("wsmux and systemd", () => {
  for (const workers of ["1", "2"]) {
    it.scopedLive(`wsmux serve tells systemd of its start, reloads and end when it has ${workers} workers`, () =>
      Effect.gen(function*() {
        const { env, folder, until } = yield* standIn()
        const rules = join(folder, "rules.yaml")
        writeFileSync(rules, "users: {}")
        const args = ["--rules", rules, "--workers", workers]
        const server = yield* serve(yield* Tcp.echo, args, { env, last: "SIGTERM" })
        expect(yield* until(1)).toEqual(["@wsmux/test READY=1"])
        yield* server.signal("SIGHUP")
        expect((yield* until(3)).slice(1)).toEqual([
          expect.stringMatching(/^@wsmux\/test RELOADING=1 MONOTONIC_USEC=\d+$/),
          "@wsmux/test READY=1"
        ])
        yield* server.signal("SIGTERM")
        expect((yield* until(4)).slice(3)).toEqual(["@wsmux/test STOPPING=1"])
        expect(yield* server.exit).toBe(0)
      }))
  }

  it.scopedLive("wsmux serve tells systemd of its end when the last message is still on its way", () =>
    Effect.gen(function*() {
      const { env, folder, until } = yield* standIn("test $1 = STOPPING=1 || read line < \"${0%/*}/gate\"")
      const { open } = yield* gate(join(folder, "gate"))
      const server = yield* serve(yield* Tcp.echo, [], { env, last: "SIGTERM" })
      yield* until(1)
      yield* server.signal("SIGTERM")
      yield* server.awaitLine(/taking no more clients/)
      yield* open
      expect(yield* until(2)).toEqual(["@wsmux/test READY=1", "@wsmux/test STOPPING=1"])
      expect(yield* server.exit).toBe(0)
    }))

  it.scopedLive("wsmux connect tells systemd when its first session is up, and when it ends", () =>
    Effect.gen(function*() {
      const { env, until } = yield* standIn()
      const { url } = yield* serve(yield* Tcp.echo)
      const client = yield* connect(url, [], { env })
      expect(yield* until(1)).toEqual(["@wsmux/test READY=1"])
      yield* client.signal("SIGTERM")
      expect((yield* until(2)).slice(1)).toEqual(["@wsmux/test STOPPING=1"])
    }))

  it.scopedLive("wsmux serve goes on with a warning when systemd-notify fails", () =>
    Effect.gen(function*() {
      const { env } = yield* standIn("exit 1")
      const server = yield* serve(yield* Tcp.echo, [], { env })
      yield* server.awaitLine(/level=WARN message="cannot tell systemd READY=1: /)
      const { port } = yield* connect(server.url)
      const near = yield* Tcp.connect(port)
      yield* near.write("hello")
      yield* near.received(5)
    }))
})

/** Prints each datagram that comes to the socket as a line: Node has no sockets of that kind. */
const receiver = `
  use IO::Socket::UNIX;
  $| = 1;
  my $socket = IO::Socket::UNIX->new(Type => SOCK_DGRAM, Local => $ARGV[0] =~ s/^@/\\0/r) or die $!;
  print "bound\\n";
  while (defined $socket->recv(my $message, 4096)) { print $message =~ s/\\n/ /gr, "\\n" }
`

/** Listens at an address of NOTIFY_SOCKET in the place of systemd. */
const listenAt = (address: string) =>
  Effect.gen(function*() {
    const { until, wake } = makeWaits()
    let output = ""
    const child = yield* Effect.acquireRelease(
      Effect.sync(() => spawn(programs.perl!, ["-e", receiver, address], { stdio: ["ignore", "pipe", "inherit"] })),
      (child) => Effect.sync(() => child.kill("SIGKILL"))
    )
    child.stdout.setEncoding("utf8").on("data", (text: string) => {
      output += text
      wake()
    })
    const lines = () => output.split("\n").slice(0, -1)
    yield* until(() => lines()[0] === "bound" ? Effect.void : undefined).pipe(
      within("30 seconds", "the receiver in the place of systemd")
    )
    /** Awaits as many states. `BARRIER=1` is of `systemd-notify`, which waits until its message has been read. */
    return (count: number) =>
      until(() => {
        const states = lines().slice(1).filter((line) => line !== "BARRIER=1")
        return states.length < count ? undefined : Effect.succeed(states)
      }).pipe(within("30 seconds", `${count} messages to systemd`))
  })

// The program `systemd-notify` and the socket are real here. systemd itself is not: a container has none that runs
// units, so no test shows what systemd does with the messages.
describe.skipIf(programs["systemd-notify"] === undefined || programs.perl === undefined)("wsmux and systemd", () => {
  it.scopedLive("wsmux serve tells its states by systemd-notify when NOTIFY_SOCKET is a path", () =>
    Effect.gen(function*() {
      const folder = yield* temporary
      const socket = join(folder, "notify")
      const until = yield* listenAt(socket)
      const rules = join(folder, "rules.yaml")
      writeFileSync(rules, "users: {}")
      const server = yield* serve(yield* Tcp.echo, ["--rules", rules], {
        env: { NOTIFY_SOCKET: socket },
        last: "SIGTERM"
      })
      expect(yield* until(1)).toEqual(["READY=1"])
      yield* server.signal("SIGHUP")
      expect((yield* until(3)).slice(1)).toEqual([
        expect.stringMatching(/^RELOADING=1 MONOTONIC_USEC=\d+$/),
        "READY=1"
      ])
      yield* server.signal("SIGTERM")
      expect((yield* until(4)).slice(3)).toEqual(["STOPPING=1"])
      expect(yield* server.exit).toBe(0)
      expect(logged(server, "WARN")).toEqual([])
    }))

  it.scopedLive("wsmux connect tells its states by systemd-notify when NOTIFY_SOCKET is abstract", () =>
    Effect.gen(function*() {
      const socket = `@wsmux/test/${process.pid}`
      const until = yield* listenAt(socket)
      const { url } = yield* serve(yield* Tcp.echo)
      const client = yield* connect(url, [], { env: { NOTIFY_SOCKET: socket } })
      expect(yield* until(1)).toEqual(["READY=1"])
      yield* client.signal("SIGTERM")
      expect((yield* until(2)).slice(1)).toEqual(["STOPPING=1"])
    }))
})
