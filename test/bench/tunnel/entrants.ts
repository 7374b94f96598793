import { spawnSync } from "node:child_process"
import { accessSync, constants, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir, userInfo } from "node:os"
import { delimiter, join } from "node:path"
import { fileURLToPath } from "node:url"
import type { Command } from "../process.js"
import { ping } from "./load/ping.js"
import { eventually, freePort, type Launch, Program } from "./program.js"

/** A tunnel that runs. */
export interface Tunnel {
  /** The ports at which the ends of the tunnel near the client take connections. */
  readonly ports: ReadonlyArray<number>
  /** The end that the client dials, and the one that dials the target. Both are missing for direct connections. */
  readonly near: ReadonlyArray<Program>
  readonly far: ReadonlyArray<Program>
  readonly stop: () => Promise<void>
}

export interface Entrant {
  readonly name: string
  /** For the report. */
  readonly about: string
  readonly inNode: boolean
  /** The command that prints the version and does nothing else. */
  readonly version: Command | undefined
  readonly start: (target: number, settings: Settings) => Promise<Tunnel>
}

export interface Settings {
  /** Whether the programs in Node answer questions for their memory. */
  readonly probed?: boolean
  /** The folder for profiles of the programs in Node. */
  readonly profile?: string | undefined
  /** Sessions beside each other, each with a near end of its own. */
  readonly sessions?: number
  /** Worker processes of the far end, where the entrant has them. */
  readonly workers?: number
}

const token = "for-the-benchmark"

/** The built file beside this one, and the command of this package. */
const built = (name: string) => fileURLToPath(new URL(name, import.meta.url))
export const cli = fileURLToPath(new URL("../../../../dist/cli/bin.js", import.meta.url))

const node = (
  name: string,
  file: string,
  args: ReadonlyArray<string>,
  { probed = false, profile }: Settings,
  env?: Launch["env"]
): Launch => ({
  file: process.execPath,
  args: [
    ...probed ? ["--import", built("probe.js")] : [],
    ...profile === undefined ? [] : ["--cpu-prof", `--cpu-prof-dir=${profile}`, `--cpu-prof-name=${name}.cpuprofile`],
    file,
    ...args
  ],
  probed,
  env
})

/** The programs of a tunnel, which start one after the other. */
class Programs {
  readonly near: Array<Program> = []
  readonly far: Array<Program> = []
  readonly ports: Array<number> = []

  static async start(build: (programs: Programs) => Promise<void>, tidy = () => {}): Promise<Tunnel> {
    const programs = new Programs()
    const stop = async () => {
      // the near end first, since the far end of OpenSSH leaves its processes to the end of their connections
      for (const program of [...programs.near, ...programs.far]) await program.stop()
      tidy()
    }
    try {
      await build(programs)
      for (const port of programs.ports) {
        await eventually(`the tunnel at port ${port}`, 15, programs.all, () => ping(port))
      }
      return { ...programs, stop }
    } catch (error) {
      await stop()
      throw error
    }
  }

  get all() {
    return [...this.near, ...this.far]
  }

  launchNear(name: string, port: number, launch: Launch): void {
    this.ports.push(port)
    this.near.push(new Program(name, launch))
  }

  launchFar(name: string, launch: Launch): void {
    this.far.push(new Program(name, launch))
  }
}

const direct: Entrant = {
  name: "direct",
  about: "no tunnel",
  inNode: false,
  version: undefined,
  start: async (target) => ({ ports: [target], near: [], far: [], stop: async () => {} })
}

/** `wsmux connect` and `wsmux serve`, as a user starts them. */
const wsmux = (name: string, file: string, about: string): Entrant => ({
  name,
  about,
  inNode: true,
  version: { file: process.execPath, args: [file, "--version"] },
  start: (target, settings) =>
    Programs.start(async (programs) => {
      const env = { WSMUX_TOKEN: token }
      const port = await freePort()
      const { sessions = 1, workers } = settings
      programs.launchFar(
        `${name} serve`,
        node(
          `${name} serve`,
          file,
          [
            "serve",
            "--listen",
            `127.0.0.1:${port}`,
            "--target",
            `127.0.0.1:${target}`,
            ...workers === undefined ? [] : ["--workers", String(workers)]
          ],
          settings,
          env
        )
      )
      await eventually(`${name} serve`, 15, programs.all, () => reachable(port))
      for (let i = 0; i < sessions; i++) {
        const near = await freePort()
        const args = ["connect", `ws://127.0.0.1:${port}`, "--listen", `127.0.0.1:${near}`]
        programs.launchNear(`${name} connect`, near, node(`${name} connect`, file, args, settings, env))
      }
    })
})

const bare: Entrant = {
  name: "bare",
  about: "the smallest relay over one ws socket (bareRelay.ts), without windows",
  inNode: true,
  // nothing of Node starts sooner
  version: { file: process.execPath, args: ["-e", "0"] },
  start: (target, settings) =>
    Programs.start(async (programs) => {
      const [port, near] = [await freePort(), await freePort()]
      const start = (side: string, args: ReadonlyArray<number>) =>
        node(`bare ${side}`, built("bareRelay.js"), [side, ...args.map(String)], settings)
      programs.launchFar("bare serve", start("serve", [port, target]))
      await eventually("bare serve", 15, programs.all, () => reachable(port))
      programs.launchNear("bare connect", near, start("connect", [near, port]))
    })
}

/** OpenSSH with keys and settings in a folder of the benchmark. The user's own files have no part in it. */
const openSsh = (): Entrant | undefined => {
  const sshd = find("sshd", ["/usr/sbin"])
  const [ssh, keygen] = [find("ssh"), find("ssh-keygen")]
  if (sshd === undefined || ssh === undefined || keygen === undefined) return undefined
  const about = spawnSync(ssh, ["-V"], { encoding: "utf8" }).stderr.trim()
  return {
    name: "ssh",
    about: `${about}, ssh -L, encrypted`,
    inNode: false,
    version: { file: ssh, args: ["-V"] },
    start: async (target) => {
      const folder = mkdtempSync(join(tmpdir(), "tunnel-bench-"))
      const file = (name: string) => join(folder, name)
      const removeRoom = makeSshdRoom()
      return Programs.start(
        async (programs) => {
          for (const name of ["host", "user"]) {
            const made = spawnSync(keygen, ["-q", "-t", "ed25519", "-N", "", "-C", "", "-f", file(name)])
            if (made.status !== 0) throw new Error(`ssh-keygen: ${made.stderr}`)
          }
          const [port, near] = [await freePort(), await freePort()]
          writeFileSync(file("known_hosts"), `[127.0.0.1]:${port} ${readFileSync(file("host.pub"), "utf8")}`)
          writeFileSync(
            file("sshd_config"),
            [
              "ListenAddress 127.0.0.1",
              `Port ${port}`,
              `HostKey ${file("host")}`,
              `AuthorizedKeysFile ${file("user.pub")}`,
              "PasswordAuthentication no",
              "KbdInteractiveAuthentication no",
              "UsePAM no",
              "StrictModes no",
              "PidFile none",
              "PermitRootLogin prohibit-password",
              "AllowTcpForwarding yes",
              ""
            ].join("\n")
          )
          programs.launchFar("sshd", { file: sshd, args: ["-D", "-e", "-f", file("sshd_config")] })
          await eventually("sshd", 15, programs.all, () => reachable(port))
          programs.launchNear("ssh", near, {
            file: ssh,
            args: [
              ...["-F", "none", "-N", "-T", "-i", file("user"), "-p", String(port)],
              ...["-o", "IdentitiesOnly=yes", "-o", "IdentityAgent=none", "-o", "ExitOnForwardFailure=yes"],
              ...["-o", "StrictHostKeyChecking=yes", "-o", `UserKnownHostsFile=${file("known_hosts")}`],
              ...["-o", "GlobalKnownHostsFile=/dev/null", "-o", "BatchMode=yes"],
              ...["-L", `127.0.0.1:${near}:127.0.0.1:${target}`, `${userInfo().username}@127.0.0.1`]
            ]
          })
        },
        () => {
          removeRoom()
          rmSync(folder, { recursive: true, force: true })
        }
      )
    }
  }
}

/** An sshd of root demands this folder, which the system's service makes at its start. Returns how to remove it. */
const makeSshdRoom = (): () => void => {
  const room = "/run/sshd"
  if (process.getuid?.() !== 0 || existsSync(room)) return () => {}
  mkdirSync(room, { mode: 0o755 })
  return () => rmSync(room, { recursive: true, force: true })
}

const chisel = (): Entrant | undefined => {
  const file = find("chisel")
  if (file === undefined) return undefined
  return {
    name: "chisel",
    about: `chisel ${firstLine(file)}, encrypted`,
    inNode: false,
    version: { file, args: ["--version"] },
    start: (target) =>
      Programs.start(async (programs) => {
        const [port, near] = [await freePort(), await freePort()]
        const env = { AUTH: `user:${token}` }
        const args = ["server", "--host", "127.0.0.1", "--port", String(port)]
        programs.launchFar("chisel server", { file, args, env })
        await eventually("chisel server", 15, programs.all, () => reachable(port))
        programs.launchNear("chisel client", near, {
          file,
          args: ["client", `http://127.0.0.1:${port}`, `127.0.0.1:${near}:127.0.0.1:${target}`],
          env
        })
      })
  }
}

const wstunnel = (): Entrant | undefined => {
  const file = find("wstunnel")
  if (file === undefined) return undefined
  return {
    name: "wstunnel",
    about: `${firstLine(file)}, a WebSocket for each connection`,
    inNode: false,
    version: { file, args: ["--version"] },
    start: (target) =>
      Programs.start(async (programs) => {
        const [port, near] = [await freePort(), await freePort()]
        programs.launchFar("wstunnel server", { file, args: ["server", `ws://127.0.0.1:${port}`] })
        await eventually("wstunnel server", 15, programs.all, () => reachable(port))
        programs.launchNear("wstunnel client", near, {
          file,
          args: ["client", "-L", `tcp://127.0.0.1:${near}:127.0.0.1:${target}`, `ws://127.0.0.1:${port}`]
        })
      })
  }
}

const firstLine = (file: string): string =>
  spawnSync(file, ["--version"], { encoding: "utf8", timeout: 5000 }).stdout.trim().split("\n", 1)[0]!

/** The names of all entrants in the order of the report. */
export const names = ["direct", "ours", "before", "bare", "ssh", "chisel", "wstunnel"] as const

/** The chosen entrants that can run here. */
export const entrants = (chosen: ReadonlyArray<string>, before: string | undefined): ReadonlyArray<Entrant> => {
  const all: Record<typeof names[number], () => Entrant | undefined> = {
    direct: () => direct,
    ours: () => wsmux("ours", cli, "wsmux connect and serve, ws:// with a token"),
    before: () => before === undefined ? undefined : wsmux("before", before, before),
    bare: () => bare,
    ssh: openSsh,
    chisel,
    wstunnel
  }
  return names.flatMap((name) => chosen.includes(name) ? all[name]() ?? [] : [])
}

/** The path of a program, in the path or in other folders. */
const find = (name: string, elsewhere: ReadonlyArray<string> = []): string | undefined =>
  [...(process.env.PATH ?? "").split(delimiter), ...elsewhere].map((folder) => join(folder, name)).find((file) => {
    try {
      accessSync(file, constants.X_OK)
      return true
    } catch {
      return false
    }
  })

/** Connects once, and closes. */
const reachable = (port: number) => ping(port, false)
