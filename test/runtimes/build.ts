import { build, type BuildOptions } from "esbuild"
import { writeFileSync } from "node:fs"
import { fileURLToPath } from "node:url"

const here = (path: string): string => fileURLToPath(new URL(path, import.meta.url))

const common: BuildOptions = {
  bundle: true,
  format: "esm",
  logLevel: "warning",
  alias: { "effect-wsmux": here("../../src") }
}

/** The program of Node, Bun and Deno. Its `ws` is a package outside the bundle, as in programs: Bun has its own. */
export const nodeProgram = here("./build/node.mjs")

/**
 * The compatibility dates of Workers to test. Before April 2026 the program has to answer a close frame, and Node's
 * modules are off.
 */
export const workerDates = ["2024-01-01", "2026-04-20"] as const

export const workerConfig = (date: string): string => here(`./build/worker-${date}.capnp`)

export const buildPeers = async (): Promise<void> => {
  await build({
    ...common,
    entryPoints: [here("./peer/node.ts")],
    outfile: nodeProgram,
    platform: "node",
    target: "node20.19",
    external: ["ws", "bufferutil", "utf-8-validate"],
    banner: {
      js: `import { createRequire as requireOf } from "node:module"\nconst require = requireOf(import.meta.url)`
    }
  })
  await build({ ...common, entryPoints: [here("./peer/worker.ts")], outfile: here("./build/worker.mjs") })
  for (const date of workerDates) writeFileSync(workerConfig(date), capnp(date))
}

const capnp = (date: string): string => `
using Workerd = import "/workerd/workerd.capnp";
const config :Workerd.Config = (
  services = [
    (name = "main", worker = .worker),
    (name = "internet", network = (allow = ["public", "private"]))
  ],
  sockets = [(name = "http", address = "127.0.0.1:0", http = (), service = "main")]
);
const worker :Workerd.Worker = (
  modules = [(name = "worker.mjs", esModule = embed "worker.mjs")],
  compatibilityDate = "${date}"
);
`
