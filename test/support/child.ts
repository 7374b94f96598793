import { build, type BuildOptions } from "esbuild"
import { type ChildProcess, spawn } from "node:child_process"
import { createInterface } from "node:readline"
import { fileURLToPath } from "node:url"
import { fromSources, inOneFile } from "./bundle.js"

/** Bundles a program of the tests into a `build` folder beside its source, and returns the bundle's path. */
export const buildProgram = (source: URL): Promise<string> =>
  bundle(source, { bundle: true, platform: "node", format: "esm", packages: "external", logLevel: "silent" })

/** Bundles a program with its packages, which starts sooner. */
export const buildInOneFile = (source: URL): Promise<string> => bundle(source, inOneFile)

const bundle = async (source: URL, options: BuildOptions): Promise<string> => {
  const entry = fileURLToPath(source)
  const outfile = entry.replace(/([^/]+)\.ts$/, "build/$1.js")
  await build({ ...options, alias: fromSources, entryPoints: [entry], outfile })
  return outfile
}

interface Asker {
  readonly resolve: (answer: unknown) => void
  readonly reject: (error: Error) => void
}

/** A program as a process of its own. The child answers each line of JSON by one line, and ends with its input. */
export class Child {
  readonly #child: ChildProcess
  readonly #askers: Array<Asker> = []
  readonly exited: Promise<number | NodeJS.Signals>
  #complaints = ""

  /** @param flags further flags for Node */
  constructor(program: string, args: ReadonlyArray<string> = [], flags: ReadonlyArray<string> = []) {
    const all = ["--expose-gc", ...flags, program, ...args]
    this.#child = spawn(process.execPath, all, { stdio: ["pipe", "pipe", "pipe"] })
    this.#child.stdin!.on("error", () => {})
    this.#child.stderr!.on("data", (text) => {
      this.#complaints += text
    })
    createInterface(this.#child.stdout!).on("line", (line) => this.#askers.shift()?.resolve(JSON.parse(line)))
    this.exited = new Promise((resolve) => {
      this.#child.on("error", (error) => this.#giveUp(error.message))
      this.#child.on("close", (code, signal) => {
        this.#giveUp(`exited with ${signal ?? code}`)
        resolve(signal ?? code ?? 0)
      })
    })
  }

  /** Asks a question, and completes with the answer. */
  ask<A>(question: unknown): Promise<A> {
    const answer = new Promise<unknown>((resolve, reject) => this.#askers.push({ resolve, reject }))
    this.#child.stdin!.write(`${JSON.stringify(question)}\n`)
    return answer as Promise<A>
  }

  /** Ends the input of the child, and kills the child when it has not ended 10 s later. */
  async stop(): Promise<void> {
    this.#child.stdin!.end()
    const timer = setTimeout(() => this.#child.kill("SIGKILL"), 10_000)
    await this.exited
    clearTimeout(timer)
  }

  /** Sends a signal, and completes when the child has ended. */
  async kill(signal: NodeJS.Signals): Promise<void> {
    this.#child.kill(signal)
    await this.exited
  }

  #giveUp(how: string): void {
    for (const { reject } of this.#askers.splice(0)) reject(new Error(`${how} ${this.#complaints}`.trim()))
  }
}
