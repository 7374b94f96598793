#!/usr/bin/env node
import { withoutSecrets } from "./title.js"

// The list of processes shows the arguments as typed until this line. Hence the other modules are loaded afterwards.
process.title = ["wsmux", ...withoutSecrets(process.argv.slice(2))].join(" ")

if (process.argv.length === 3 && process.argv[2] === "--version") {
  // Scripts ask for the version often. The command itself takes ten times as long to load.
  console.log((await import("./version.js")).version)
} else {
  const { keepCompiledCode } = await import("./compileCache.js")
  keepCompiledCode()
  const { keepFewYoungObjects } = await import("./youngObjects.js")
  keepFewYoungObjects()
  await import("./run.js")
}
