import * as Effect from "effect/Effect"
import { type ChildProcess, spawn } from "node:child_process"
import { once } from "node:events"
import { createInterface } from "node:readline"
import { freePort } from "../../support/freePort.js"
import type { Browser, Tab } from "./browser.js"

/** The programs that drive WebKit: Debian's packages webkit2gtk-driver and xvfb have them. */
export interface WebKitPrograms {
  readonly driver: string
  readonly browser: string
  /** A display without a screen: WebKitGTK needs one. */
  readonly display: string
}

interface Session {
  readonly sessionId: string
}

/** A command ends within this many milliseconds, which is more than a script may take. */
const commandLimit = 100_000

/** Starts a display, and answers with its name. */
const startDisplay = async (program: string): Promise<readonly [child: ChildProcess, name: string]> => {
  const child = spawn(program, ["-displayfd", "3", "-screen", "0", "800x600x24", "-nolisten", "tcp"], {
    stdio: ["ignore", "ignore", "ignore", "pipe"],
    detached: true
  })
  const [number] = await once(createInterface({ input: child.stdio[3] as NodeJS.ReadableStream }), "line")
  return [child, `:${number}`]
}

/** Ends a process and those that it has started. */
const end = async (child: ChildProcess): Promise<void> => {
  const ended = once(child, "exit")
  if (process.kill(-child.pid!, "SIGKILL")) await ended
}

/** A driver and its browser, which show one page. */
class Driver {
  readonly #child: ChildProcess
  readonly #url: string

  private constructor(child: ChildProcess, url: string) {
    this.#child = child
    this.#url = url
  }

  /** Starts a driver on a port that is free. It leads a group of processes, to which its browser belongs. */
  static async start(program: string, display: string): Promise<Driver> {
    const port = await Effect.runPromise(freePort)
    const child = spawn(program, [`--port=${port}`, "--host=127.0.0.1"], {
      stdio: "ignore",
      detached: true,
      env: { ...process.env, DISPLAY: display, LIBGL_ALWAYS_SOFTWARE: "1", NO_AT_BRIDGE: "1" }
    })
    const url = `http://127.0.0.1:${port}`
    // the driver prints nothing when it listens
    while (!(await fetch(`${url}/status`).then(({ ok }) => ok, () => false))) {
      if (child.exitCode !== null) throw new Error(`WebKitWebDriver ended with ${child.exitCode} before it listened`)
      await new Promise((resolve) => setTimeout(resolve, 50))
    }
    return new Driver(child, url)
  }

  async post<A>(path: string, body: object): Promise<A> {
    const answer = await fetch(`${this.#url}/session${path}`, {
      method: "POST",
      body: JSON.stringify(body),
      signal: AbortSignal.timeout(commandLimit)
    }).catch((error) => {
      throw new Error(`/session${path}: ${error.message}`)
    })
    const { value } = await answer.json()
    if (!answer.ok) throw new Error(`${path}: ${value.message}`)
    return value
  }

  readonly end = (): Promise<void> => end(this.#child)
}

/**
 * Drives WebKitGTK by WebDriver. Each tab has a driver of its own, since a driver has one page, and leaves no trace of
 * it to the next one. One browser runs at a time: `open` waits until the tab before is closed.
 */
export const launchWebKit = async (programs: WebKitPrograms): Promise<Browser> => {
  const [screen, display] = await startDisplay(programs.display)
  const options = { binary: programs.browser, args: ["--automation"] }
  const timeouts = { script: commandLimit - 5_000, pageLoad: commandLimit - 5_000 }
  const capabilities = { alwaysMatch: { "webkitgtk:browserOptions": options, timeouts } }

  const open = async (free: () => void): Promise<Tab> => {
    const driver = await Driver.start(programs.driver, display)
    const { sessionId } = await driver.post<Session>("", { capabilities })
    const complaints: Array<string> = []
    const run = async <A>(expression: string): Promise<A> => {
      const script = `const done = arguments[0]
        Promise.resolve(${expression}).then((value) => done(JSON.stringify({ value })), (e) => done(String(e)))`
      const answer = await driver.post<string>(`/${sessionId}/execute/async`, { script, args: [] })
      if (!answer.startsWith("{")) throw new Error(answer)
      return JSON.parse(answer).value
    }
    return {
      goto: async (page) => {
        await driver.post(`/${sessionId}/url`, { url: page })
        await run(`void (window.complaints = [],
          ["error", "unhandledrejection"].forEach((kind) =>
            addEventListener(kind, ({ message, reason }) => complaints.push(String(message ?? reason)))))`)
      },
      evaluate: async (work) => {
        const result = await run<Awaited<ReturnType<typeof work>>>(`(${String(work)})()`)
        complaints.splice(0, complaints.length, ...await run<ReadonlyArray<string>>("window.complaints"))
        return result
      },
      complaints,
      close: async () => {
        await driver.end()
        free()
      }
    }
  }
  let turn: Promise<unknown> = Promise.resolve()
  return {
    open: () => {
      const before = turn
      return new Promise((resolve, reject) => {
        turn = new Promise<void>((free) => {
          before.then(() => open(free)).then(resolve, (error) => {
            free()
            reject(error)
          })
        })
      })
    },
    close: () => end(screen)
  }
}
