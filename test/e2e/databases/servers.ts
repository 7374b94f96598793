import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { type ChildProcess, spawn, spawnSync } from "node:child_process"
import { once } from "node:events"
import { chownSync, mkdtempSync, rmSync } from "node:fs"
import * as Net from "node:net"
import { tmpdir } from "node:os"
import { dirname, join } from "node:path"
import { freePort } from "../../support/freePort.js"
import { programs } from "../../support/programs.js"

/** PostgreSQL refuses to run as root, so the servers run with the id of an unprivileged user. */
const unprivileged = process.getuid?.() === 0 ? { uid: 65534, gid: 65534 } : {}

const folder = Effect.acquireRelease(
  Effect.sync(() => {
    const path = mkdtempSync(join(tmpdir(), "wsmux-database-"))
    if (unprivileged.uid !== undefined) chownSync(path, unprivileged.uid, unprivileged.gid)
    return path
  }),
  (path) => Effect.sync(() => rmSync(path, { recursive: true, force: true }))
)

/** A database in a process of its own, which a test can start again and freeze. */
export interface Server {
  readonly port: number
  readonly stop: Effect.Effect<void>
  /** Starts the server again at the same port with the same data. */
  readonly start: Effect.Effect<void>
  /** Stops all answers until `thaw`. The kernel still accepts connections. */
  readonly freeze: Effect.Effect<void>
  readonly thaw: Effect.Effect<void>
}

/** Starts a server, and completes when it listens. The end of the scope ends the server and removes its data. */
const running = (
  command: string,
  args: ReadonlyArray<string>,
  port: number
): Effect.Effect<Server, never, Scope.Scope> =>
  Effect.gen(function*() {
    let child: ChildProcess | undefined
    const stopping = Effect.promise(async () => child && stop(child))
    const start = Effect.suspend(() => {
      const started = child = spawn(command, args, {
        ...unprivileged,
        detached: true,
        stdio: ["ignore", "pipe", "pipe"]
      })
      const output = collect(started)
      return reachable(port).pipe(
        Effect.retry({ while: () => started.exitCode === null }),
        Effect.orDieWith(() => new Error(`${command} does not listen: ${output()}`))
      )
    })
    const send = (signal: NodeJS.Signals) => Effect.sync(() => void child?.kill(signal))
    yield* Effect.addFinalizer(() => Effect.zipRight(send("SIGCONT"), stopping))
    yield* start
    return { port, start, stop: stopping, freeze: send("SIGSTOP"), thaw: send("SIGCONT") }
  })

/** Stops a server. A helper of PostgreSQL sometimes misses its signal, so SIGKILL follows after a second. */
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

/** A new PostgreSQL whose superuser is `wsmux`, without a password. */
export const postgres: Effect.Effect<Server, never, Scope.Scope> = Effect.gen(function*() {
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

/** A new Redis that saves no data. */
export const redis: Effect.Effect<Server, never, Scope.Scope> = Effect.gen(function*() {
  const data = yield* folder
  const port = yield* freePort
  return yield* running(
    programs.Redis!,
    ["--port", String(port), "--bind", "127.0.0.1", "--save", "", "--dir", data],
    port
  )
})

/** A new MariaDB whose superuser is `root`, without a password. */
export const mariadb: Effect.Effect<Server, never, Scope.Scope> = Effect.gen(function*() {
  const data = yield* folder
  const { status, stderr } = spawnSync(
    programs["mariadb-install-db"]!,
    [
      "--no-defaults",
      `--datadir=${data}`,
      "--auth-root-authentication-method=normal",
      "--skip-test-db",
      "--skip-name-resolve"
    ],
    { ...unprivileged, encoding: "utf8" }
  )
  if (status !== 0) return yield* Effect.dieMessage(`mariadb-install-db failed: ${stderr}`)
  const port = yield* freePort
  const settings = {
    datadir: data,
    port,
    "bind-address": "127.0.0.1",
    socket: join(data, "socket"),
    "max-allowed-packet": 64 * 1024 * 1024,
    "innodb-flush-log-at-trx-commit": 0
  }
  const args = Object.entries(settings).map(([name, value]) => `--${name}=${value}`)
  return yield* running(programs.MariaDB!, ["--no-defaults", "--skip-name-resolve", ...args], port)
})
