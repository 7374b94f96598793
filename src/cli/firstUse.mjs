// Packages that few runs of the command need. `connect` starts in 0.9 of the processor time without them (Node 20.20,
// medians of 15 interleaved runs).

import { fileURLToPath } from "node:url"

export const rare = ["https-proxy-agent", "ioredis", "socks-proxy-agent", "yaml"]

const namespace = "on-first-use"

/**
 * A plugin of esbuild: the first use of a name of these packages loads its package, and importing the package does not.
 * `file` names the file that is loaded then. Without it, the package stays inside the bundle.
 */
export const onFirstUse = (file) => ({
  name: namespace,
  setup: ({ onLoad, onResolve }) => {
    onResolve({ filter: new RegExp(`^(${rare.join("|")})$`) }, ({ kind, path }) => {
      if (kind === "import-statement") return { path, namespace }
      return file && { path: file(path), external: true }
    })
    onLoad({ filter: /^/, namespace }, async ({ path }) => {
      const { default: whole, ...named } = await import(path)
      const names = new Set([...Object.keys(named), ...Object.keys(whole ?? {})].filter((name) => /^\w+$/.test(name)))
      const getters = [...names].map((name) => `get ${name}() { return require(${JSON.stringify(path)}).${name} }`)
      return {
        contents: `module.exports = { ${getters.join(", ")} }`,
        resolveDir: fileURLToPath(new URL(".", import.meta.url))
      }
    })
  }
})
