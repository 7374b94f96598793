import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as Exit from "effect/Exit"
import { constants } from "node:os"
import { main } from "./main.js"
import * as Tcp from "./tcp.js"

// The reader of an output that goes away ends the printing, not the tunnel.
for (const output of [process.stdout, process.stderr]) output.on("error", () => {})

// However the process ends, short of SIGKILL: a reader must not take the loss of its connection for an end.
process.on("exit", Tcp.resetAll)

/** A signal so soon behind the first repeats it: npm passes on a Ctrl-C that the terminal has sent to all. */
const repeatedMillis = 500
let toldAt: number | undefined

// NodeRuntime closes at the first signal, and listens no more. Without a listener a further signal would kill the
// process, and the kernel would end its connections as if all bytes had been sent.
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
  process.on(signal, () => {
    const now = performance.now()
    if (toldAt === undefined) {
      toldAt = now
      if (signal === "SIGHUP") process.kill(process.pid, "SIGINT") // the terminal has gone: the same as Ctrl-C
    } else if (signal !== "SIGHUP" && now - toldAt > repeatedMillis) {
      process.exit(128 + constants.signals[signal])
    }
  })
}

// The demo holds the input of the processes that it starts open, so that they end with it.
if (process.env["WSMUX_ENDS_WITH_INPUT"] !== undefined) {
  process.stdin.once("end", () => process.kill(process.pid, "SIGTERM")).resume()
}

NodeRuntime.runMain(main(process.argv), {
  disableErrorReporting: true,
  disablePrettyLogger: true,
  // Ctrl-C is how the commands are meant to end.
  teardown: (exit, onExit) => onExit(Exit.isSuccess(exit) && typeof exit.value === "number" ? exit.value : 0)
})
