import type { BuildOptions } from "esbuild"
import { fileURLToPath } from "node:url"

/**
 * Bundles a program of the tests with its packages. A process that loads the modules of Effect one by one takes 2.1 s
 * of processor time to start, and from one file 0.5 s (2026-11-29, on a busy machine). `ws` stays a package: it looks
 * for bufferutil beside it.
 */
export const inOneFile = {
  bundle: true,
  platform: "node",
  format: "esm",
  target: "node20.19",
  external: ["ws", "bufferutil", "utf-8-validate"],
  // Packages in CommonJS call `require`.
  banner: {
    js: `import { createRequire as requireOf } from "node:module"\nconst require = requireOf(import.meta.url)`
  },
  logLevel: "silent"
} as const satisfies BuildOptions

/** Lets a program import the sources of this package by its name. */
export const fromSources = { "effect-wsmux": fileURLToPath(new URL("../../src", import.meta.url)) }
