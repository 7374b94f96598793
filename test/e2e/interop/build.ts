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

interface Place {
  /** The folder of the built peer. */
  readonly output: string
  /** A folder of this build alone. */
  readonly room: string
  readonly env: NodeJS.ProcessEnv
}

/** The published module comes from a module proxy within this time in milliseconds, or not at all. */
const patience = 60_000

export const hasGo = (): boolean => go(["version"], process.env).status === 0

/**
 * Builds the peer, with the published package when a module proxy serves it. `WSMUX_GO_REFERENCE=1` demands that
 * package, and `WSMUX_GO_REFERENCE=0` does not try.
 */
export const buildPeer = (env = process.env, output = join(source, "peer")): GoPeer => {
  mkdirSync(output, { recursive: true })
  const room = mkdtempSync(join(output, "build-"))
  try {
    return build({ output, room, env })
  } finally {
    rmSync(room, { recursive: true })
  }
}

const build = (place: Place): GoPeer => {
  const { env, room } = place
  const wish = env.WSMUX_GO_REFERENCE
  if (wish === "0") return { ...compile(place, "stand-in", []), reason: "WSMUX_GO_REFERENCE=0" }
  // go adds verified sums to these files, so the build uses copies
  for (const file of ["reference.mod", "reference.sum"]) copyFileSync(join(source, file), join(room, file))
  const modfile = `-modfile=${join(room, "reference.mod")}`
  try {
    const proxied = { ...place, env: { ...env, GOVCS: "*:off" } }
    return compile(proxied, "reference", ["-mod=mod", "-tags=reference", modfile], patience)
  } catch (error) {
    if (wish === "1") throw error
    return { ...compile(place, "stand-in", []), reason: (error as Error).message }
  }
}

/** Replaces a file in one step, since another run may be using it. */
const compile = (
  { env, output, room }: Place,
  kind: GoPeer["kind"],
  flags: ReadonlyArray<string>,
  timeout?: number
): GoPeer => {
  const { error, status, stderr } = go(["build", ...flags, "-o", join(room, kind), "."], env, timeout)
  if (status !== 0) throw new Error(`go build of the ${kind}: ${error?.message ?? stderr.trim()}`)
  const path = join(output, kind)
  renameSync(join(room, kind), path)
  return { path, kind }
}

const go = (args: ReadonlyArray<string>, env: NodeJS.ProcessEnv, timeout?: number) =>
  spawnSync("go", args, { cwd: source, encoding: "utf8", env, timeout })
