import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { type ChildProcess, spawn, spawnSync } from "node:child_process"
import { once } from "node:events"
import { chownSync, mkdtempSync, rmSync } from "node:fs"
import * as Net from "node:net"
import { tmpdir } from "node:os"
import { dirname, join } from "node:path"
import { programs } from "../support/programs.js"

/** PostgreSQL refuses to run as root, so it gets the id of nobody. */
const unprivileged = process.getuid?.() === 0 ? { uid: 65534, gid: 65534 } : {}

/** A port that was free a moment ago: neither server can be told to choose one itself. */
const freePort = Effect.async<number>((resume) => {
  const probe = Net.createServer().listen(0, "127.0.0.1", () => {
    const { port } = probe.address() as Net.AddressInfo
    probe.close(() => resume(Effect.succeed(port)))
  })
})

const folder = Effect.acquireRelease(
  Effect.sync(() => {
    const path = mkdtempSync(join(tmpdir(), "wsmux-database-"))
    if (unprivileged.uid !== undefined) chownSync(path, unprivileged.uid, unprivileged.gid)
    return path
  }),
  (path) => Effect.sync(() => rmSync(path, { recursive: true, force: true }))
)

/** A server as a process of its own, once it listens; the scope ends it, with everything that it keeps. */
const running = (command: string, args: ReadonlyArray<string>, port: number) =>
  Effect.gen(function*() {
    const child = yield* Effect.acquireRelease(
      Effect.sync(() => spawn(command, args, { ...unprivileged, detached: true, stdio: ["ignore", "pipe", "pipe"] })),
      (child) => Effect.promise(() => stop(child))
    )
    const output = collect(child)
    yield* reachable(port).pipe(
      Effect.retry({ while: () => child.exitCode === null }),
      Effect.orDieWith(() => new Error(`${command} does not listen: ${output()}`))
    )
    return port
  })

/** There is nothing to save. A helper of PostgreSQL's misses its signal now and then, so what lingers is killed. */
const stop = async (child: ChildProcess): Promise<void> => {
  if (child.exitCode !== null || !child.kill("SIGTERM")) return
  const impatience = setTimeout(() => process.kill(-child.pid!, "SIGKILL"), 1000)
  await once(child, "exit")
  clearTimeout(impatience)
}

const collect = (child: ChildProcess) => {
  let output = ""
  for (const stream of [child.stdout, child.stderr]) stream?.on("data", (data) => output += data)
  return () => output
}

const reachable = (port: number): Effect.Effect<void, Error> =>
  Effect.async<void, Error>((resume) => {
    const socket = Net.connect(port, "127.0.0.1")
    socket.once("connect", () => resume(Effect.void))
    socket.once("error", (error) => setTimeout(() => resume(Effect.fail(error)), 20))
    return Effect.sync(() => socket.destroy())
  })

/** A fresh PostgreSQL whose superuser is `wsmux`, without a password; its port. */
export const postgres: Effect.Effect<number, never, Scope.Scope> = Effect.gen(function*() {
  const data = yield* folder
  const binaries = dirname(programs.PostgreSQL!)
  const { status, stderr } = spawnSync(
    join(binaries, "initdb"),
    ["--pgdata", data, "--username", "wsmux", "--auth", "trust", "--encoding", "UTF8", "--no-locale", "--no-sync"],
    { ...unprivileged, encoding: "utf8" }
  )
  if (status !== 0) return yield* Effect.dieMessage(`initdb failed: ${stderr}`)
  const port = yield* freePort
  const settings = { listen_addresses: "127.0.0.1", unix_socket_directories: data, fsync: "off", max_connections: "60" }
  const args = Object.entries(settings).flatMap(([name, value]) => ["-c", `${name}=${value}`])
  return yield* running(programs.PostgreSQL!, ["-D", data, "-p", String(port), ...args], port)
})

/** A fresh Redis that keeps nothing; its port. */
export const redis: Effect.Effect<number, never, Scope.Scope> = Effect.gen(function*() {
  const data = yield* folder
  const port = yield* freePort
  return yield* running(
    programs.Redis!,
    ["--port", String(port), "--bind", "127.0.0.1", "--save", "", "--dir", data],
    port
  )
})
