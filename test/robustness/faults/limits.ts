import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { execFileSync } from "node:child_process"
import { readdirSync } from "node:fs"

/**
 * Takes all free file descriptors from a process, until the test runs the returned effect or closes the scope. Open
 * descriptors stay open, and the process can use a descriptor again that it closes.
 */
export const exhaust = (pid: number): Effect.Effect<Effect.Effect<void>, never, Scope.Scope> =>
  Effect.suspend(() => limit(pid, lowestFree(pid)))

/** The same, but descriptors that the process closes stay unusable, too. */
export const starve = (pid: number): Effect.Effect<Effect.Effect<void>, never, Scope.Scope> => limit(pid, 3)

const limit = (pid: number, descriptors: number) =>
  Effect.acquireRelease(
    Effect.sync(() => {
      const before = prlimit(pid, "--nofile", "--noheadings", "--raw", "--output=SOFT").trim()
      prlimit(pid, `--nofile=${descriptors}:`)
      return Effect.sync(() => void prlimit(pid, `--nofile=${before}:`))
    }),
    Effect.ignoreLogged // the process may have ended
  )

/** The lowest free number, which the next descriptor gets and which the limit must exceed. */
const lowestFree = (pid: number): number => {
  const open = new Set(readdirSync(`/proc/${pid}/fd`))
  let number = 0
  while (open.has(`${number}`)) number++
  return number
}

const prlimit = (pid: number, ...args: ReadonlyArray<string>): string =>
  execFileSync("prlimit", ["--pid", `${pid}`, ...args], { encoding: "utf8" })
