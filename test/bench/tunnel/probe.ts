/** Loaded ahead of a program with an IPC channel: answers the question for memory, and keeps no process alive. */
import { setFlagsFromString } from "node:v8"
import { runInNewContext } from "node:vm"
import { memory } from "../memory.js"

setFlagsFromString("--expose-gc")
globalThis.gc = runInNewContext("gc")
process.on("message", () => {
  memory().then((answer) => process.send!(answer))
})
process.channel!.unref()
