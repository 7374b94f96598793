import { spawnSync } from "node:child_process"
import { copyFileSync, mkdirSync, mkdtempSync, renameSync, rmSync } from "node:fs"
import { join } from "node:path"
import { fileURLToPath } from "node:url"

/** The built Go program, and whose wsmux is in it: the published package's, or that of our own beside it. */
export interface GoPeer {
  readonly path: string
  readonly kind: "reference" | "stand-in"
}

declare module "vitest" {
  export interface ProvidedContext {
    readonly goPeer: GoPeer | null
  }
}

const source = fileURLToPath(new URL("./go/", import.meta.url))
const output = join(source, "peer")

/** The published module is taken from a module proxy or not at all, and not waited for long. */
const reference = { timeout: 60_000, env: { ...process.env, GOVCS: "*:off" } }

export const hasGo = (): boolean => go(["version"]).status === 0

/**
 * Builds the peer, with the published package where this machine can have it. `WSMUX_GO_REFERENCE=1` insists on that,
 * `WSMUX_GO_REFERENCE=0` does not try.
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
  if (wish !== "0") {
    // go adds the sums that it has verified, so it gets copies
    for (const file of ["reference.mod", "reference.sum"]) copyFileSync(join(source, file), join(room, file))
    const modfile = `-modfile=${join(room, "reference.mod")}`
    const built = go(["build", "-mod=mod", "-tags=reference", modfile, "-o", join(room, "reference"), "."], reference)
    if (built.status === 0) return install(room, "reference")
    if (wish === "1") throw new Error(`cannot build the Go peer with the published package:\n${built.stderr}`)
  }
  const built = go(["build", "-o", join(room, "stand-in"), "."])
  if (built.status !== 0) throw new Error(`cannot build the Go peer:\n${built.stderr}`)
  return install(room, "stand-in")
}

/** Replaces in one step what another run may be using. */
const install = (room: string, kind: GoPeer["kind"]): GoPeer => {
  const path = join(output, kind)
  renameSync(join(room, kind), path)
  return { path, kind }
}

const go = (args: ReadonlyArray<string>, options: { readonly timeout?: number; readonly env?: NodeJS.ProcessEnv } = {}) =>
  spawnSync("go", args, { cwd: source, encoding: "utf8", ...options })
