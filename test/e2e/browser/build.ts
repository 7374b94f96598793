import { build, type BuildOptions } from "esbuild"
import { fileURLToPath } from "node:url"
import { gzipSync } from "node:zlib"

const here = (path: string): string => fileURLToPath(new URL(path, import.meta.url))

const common: BuildOptions = {
  bundle: true,
  format: "esm",
  logLevel: "silent",
  alias: { "effect-wsmux": here("../../../src") },
  write: true
}

/** Bundles the page for browsers, and fails when the page imports a module of Node. */
export const buildPage = (): Promise<string> => bundle("page", { platform: "browser", format: "iife" })

/** Bundles the server of the page, without its packages. */
export const buildServer = (): Promise<string> =>
  bundle("server", { platform: "node", packages: "external", outExtension: { ".js": ".mjs" } })

const bundle = async (name: string, options: BuildOptions): Promise<string> => {
  const { metafile } = await build({
    ...common,
    entryPoints: [here(`./${name}.ts`)],
    outdir: here("./build"),
    metafile: true,
    ...options
  })
  return here(`../../../${Object.keys(metafile!.outputs)[0]}`)
}

/** Bundles a program that dials and opens a stream, minified. Returns its gzipped size and the source files in it. */
export const bundleOf = async (withEffect: boolean): Promise<{ size: number; inputs: ReadonlyArray<string> }> => {
  const { metafile, outputFiles } = await build({
    ...common,
    write: false,
    stdin: {
      contents: `export { Session, WebSocketTransport } from "effect-wsmux"`,
      resolveDir: here("."),
      loader: "ts"
    },
    platform: "browser",
    metafile: true,
    minify: true,
    external: withEffect ? [] : ["effect/*", "@effect/*"]
  })
  return { size: gzipSync(outputFiles[0]!.contents, { level: 9 }).length, inputs: Object.keys(metafile.inputs) }
}
