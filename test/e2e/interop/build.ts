import { spawnSync } from "node:child_process"
import { copyFileSync, mkdirSync, mkdtempSync, renameSync, rmSync } from "node:fs"
import { join } from "node:path"
import { fileURLToPath } from "node:url"

/** The built Go program, and its wsmux: the published package or the stand-in of this repository. */
export interface GoPeer {
  readonly path: string
  readonly kind: "reference" | "stand-in"
  /** The reason why the build has not used the reference. */
  readonly reason?: string
}

declare module "vitest" {
  export interface ProvidedContext {
    readonly goPeer: GoPeer | null
  }
}

const source = fileURLToPath(new URL("./go/", import.meta.url))
const output = join(source, "peer")

interface Options {
  readonly timeout?: number
  readonly env?: NodeJS.ProcessEnv
}

/** The published module comes from a module proxy within a short time, or not at all. */
const publishedOnly: Options = { timeout: 60_000, env: { ...process.env, GOVCS: "*:off" } }

export const hasGo = (): boolean => go(["version"]).status === 0

/**
 * Builds the peer, with the published package when a module proxy serves it. `WSMUX_GO_REFERENCE=1` demands that
 * package, and `WSMUX_GO_REFERENCE=0` does not try.
 */
export const buildPeer = (): GoPeer => {
  mkdirSync(output, { recursive: true })
  const room = mkdtempSync(join(output, "build-"))
  try {
    return build(room)
  } finally {
    rmSync(room, { recursive: true })
  }
}

const build = (room: string): GoPeer => {
  const wish = process.env.WSMUX_GO_REFERENCE
  if (wish === "0") return { ...compile(room, "stand-in", []), reason: "WSMUX_GO_REFERENCE=0" }
  // go adds verified sums to these files, so the build uses copies
  for (const file of ["reference.mod", "reference.sum"]) copyFileSync(join(source, file), join(room, file))
  const modfile = `-modfile=${join(room, "reference.mod")}`
  try {
    return compile(room, "reference", ["-mod=mod", "-tags=reference", modfile], publishedOnly)
  } catch (error) {
    if (wish === "1") throw error
    return { ...compile(room, "stand-in", []), reason: (error as Error).message }
  }
}

/** Replaces a file in one step, since another run may be using it. */
const compile = (room: string, kind: GoPeer["kind"], flags: ReadonlyArray<string>, options: Options = {}): GoPeer => {
  const { error, status, stderr } = go(["build", ...flags, "-o", join(room, kind), "."], options)
  if (status !== 0) throw new Error(`go build of the ${kind}: ${error?.message ?? stderr.trim()}`)
  const path = join(output, kind)
  renameSync(join(room, kind), path)
  return { path, kind }
}

const go = (args: ReadonlyArray<string>, options: Options = {}) =>
  spawnSync("go", args, { cwd: source, encoding: "utf8", ...options })
