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

/** Starts a display, and answers with its name. */
const startDisplay = async (program: string): Promise<readonly [child: ChildProcess, name: string]> => {
  const child = spawn(program, ["-displayfd", "3", "-screen", "0", "800x600x24", "-nolisten", "tcp"], {
    stdio: ["ignore", "ignore", "ignore", "pipe"]
  })
  const [number] = await once(createInterface({ input: child.stdio[3] as NodeJS.ReadableStream }), "line")
  return [child, `:${number}`]
}

/** Starts a driver on a port that is free, and answers with its address. */
const startDriver = async (program: string, display: string): Promise<readonly [child: ChildProcess, url: string]> => {
  const port = await Effect.runPromise(freePort)
  const child = spawn(program, [`--port=${port}`, "--host=127.0.0.1"], {
    stdio: "ignore",
    env: { ...process.env, DISPLAY: display, LIBGL_ALWAYS_SOFTWARE: "1", NO_AT_BRIDGE: "1" }
  })
  const url = `http://127.0.0.1:${port}`
  // the driver prints nothing when it listens
  while (!(await fetch(`${url}/status`).then(({ ok }) => ok, () => false))) {
    if (child.exitCode !== null) throw new Error(`WebKitWebDriver ended with ${child.exitCode} before it listened`)
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
  return [child, url]
}

/** Drives WebKitGTK by WebDriver. A driver has one page at a time, so `open` waits until the tab before is closed. */
export const launchWebKit = async (programs: WebKitPrograms): Promise<Browser> => {
  const [screen, display] = await startDisplay(programs.display)
  const [driver, url] = await startDriver(programs.driver, display)
  const send = async <A>(method: "POST" | "DELETE", path: string, body?: object): Promise<A> => {
    const answer = await fetch(`${url}/session${path}`, {
      method,
      ...body === undefined ? {} : { body: JSON.stringify(body) }
    })
    const { value } = await answer.json()
    if (!answer.ok) throw new Error(`${path}: ${value.message}`)
    return value
  }
  const options = { binary: programs.browser, args: ["--automation"] }
  const capabilities = { alwaysMatch: { "webkitgtk:browserOptions": options, timeouts: { script: 120_000 } } }

  const open = async (free: () => void): Promise<Tab> => {
    const { sessionId } = await send<Session>("POST", "", { capabilities })
    const complaints: Array<string> = []
    const run = async <A>(expression: string): Promise<A> => {
      const script = `const done = arguments[0]
        Promise.resolve(${expression}).then((value) => done(JSON.stringify({ value })), (e) => done(String(e)))`
      const answer = await send<string>("POST", `/${sessionId}/execute/async`, { script, args: [] })
      if (!answer.startsWith("{")) throw new Error(answer)
      return JSON.parse(answer).value
    }
    return {
      goto: async (page) => {
        await send("POST", `/${sessionId}/url`, { url: page })
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
        await send("DELETE", `/${sessionId}`)
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
    close: async () => {
      for (const child of [driver, screen]) {
        const ended = once(child, "exit")
        child.kill("SIGTERM")
        await ended
      }
    }
  }
}
