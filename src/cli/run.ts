import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as Exit from "effect/Exit"
import { constants } from "node:os"
import * as Environment from "./environment.js"
import * as Hangup from "./hangup.js"
import { main, work } from "./main.js"
import * as Systemd from "./systemd.js"
import * as Tcp from "./tcp.js"

// A reader of the output that closes its end stops the printing. The tunnel goes on.
for (const output of [process.stdout, process.stderr]) output.on("error", () => {})

// The kernel ends the connections of a process with FIN. A reader must not take a loss for an end, so the process
// resets its connections at every exit but SIGKILL.
process.on("exit", Tcp.resetAll)

/** A signal within this time repeats the first: npm passes on a Ctrl-C that the terminal has sent to every process. */
const repeatedMillis = 500
let signalledAt: number | undefined

// NodeRuntime interrupts the program at the first signal, and removes its listeners. Without these listeners a second
// signal would kill the process, and the kernel would end its connections with FIN.
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
  process.on(signal, () => {
    if (signal === "SIGHUP" && Hangup.ofProcess.wasHandled()) return
    const now = performance.now()
    if (signalledAt === undefined) {
      signalledAt = now
      if (signal === "SIGHUP") process.kill(process.pid, "SIGINT") // a closed terminal counts as Ctrl-C
    } else if (signal !== "SIGHUP" && now - signalledAt > repeatedMillis) {
      process.exit(128 + constants.signals[signal])
    }
  })
}

if (process.env[Environment.endsWithInput] !== undefined) {
  process.stdin.once("end", () => process.kill(process.pid, "SIGTERM")).resume()
}

const worker = process.env[Environment.worker]

NodeRuntime.runMain(worker === undefined ? main(process.argv) : work(worker), {
  disableErrorReporting: true,
  disablePrettyLogger: true,
  // Ctrl-C is the usual end of a command, and no failure.
  teardown: (exit, onExit) => {
    const code = Exit.isSuccess(exit) && typeof exit.value === "number" ? exit.value : 0
    if (worker === undefined) void Systemd.sent().then(() => onExit(code))
    else process.exit(code) // the channel to the parent would keep the process alive
  }
})
