import * as Effect from "effect/Effect"
import type { ChildProcess } from "node:child_process"
import { readFileSync } from "node:fs"
import { eventually } from "./transports.js"

/**
 * Sends a signal to a process. After SIGSTOP this completes when the process has stopped: its threads go on until one
 * of them has taken the signal, which takes time on a busy processor.
 */
export const sendSignal = (child: ChildProcess, signal: NodeJS.Signals): Effect.Effect<void> =>
  Effect.zipRight(
    Effect.sync(() => child.kill(signal)),
    signal === "SIGSTOP" && process.platform === "linux" ? eventually(() => hasStopped(child.pid!)) : Effect.void
  )

/** The state follows the name of the program, which is in parentheses. */
const hasStopped = (pid: number): boolean => /\) T /.test(readFileSync(`/proc/${pid}/stat`, "utf8"))
