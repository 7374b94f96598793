import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as Exit from "effect/Exit"
import { main } from "./main.js"
import * as Tcp from "./tcp.js"

// The reader of an output that goes away ends the printing, not the tunnel.
for (const output of [process.stdout, process.stderr]) output.on("error", () => {})

// However the process ends, short of SIGKILL: a reader must not take the loss of its connection for an end.
process.on("exit", Tcp.resetAll)

// The terminal has gone: the same as Ctrl-C.
process.once("SIGHUP", () => process.kill(process.pid, "SIGINT"))

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
