import { build } from "esbuild"
import { type ChildProcess, spawn } from "node:child_process"
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import type { Report } from "../../bench/report.js"
import { inOneFile } from "../../support/bundle.js"

const root = fileURLToPath(new URL("../../../", import.meta.url))

/** A module of the built benchmarks. */
export const built = (path: string): string => join(root, "test/bench/build", path)

interface Outcome {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

/** Runs a program in Node to its end, in bounded time. */
export const run = (file: string, args: ReadonlyArray<string>): Promise<Outcome> =>
  new Promise((resolve, reject) => {
    const child: ChildProcess = spawn(process.execPath, [file, ...args], { cwd: root, timeout: 110_000 })
    let [stdout, stderr] = ["", ""]
    child.stdout!.setEncoding("utf8").on("data", (text) => {
      stdout += text
    })
    child.stderr!.setEncoding("utf8").on("data", (text) => {
      stderr += text
    })
    child.on("error", reject)
    child.on("close", (code) => resolve({ code, stdout, stderr }))
  })

const unchecked = process.env.CI === undefined ? ["--noCheck"] : []

/** The packages outside the bundle. */
const external = [...inOneFile.external, "bpmux", "@libp2p/*"]

/**
 * Compiles the benchmarks against the built package, as their commands do. Then bundles the program that
 * `npm run bench` starts for each side of each row. At a desk, `npm run check` alone checks their types.
 */
export const compile = async (): Promise<void> => {
  if (!existsSync(join(root, "dist/cli/bin.js"))) throw new Error("dist/cli/bin.js: not built, run npm run build")
  const { code, stdout } = await run(join(root, "node_modules/typescript/bin/tsc"), ["-p", "test/bench", ...unchecked])
  if (code !== 0) throw new Error(`tsc -p test/bench: ${stdout}`)
  await build({
    ...inOneFile,
    external,
    entryPoints: [built("side.js")],
    outdir: built("."),
    outbase: built("."),
    splitting: true,
    allowOverwrite: true
  })
}

/** Runs a benchmark, and returns its report. The benchmark prints its failures. */
export const report = async (file: string, args: ReadonlyArray<string>): Promise<Report> => {
  const folder = mkdtempSync(join(tmpdir(), "bench-"))
  try {
    const out = join(folder, "report")
    const { code, stderr, stdout } = await run(file, [...args, "--quick", "--out", out])
    if (code !== 0) throw new Error(`${file} ended with ${code}: ${stderr}${stdout}`)
    if (!readFileSync(`${out}.svg`, "utf8").startsWith("<svg")) throw new Error("the chart is no SVG")
    return JSON.parse(readFileSync(`${out}.json`, "utf8"))
  } finally {
    rmSync(folder, { recursive: true })
  }
}

/** The pairs of row and entrant that have figures: positive numbers, but of memory, which a collection may shrink. */
export const measured = ({ results }: Report): ReadonlyArray<string> => [
  ...new Set(
    results.flatMap(({ entrant, metric, values, workload }) => {
      if (!/(resident|heap) bytes/.test(metric) && !(values.median >= 0)) {
        throw new Error(`${workload} ${entrant}: ${values.median} ${metric}`)
      }
      return `${workload} ${entrant}`
    })
  )
]
