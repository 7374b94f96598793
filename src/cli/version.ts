import { createRequire } from "node:module"

// The path leads from `dist/cli/`, as from this file, to the root of the package.
export const { version } = createRequire(import.meta.url)("../../package.json") as { readonly version: string }
