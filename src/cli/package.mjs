// Makes a single executable of the command for the machine this runs on, as `dist/package/wsmux`: a copy of this Node
// with the command inside (SEA). An argument names another folder.

import { build } from "esbuild"
import { spawnSync } from "node:child_process"
import { chmodSync, copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { createRequire } from "node:module"
import { tmpdir } from "node:os"
import { join, resolve } from "node:path"
import { fileURLToPath } from "node:url"
import { onFirstUse } from "./firstUse.mjs"

const root = fileURLToPath(new URL("../../", import.meta.url))
const { version } = JSON.parse(readFileSync(join(root, "package.json"), "utf8"))
const target = resolve(process.argv[2] ?? join(root, "dist/package"))
const executable = join(target, process.platform === "win32" ? "wsmux.exe" : "wsmux")

/** Node looks for this text, and turns to the script where it is followed by `:1`. */
const sentinelFuse = "NODE_SEA_FUSE_fce680ab2cc467b6e072b8b5df1996b2"

const run = (command, ...args) => {
  const { error, status, stderr } = spawnSync(command, args, { encoding: "utf8" })
  if (status !== 0) throw new Error(`${command} ${args[0]}: ${error?.message ?? stderr.trim()}`)
}

const room = mkdtempSync(join(tmpdir(), "wsmux-package-"))
try {
  // A script inside an executable is CommonJS, has no file beside it, and can require modules of Node only.
  await build({
    absWorkingDir: root,
    entryPoints: { main: "src/cli/packaged.ts", run: "src/cli/run.ts" },
    outdir: room,
    bundle: true,
    plugins: [onFirstUse(), {
      name: "the-version-is-inside",
      setup: ({ onLoad }) =>
        onLoad({ filter: /[\\/]cli[\\/]version\.ts$/ }, () => ({
          contents: `export const version = ${JSON.stringify(version)}`
        }))
    }],
    platform: "node",
    format: "cjs",
    target: "node20.19",
    // ws loads both of these if they are installed.
    external: ["bufferutil", "utf-8-validate"],
    legalComments: "none",
    logLevel: "warning"
  })
  const config = {
    main: join(room, "main.js"),
    output: join(room, "blob"),
    assets: { "run.js": join(room, "run.js") },
    disableExperimentalSEAWarning: true
  }
  writeFileSync(join(room, "sea.json"), JSON.stringify(config))
  run(process.execPath, "--experimental-sea-config", join(room, "sea.json"))

  mkdirSync(target, { recursive: true })
  rmSync(executable, { force: true })
  copyFileSync(process.execPath, executable)
  chmodSync(executable, 0o755)
  // macOS starts no executable whose signature does not fit
  if (process.platform === "darwin") run("codesign", "--remove-signature", executable)
  const { inject } = createRequire(import.meta.url)("postject")
  await inject(executable, "NODE_SEA_BLOB", readFileSync(config.output), {
    sentinelFuse,
    ...(process.platform === "darwin" ? { machoSegmentName: "NODE_SEA" } : {})
  })
  if (process.platform === "darwin") run("codesign", "--sign", "-", executable)
} finally {
  rmSync(room, { recursive: true, force: true })
}
console.log(executable)
