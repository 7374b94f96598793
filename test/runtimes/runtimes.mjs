// The runtimes of the suite, and where they come from. Versions are pinned, so that a run can be repeated.

import { execFile } from "node:child_process"
import { existsSync, mkdirSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { promisify } from "node:util"

const { arch, platform } = process

/** Git ignores this folder. `WSMUX_RUNTIMES_CACHE` names another, such as one that several clones share. */
const cache = process.env.WSMUX_RUNTIMES_CACHE ?? fileURLToPath(new URL("./build/cache/", import.meta.url))

const node = (version) => ({ from: `node-${platform}-${arch}`, version, program: "bin/node", args: [] })

/** The packages of npm that hold a program for this platform. */
export const downloads = {
  node22: node("22.23.5"),
  node24: node("24.22.3"),
  node26: node("26.12.1"),
  bun: {
    from: `@oven/bun-${platform}-${arch === "arm64" ? "aarch64" : arch}`,
    version: "1.4.5",
    program: "bin/bun",
    args: []
  },
  deno: {
    from: `@deno/${platform}-${arch}${platform === "linux" ? "-glibc" : ""}`,
    version: "2.9.6",
    program: "deno",
    args: ["run", "--allow-all"]
  },
  workerd: {
    from: `@cloudflare/workerd-${platform}-${arch === "x64" ? "64" : arch}`,
    version: "1.20260426.1",
    program: "bin/workerd",
    args: []
  }
}

const folderOf = (name) => join(cache, `${name}-${downloads[name].version}`)
const programOf = (name) => join(folderOf(name), "node_modules", downloads[name].from, downloads[name].program)

/** The name of the Node that runs this. */
export const current = `node${process.versions.node.split(".")[0]}`

/** The command of a runtime; undefined where the runtime is missing. */
export const commandOf = (name) => {
  if (name === current) return [process.execPath]
  return existsSync(programOf(name)) ? [programOf(name), ...downloads[name].args] : undefined
}

export const names = [current, ...Object.keys(downloads).filter((name) => name !== current)]

/** The newest Node. */
export const newestNode = names.filter((name) => /^node\d+$/.test(name)).sort().at(-1)

/** Fetches a runtime that is missing. Returns why that failed, or undefined. */
const fetchRuntime = async (name) => {
  if (commandOf(name) !== undefined) return undefined
  const { from, version } = downloads[name]
  mkdirSync(folderOf(name), { recursive: true })
  writeFileSync(join(folderOf(name), "package.json"), "{}")
  const install = ["install", "--no-audit", "--no-fund", "--ignore-scripts", "--prefer-offline", `${from}@${version}`]
  try {
    await promisify(execFile)("npm", install, { cwd: folderOf(name), timeout: 300_000 })
  } catch (error) {
    return String(error.stderr || error)
  }
  return commandOf(name) === undefined ? `${from} has no ${downloads[name].program}` : undefined
}

/** Fetches the missing runtimes, and says loudly which cannot be had. In CI that is an error. */
export const fetchAll = async () => {
  const reasons = await Promise.all(names.map(async (name) => [name, await fetchRuntime(name)]))
  for (const [name, reason] of reasons) {
    if (reason === undefined) continue
    if (process.env.CI !== undefined) throw new Error(`${name} is missing, and in CI its tests must run: ${reason}`)
    console.error(`\n*** SKIPPED: every test on ${name}, which cannot be fetched: ${reason} ***\n`)
  }
}

/** The version of each runtime that is there. */
export const versions = () =>
  names.filter((name) => commandOf(name) !== undefined).map((name) =>
    `${name.replace(/\d+$/, "")} ${name === current ? process.versions.node : downloads[name].version}`
  )
