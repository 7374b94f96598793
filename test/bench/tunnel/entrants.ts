import { spawnSync } from "node:child_process"
import { fileURLToPath } from "node:url"
import { openSsh } from "./openSsh.js"
import { eventually, find, freePort, type Launch } from "./program.js"
import { type Entrant, Programs, reachable, type Settings } from "./tunnel.js"

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

/** The smallest relay, with a window for each connection where its KiB are given. */
const bare = (kib?: number): Entrant => ({
  name: `bare${kib ?? ""}`,
  about: `the smallest relay over one ws socket (bareRelay.ts), ${
    kib === undefined ? "without windows" : `${kib} KiB on the way`
  }`,
  inNode: true,
  // nothing of Node starts sooner
  version: { file: process.execPath, args: ["-e", "0"] },
  start: (target, settings) =>
    Programs.start(async (programs) => {
      const [port, near] = [await freePort(), await freePort()]
      const start = (side: string, args: ReadonlyArray<number>) =>
        node(
          `bare ${side}`,
          built("bareRelay.js"),
          [side, ...args.map(String), ...kib === undefined ? [] : [String(kib * 1024)]],
          settings
        )
      programs.launchFar("bare serve", start("serve", [port, target]))
      await eventually("bare serve", 15, programs.all, () => reachable(port))
      programs.launchNear("bare connect", near, start("connect", [near, port]))
    })
})

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
export const names = [
  "direct",
  "ours",
  "before",
  "bare",
  "bare64",
  "bare256",
  "bare1024",
  "ssh",
  "chisel",
  "wstunnel"
] as const

/** The entrants of a run that names none. The others show what a window costs. */
export const usual = names.filter((name) => !/^bare\d/.test(name))

/** The chosen entrants that can run here. */
export const entrants = (chosen: ReadonlyArray<string>, before: string | undefined): ReadonlyArray<Entrant> => {
  const all: Record<typeof names[number], () => Entrant | undefined> = {
    direct: () => direct,
    ours: () => wsmux("ours", cli, "wsmux connect and serve, ws:// with a token"),
    before: () => before === undefined ? undefined : wsmux("before", before, before),
    bare: () => bare(),
    bare64: () => bare(64),
    bare256: () => bare(256),
    bare1024: () => bare(1024),
    ssh: openSsh,
    chisel,
    wstunnel
  }
  return names.flatMap((name) => chosen.includes(name) ? all[name]() ?? [] : [])
}
