import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { delimiter, join } from "node:path"
import * as Tcp from "./tcp.js"
import { connect, serve } from "./wsmux.js"

/** A folder with a stand-in for `systemd-notify`, which writes its arguments to a file. */
const standIn = (exitCode = 0) =>
  Effect.map(
    Effect.acquireRelease(
      Effect.sync(() => mkdtempSync(join(tmpdir(), "wsmux-"))),
      (folder) => Effect.sync(() => rmSync(folder, { recursive: true }))
    ),
    (folder) => {
      const told = join(folder, "told")
      const program = join(folder, "systemd-notify")
      writeFileSync(program, `#!/bin/sh\necho "$NOTIFY_SOCKET $*" >> '${told}'\nexit ${exitCode}\n`)
      chmodSync(program, 0o755)
      const env = { NOTIFY_SOCKET: "@wsmux/test", PATH: `${folder}${delimiter}${process.env.PATH}` }
      const lines = () => existsSync(told) ? readFileSync(told, "utf8").trim().split("\n") : []
      const until = (count: number) =>
        Effect.sync(lines).pipe(
          Effect.repeat(
            Schedule.addDelay(Schedule.recurUntil((lines: Array<string>) => lines.length >= count), () => 20)
          ),
          Effect.timeoutFail({
            duration: "15 seconds",
            onTimeout: () => new Error(`${count} messages did not come within 15 s: ${lines()}`)
          })
        )
      return { folder, env, until }
    }
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
      const { env } = yield* standIn(1)
      const server = yield* serve(yield* Tcp.echo, [], { env })
      yield* server.awaitLine(/level=WARN message="cannot tell systemd READY=1: /)
      const { port } = yield* connect(server.url)
      const near = yield* Tcp.connect(port)
      yield* near.write("hello")
      yield* near.received(5)
    }))
})
