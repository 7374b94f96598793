import { readFileSync } from "node:fs"
import { createRequire } from "node:module"
import { cpus, loadavg, release, totalmem } from "node:os"
import { checksumSpeed } from "./content.js"
import type { GoPeer } from "./go.js"
import type { Options } from "./options.js"
import { peers } from "./peers/index.js"
import type { Environment } from "./report.js"

const require = createRequire(import.meta.url)

/** Whether the package bufferutil masks for ws. */
export const bufferutil = ((): boolean => {
  if (process.env.WS_NO_BUFFER_UTIL !== undefined && process.env.WS_NO_BUFFER_UTIL !== "") return false
  try {
    require("bufferutil")
    return true
  } catch {
    return false
  }
})()

/** The name and the version of this package or one that it needs. */
export const version = (name: string): string => {
  const root = new URL("../../../", import.meta.url)
  const folder = name === "effect-wsmux" ? root : new URL(`node_modules/${name}/`, root)
  return `${name} ${JSON.parse(readFileSync(new URL("package.json", folder), "utf8")).version}`
}

const packages = ["effect-wsmux", "effect", "ws", "@libp2p/yamux", "bpmux"]

/** The part of the environment that the chart shows. */
export const caption = ["machine", "versions", "masking", "date"]

/** What every benchmark reports of its machine. */
export const machine = (packages: ReadonlyArray<string>): Environment => ({
  date: new Date().toISOString().slice(0, 16).replace("T", " "),
  machine: `${cpus().length} x ${cpus()[0]?.model.trim()}, ${
    Math.round(totalmem() / 2 ** 30)
  } GiB, ${process.platform} ${release().split(".", 2).join(".")}`,
  load: loadavg().map((load) => load.toFixed(1)).join(" "),
  versions: [`node ${process.versions.node}`, ...packages.map(version)].join(", "),
  masking: bufferutil ? version("bufferutil") : "without bufferutil"
})

export const describe = async (options: Options, go: GoPeer | undefined): Promise<Environment> => {
  const speed = checksumSpeed()
  const settings = { window: options.sizes["window-kib"] << 10 }
  const measured = Object.entries(peers).filter(([name]) => options.peers.includes(name))
  const configurations = await Promise.all(
    measured.map(async ([name, load]) => [name, (await load()).about(settings)] as const)
  )
  return {
    ...machine(packages),
    checksum: `crc32 of all that arrives, at ${speed["64 KiB"].toFixed(1)} GB/s in pieces of 64 KiB, ${
      speed["1 KiB"].toFixed(1)
    } GB/s of 1 KiB`,
    "Go wsmux": go === undefined
      ? "not measured"
      : go.kind === "reference"
      ? "the published package"
      : "a stand-in of ours, not the published package",
    ...Object.fromEntries(configurations)
  }
}
