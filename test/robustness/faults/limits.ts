import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { execFileSync } from "node:child_process"
import { readdirSync } from "node:fs"

/**
 * Leaves a process no file descriptor to open, until what is answered is run or the scope closes. Those that are open stay
 * so, and one that it closes is there again.
 */
export const exhaust = (pid: number): Effect.Effect<Effect.Effect<void>, never, Scope.Scope> =>
  Effect.suspend(() => limit(pid, lowestFree(pid)))

/** The same, though it may close as many as it likes. */
export const starve = (pid: number): Effect.Effect<Effect.Effect<void>, never, Scope.Scope> => limit(pid, 3)

const limit = (pid: number, descriptors: number) =>
  Effect.acquireRelease(
    Effect.sync(() => {
      const before = prlimit(pid, "--nofile", "--noheadings", "--raw", "--output=SOFT").trim()
      prlimit(pid, `--nofile=${descriptors}:`)
      return Effect.sync(() => void prlimit(pid, `--nofile=${before}:`))
    }),
    Effect.ignoreLogged // it may have ended
  )

/** A new descriptor gets the lowest number that is free, which the limit must exceed. */
const lowestFree = (pid: number): number => {
  const open = new Set(readdirSync(`/proc/${pid}/fd`))
  let number = 0
  while (open.has(`${number}`)) number++
  return number
}

const prlimit = (pid: number, ...args: ReadonlyArray<string>): string =>
  execFileSync("prlimit", ["--pid", `${pid}`, ...args], { encoding: "utf8" })
