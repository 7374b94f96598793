import { existsSync } from "node:fs"
import { fileURLToPath } from "node:url"
import { buildPeers } from "./build.js"
import { fetchAll, versions } from "./runtimes.mjs"

/** Fetches the runtimes, bundles the programs once for all suites, and prints the versions of the runtimes. */
export default async function setup(): Promise<void> {
  if (!existsSync(fileURLToPath(new URL("../../dist/cli/bin.js", import.meta.url)))) {
    throw new Error("dist is missing: run `npm run build` first")
  }
  await fetchAll()
  process.stderr.write(`\n*** RUNTIMES: ${versions().join(", ")} ***\n\n`)
  await buildPeers()
}
