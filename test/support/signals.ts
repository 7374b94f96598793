import * as Effect from "effect/Effect"
import type { ChildProcess } from "node:child_process"
import { readFileSync } from "node:fs"
import { eventually } from "./transports.js"

/**
 * Sends a signal to a process. One that is to stop has stopped when this is done: until one of its threads has taken the
 * signal, which may need its turn of a busy processor, the others go on.
 */
export const sendSignal = (child: ChildProcess, signal: NodeJS.Signals): Effect.Effect<void> =>
  Effect.zipRight(
    Effect.sync(() => child.kill(signal)),
    signal === "SIGSTOP" && process.platform === "linux" ? eventually(() => hasStopped(child.pid!)) : Effect.void
  )

/** The state stands behind the name, which is in parentheses. */
const hasStopped = (pid: number): boolean => /\) T /.test(readFileSync(`/proc/${pid}/stat`, "utf8"))
