import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import { Current, Hangup } from "../../../src/cli/hangup.js"
import { runPrinting } from "../../support/commandLine.js"
import { commandsOf } from "./forwards/commands.js"
import { makeOutputs, type Options, startsOf, type Wsmux } from "./wsmux.js"

// The command in the process of the test, for what does not depend on a process of its own: each start of one takes
// 0.4 s of processor time. Signals, exits, losses, environments and outputs of processes are tested with processes.

const launch = (args: ReadonlyArray<string>, { cwd, env, executable }: Options): Wsmux => {
  if (cwd !== undefined || executable !== undefined) throw new Error("a folder and a program need a process")
  const { ended, ofOutputs, stderr, stdout } = makeOutputs(args)
  const hangup = new Hangup()
  const fiber = Effect.runFork(
    runPrinting(args, env ?? {}, { stdout, stderr }).pipe(Effect.provideService(Current, hangup))
  )
  // As `run.ts` does: a command that was interrupted ends with 0. A defect has no code of its own.
  fiber.addObserver((exit) => ended(Exit.isSuccess(exit) ? exit.value : Exit.isInterrupted(exit) ? 0 : null))
  return {
    ...ofOutputs,
    pid: process.pid,
    signal: (name) =>
      name === "SIGHUP"
        ? Effect.sync(() => void hangup.wasHandled())
        : name === "SIGINT" || name === "SIGTERM"
        ? Fiber.interruptFork(fiber)
        : Effect.dieMessage(`${name} needs a process`),
    stopReading: Effect.dieMessage("outputs that close need a process")
  }
}

export const { connect, run, serve, start, tunnel } = startsOf(launch, "SIGTERM")

export const { connectWith, serveWith } = commandsOf(start)
