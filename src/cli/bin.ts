#!/usr/bin/env node
import { withoutSecrets } from "./title.js"

// The list of processes shows the arguments as typed until this line. Hence the other modules are loaded afterwards.
process.title = ["wsmux", ...withoutSecrets(process.argv.slice(2))].join(" ")

await import("./run.js")
