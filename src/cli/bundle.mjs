// Bundles the command with its packages into `dist/cli/run.js`, so that users of the library install none of them.
// `dist/cli/bin.js` imports that file alone, once it has hidden secrets. Both import modules of Node only, and run.js
// requires the rare packages of `dist/cli/rare/` at their first use.

import { build } from "esbuild"
import { readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { onFirstUse, rare } from "./firstUse.mjs"

const root = fileURLToPath(new URL("../../", import.meta.url))
const directory = join(root, "dist/cli")

// The compiler has written the modules of the command, which the bundle replaces.
rmSync(directory, { recursive: true, force: true })

const settings = {
  absWorkingDir: root,
  bundle: true,
  platform: "node",
  target: "node20.19",
  // The names and lines stay readable in a stack trace. Hence the bundle needs no source map.
  minify: false,
  legalComments: "none",
  metafile: true,
  logLevel: "warning"
}

const command = build({
  ...settings,
  entryPoints: ["src/cli/bin.ts", "src/cli/run.ts"],
  outdir: directory,
  plugins: [onFirstUse((name) => `./rare/${name}.cjs`), {
    // A bundle that imports a part of itself later runs all of it in wrappers, at half the speed.
    name: "run-stays-a-file",
    setup: ({ onResolve }) =>
      onResolve(
        { filter: /^\.\/run\.js$/ },
        ({ kind, path }) => kind === "dynamic-import" ? { path, external: true } : undefined
      )
  }],
  format: "esm",
  // ws loads both of these if they are installed.
  external: ["bufferutil", "utf-8-validate"],
  // ws is CommonJS. Its calls of `require` need a function in a module.
  banner: {
    js: `import { createRequire as requireOf } from "node:module"\nconst require = requireOf(import.meta.url)`
  }
})
const packaged = rare.map((name) =>
  build({
    ...settings,
    stdin: { contents: `export * from ${JSON.stringify(name)}`, resolveDir: root },
    outfile: join(directory, `rare/${name}.cjs`),
    format: "cjs"
  })
)
const outputs = (await Promise.all([command, ...packaged])).map(({ metafile }) => metafile.outputs)

// What esbuild writes is ASCII, but for comments. One other character there would make Node hold two bytes for each of
// three million characters.
for (const file of outputs.flatMap(Object.keys)) {
  const path = join(root, file)
  const text = readFileSync(path, "utf8")
  const code = text.match(/^(?!\s*(?:\*|\/\*|\/\/)).*[^\x00-\x7f].*$/gm)?.filter((line) =>
    !/\/[/*].*[^\x00-\x7f]/.test(line)
  )
  if (code?.length > 0) throw new Error(`${file} has a character outside of ASCII in its code: ${code[0]}`)
  writeFileSync(path, text.replace(/[^\x00-\x7f]/g, "?"))
}

/** The directory of the package that a file belongs to, or undefined for a file of this package. */
const packageOf = (file) => /^.*node_modules\/(?:@[^/]+\/)?[^/]+(?=\/)/.exec(file)?.[0]

const inputs = outputs.flatMap(Object.values).flatMap(({ inputs }) => Object.entries(inputs))
const bundled = inputs.filter(([, { bytesInOutput }]) => bytesInOutput > 0).map(([file]) => file)
const packages = new Set(bundled.map(packageOf).filter((path) => path !== undefined))

/** The name, the version and the license text of a package. */
const notice = (path) => {
  const { license: stated, name, version } = JSON.parse(readFileSync(join(root, path, "package.json"), "utf8"))
  const license = readdirSync(join(root, path)).find((file) => /^licen[cs]e/i.test(file))
  if (license === undefined && typeof stated !== "string") throw new Error(`cannot bundle ${name}: it has no license`)
  if (license === undefined) return `${name} ${version}\n\nLicense: ${stated}, as its package.json states.\n`
  return `${name} ${version}\n\n${readFileSync(join(root, path, license), "utf8").trim()}\n`
}

const notices = [...packages].map(notice).sort().join(`\n${"-".repeat(80)}\n\n`)
writeFileSync(
  join(directory, "THIRD-PARTY-LICENSES.txt"),
  `The file run.js and the files in rare contain code of the following packages.\n\n${notices}`
)
