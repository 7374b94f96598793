#!/usr/bin/env node
import { withoutSecrets } from "./title.js"

// Before the half second that the other modules take to load: until then the list of processes shows the arguments as typed.
process.title = ["wsmux", ...withoutSecrets(process.argv.slice(2))].join(" ")

await import("./run.js")
