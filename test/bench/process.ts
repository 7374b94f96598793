import { type ChildProcess, spawn } from "node:child_process"
import { createInterface } from "node:readline"

/** A line of JSON from one of the two processes of a run. */
export type Event =
  | { readonly event: "listening"; readonly port: number }
  | { readonly event: "memory"; readonly resident: number; readonly heap: number }
  | { readonly event: "ask memory" }
  | { readonly event: "sample"; readonly sample: Record<string, number> }

export interface Command {
  readonly file: string
  readonly args: ReadonlyArray<string>
}

/** Tells why a process cannot go on, in place of the expected event. */
export type Failed = { readonly event: "failed"; readonly message: string }

/** A process that writes its events to standard output, and ends with its standard input. */
export class Side<E extends { readonly event: string } = Event> {
  readonly #child: ChildProcess
  readonly #events: Array<E | Failed> = []
  #wake: (() => void) | undefined
  #complaints = ""
  #gone: string | undefined

  constructor(readonly name: string, { args, file }: Command) {
    this.#child = spawn(file, args, { stdio: ["pipe", "pipe", "pipe"] })
    createInterface(this.#child.stdout!).on("line", (line) => {
      this.#events.push(JSON.parse(line))
      this.#wake?.()
    })
    this.#child.stderr!.on("data", (text) => {
      this.#complaints += text
    })
    this.#child.stdin!.on("error", () => {})
    this.#child.on("error", (error) => this.#end(error.message))
    this.#child.on("close", (code, signal) => this.#end(`exited with ${signal ?? code}`))
  }

  #end(how: string): void {
    this.#gone ??= how
    this.#wake?.()
  }

  /** Takes the next event, and rejects when the process reports a failure or has ended. */
  async next(): Promise<E> {
    while (this.#events.length === 0) {
      if (this.#gone !== undefined) throw new Error(`${this.name} ${this.#gone} ${gist(this.#complaints)}`.trim())
      await new Promise<void>((resolve) => {
        this.#wake = resolve
      })
    }
    const event = this.#events.shift()!
    if (isFailed(event)) throw new Error(`${this.name}: ${event.message}`)
    return event
  }

  async expect<K extends E["event"]>(kind: K): Promise<Extract<E, { readonly event: K }>> {
    const event = await this.next()
    if (event.event !== kind) throw new Error(`${this.name} said ${event.event} instead of ${kind}`)
    return event as Extract<E, { readonly event: K }>
  }

  send(message: unknown): void {
    this.#child.stdin!.write(`${JSON.stringify(message)}\n`)
  }

  kill(): void {
    this.#child.kill("SIGKILL")
  }

  /** Ends the input of the process, and kills the process when it does not end. */
  async stop(): Promise<void> {
    if (this.#gone !== undefined) return
    this.#child.stdin!.end()
    const timer = setTimeout(() => this.kill(), 5000)
    await new Promise<void>((resolve) => this.#child.once("close", () => resolve()))
    clearTimeout(timer)
  }
}

const isFailed = (event: { readonly event: string }): event is Failed => event.event === "failed"

/** The error message in the output of a process, without paths of this machine. */
export const gist = (complaints: string): string =>
  /^\w*Error\b.*$/m.exec(complaints)?.[0] ?? complaints.trim().split("\n", 1)[0]!
