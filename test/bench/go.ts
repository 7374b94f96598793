import { spawnSync } from "node:child_process"
import { copyFileSync, mkdirSync } from "node:fs"
import { join } from "node:path"

/** The Go program, and its wsmux: the published package or the stand-in of the tests. */
export interface GoPeer {
  readonly path: string
  readonly kind: "reference" | "stand-in"
}

/** Runs the Go command in a folder, without version control. */
export const goIn = (folder: string) => (...args: ReadonlyArray<string>) =>
  spawnSync("go", args, {
    cwd: folder,
    encoding: "utf8",
    timeout: 120_000,
    env: { ...process.env, GOVCS: "*:off" }
  })

/**
 * Builds the program, with the published package when a module proxy serves it. Without Go there is no program.
 * `WSMUX_GO_REFERENCE=1` demands the package, and `WSMUX_GO_REFERENCE=0` does not try.
 */
export const buildGo = (source: string, output: string): GoPeer | undefined => {
  const go = goIn(source)
  if (go("version").status !== 0) return undefined
  mkdirSync(output, { recursive: true })
  const wish = process.env.WSMUX_GO_REFERENCE
  if (wish !== "0") {
    // go adds verified sums to these files, so the build uses copies
    for (const file of ["reference.mod", "reference.sum"]) copyFileSync(join(source, file), join(output, file))
    const path = join(output, "go-reference")
    const built = go(
      "build",
      "-mod=mod",
      "-tags=reference",
      `-modfile=${join(output, "reference.mod")}`,
      "-o",
      path,
      "."
    )
    if (built.status === 0) return { path, kind: "reference" }
    if (wish === "1") throw new Error(`cannot build the Go side with the published package:\n${built.stderr}`)
  }
  const path = join(output, "go-stand-in")
  const built = go("build", "-o", path, ".")
  if (built.status !== 0) throw new Error(`cannot build the Go side:\n${built.stderr}`)
  return { path, kind: "stand-in" }
}
