#!/usr/bin/env node
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as Exit from "effect/Exit"
import { main } from "./main.js"
import { withoutToken } from "./token.js"

process.title = ["wsmux", ...withoutToken(process.argv.slice(2))].join(" ")

// The demo holds the input of what it starts open, so that nothing stays when it is killed.
if (process.env["WSMUX_ENDS_WITH_INPUT"] !== undefined) {
  process.stdin.once("end", () => process.kill(process.pid, "SIGTERM")).resume()
}

NodeRuntime.runMain(main(process.argv), {
  disableErrorReporting: true,
  disablePrettyLogger: true,
  // Ctrl-C is how the commands are meant to end.
  teardown: (exit, onExit) => onExit(Exit.isSuccess(exit) && typeof exit.value === "number" ? exit.value : 0)
})
