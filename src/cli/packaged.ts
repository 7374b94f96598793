import { Module } from "node:module"
import { getAsset } from "node:sea"
import { withoutSecrets } from "./title.js"
import { version } from "./version.js"
import { keepFewYoungObjects } from "./youngObjects.js"

// The beginning of the single executable, as `bin.ts` is that of the package.

process.title = ["wsmux", ...withoutSecrets(process.argv.slice(2))].join(" ")

if (process.argv.length === 3 && process.argv[2] === "--version") {
  console.log(version)
} else {
  keepFewYoungObjects()
  const path = `${process.execPath}.js` // for stack traces
  const run = new Module(path) as Module & { readonly _compile: (code: string, path: string) => void }
  run._compile(getAsset("run.js", "utf8"), path)
}
