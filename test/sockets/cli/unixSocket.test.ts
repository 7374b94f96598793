import { describe, expect, it } from "@effect/vitest"
import * as Tcp from "effect-wsmux/cli/tcp"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import { spawnSync } from "node:child_process"
import { existsSync, readFileSync, statSync, writeFileSync } from "node:fs"
import * as Net from "node:net"
import { folder } from "../../e2e/cli/forwards/commands.js"

const listen = (path: string) => Tcp.listen(Tcp.makeServer(Duration.infinity), { _tag: "Path", path })

/** Leaves the socket of a process that was killed. */
const leaveStale = (path: string): void => {
  const program = "net.createServer().listen(process.argv[1], () => process.kill(process.pid, 'SIGKILL'))"
  expect(spawnSync(process.execPath, ["-e", program, path]).signal).toBe("SIGKILL")
  expect(existsSync(path)).toBe(true)
}

const connects = (path: string) =>
  Effect.async<boolean>((resume) => {
    const socket = Net.connect({ path })
      .once("connect", () => resume(Effect.succeed(true)))
      .once("error", () => resume(Effect.succeed(false)))
    return Effect.sync(() => socket.destroy())
  })

describe("Tcp.listen", () => {
  it.scopedLive("Tcp.listen takes a path over when the process at that unix socket was killed", () =>
    Effect.gen(function*() {
      const path = `${yield* folder}/socket`
      leaveStale(path)
      yield* listen(path)
      expect(yield* connects(path)).toBe(true)
    }))

  it.scopedLive("Tcp.listen lets only the own user connect when it makes a unix socket", () =>
    Effect.gen(function*() {
      const path = `${yield* folder}/socket`
      const before = process.umask()
      yield* listen(path)
      expect([statSync(path).mode & 0o777, process.umask()]).toEqual([0o600, before])
    }))

  it.scopedLive("Tcp.listen fails and leaves the listener alone when a process listens at the path", () =>
    Effect.gen(function*() {
      const path = `${yield* folder}/socket`
      yield* listen(path)
      const failure = yield* Effect.flip(listen(path))
      expect(failure).toMatchObject({ _tag: "ListenFailure", cause: { code: "EADDRINUSE" } })
      expect(yield* connects(path)).toBe(true)
    }))

  it.scopedLive("Tcp.listen fails and keeps the content when the path is that of a file", () =>
    Effect.gen(function*() {
      const path = `${yield* folder}/file`
      writeFileSync(path, "content")
      expect(yield* Effect.flip(listen(path))).toMatchObject({ cause: { code: "EADDRINUSE" } })
      expect(readFileSync(path, "utf8")).toBe("content")
    }))
})
