#!/usr/bin/env node
import { withoutSecrets } from "./title.js"

// The other modules take half a second to load. Until this line the list of processes shows the arguments as typed.
process.title = ["wsmux", ...withoutSecrets(process.argv.slice(2))].join(" ")

await import("./run.js")
