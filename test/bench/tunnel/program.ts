import { type ChildProcess, spawn } from "node:child_process"
import { accessSync, constants, readdirSync, readFileSync } from "node:fs"
import { createServer } from "node:net"
import { delimiter, join } from "node:path"
import { setTimeout as sleep } from "node:timers/promises"
import type { Memory } from "../memory.js"
import { type Command, gist } from "../process.js"

/** The programs that run, and what else the benchmark has to undo, in whichever way the benchmark ends. */
const running = new Set<Program>()
const undo = new Set<() => void>()

process.on("exit", () => {
  for (const program of running) program.kill()
  for (const step of undo) step()
})
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.on(signal, () => process.exit(1))

/** Makes sure that a step is done once, at the end of the process or when the returned function is called. */
export const tidyUp = (step: () => void): () => void => {
  undo.add(step)
  return () => {
    if (undo.delete(step)) step()
  }
}

export interface Launch extends Command {
  readonly env?: Readonly<Record<string, string>> | undefined
  /** Whether the program answers questions for its memory (`probe.ts`). */
  readonly probed?: boolean
}

/** A program of an entrant: one end of a tunnel, with the processes that it starts. */
export class Program {
  readonly #child: ChildProcess
  readonly #closed: Promise<void>
  #complaints = ""
  #gone: string | undefined

  constructor(readonly name: string, { args, env, file, probed = false }: Launch) {
    this.#child = spawn(file, args, {
      env: { ...process.env, ...env },
      stdio: ["ignore", "pipe", "pipe", ...probed ? ["ipc" as const] : []]
    })
    running.add(this)
    for (const output of [this.#child.stdout!, this.#child.stderr!]) {
      output.on("data", (text) => {
        this.#complaints = (this.#complaints + text).slice(-4096)
      })
    }
    this.#closed = new Promise((resolve) => {
      const over = (how: string) => {
        this.#gone ??= how
        running.delete(this)
        resolve()
      }
      this.#child.on("error", (error) => over(`failed: ${error.message}`))
      this.#child.on("exit", (code, signal) => over(`exited with ${signal ?? code}`))
    })
  }

  /** Throws when the program has ended. */
  check(): void {
    if (this.#gone !== undefined) throw new Error(`${this.name} ${this.#gone} ${gist(this.#complaints)}`.trim())
  }

  kill(): void {
    this.#child.kill("SIGKILL")
  }

  async stop(): Promise<void> {
    if (this.#gone !== undefined) return
    this.#child.kill("SIGTERM")
    const timer = setTimeout(() => this.kill(), 3000)
    await this.#closed
    clearTimeout(timer)
  }

  /** The resident bytes of the program's processes. */
  resident(): number {
    return this.#sum((pid) => Number(/^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))![1]) * 1024)
  }

  /** The seconds of processor time that the program's processes have taken. */
  processor(): number {
    return this.#sum((pid) => {
      const fields = statOf(pid)
      return (Number(fields[11]) + Number(fields[12])) / ticks
    })
  }

  /** The memory of the program after a collection of garbage. */
  memory(): Promise<Memory> {
    return new Promise((resolve, reject) => {
      this.#child.once("message", (message) => resolve(message as Memory))
      this.#closed.then(() => reject(new Error(`${this.name} ended`)))
      this.#child.send("memory")
    })
  }

  #sum(of: (pid: number) => number): number {
    this.check()
    return [...family(this.#child.pid!)].reduce((sum, pid) => {
      try {
        return sum + of(pid)
      } catch {
        return sum // the process has ended since
      }
    }, 0)
  }
}

/** Linux reports times in units of 10 ms on all platforms that Node supports. */
const ticks = 100

/** The fields of a process behind its name: state, parent and so on. */
const statOf = (pid: number | string): ReadonlyArray<string> =>
  readFileSync(`/proc/${pid}/stat`, "utf8").replace(/^.*\) /s, "").split(" ")

/** A process and those that it has started. */
const family = (root: number): Set<number> => {
  const parents = new Map<number, number>()
  for (const entry of readdirSync("/proc")) {
    if (!/^\d+$/.test(entry)) continue
    try {
      parents.set(Number(entry), Number(statOf(entry)[1]))
    } catch {
      // the process has ended since
    }
  }
  const found = new Set([root])
  for (let before = 0; before < found.size;) {
    before = found.size
    for (const [pid, parent] of parents) if (found.has(parent)) found.add(pid)
  }
  return found
}

/** A port that was free a moment ago. */
export const freePort = (): Promise<number> =>
  new Promise((resolve, reject) => {
    const server = createServer().on("error", reject).listen(0, "127.0.0.1", () => {
      const { port } = server.address() as { readonly port: number }
      server.close(() => resolve(port))
    })
  })

/** Tries until an attempt succeeds, while the programs run. */
export const eventually = async (
  what: string,
  seconds: number,
  programs: ReadonlyArray<Program>,
  attempt: () => Promise<void>
): Promise<void> => {
  for (const start = performance.now();;) {
    try {
      return await attempt()
    } catch (error) {
      for (const program of programs) program.check()
      if (performance.now() - start > seconds * 1000) {
        throw new Error(`${what}: not ready after ${seconds} s: ${(error as Error).message}`)
      }
      await sleep(20)
    }
  }
}

/** The path of a program, in the path or in other folders. */
export const find = (name: string, elsewhere: ReadonlyArray<string> = []): string | undefined =>
  [...(process.env.PATH ?? "").split(delimiter), ...elsewhere].map((folder) => join(folder, name)).find((file) => {
    try {
      accessSync(file, constants.X_OK)
      return true
    } catch {
      return false
    }
  })
