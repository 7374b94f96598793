import { spawn } from "node:child_process"
import { once } from "node:events"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { createInterface } from "node:readline"
import { WebSocket } from "ws"
import type { Browser } from "./browser.js"

/** The results of the commands below. */
interface Result {
  readonly context: string
  readonly result: { readonly value: string }
  readonly exceptionDetails?: { readonly text: string }
}

interface Answer {
  readonly id?: number
  readonly type: string
  readonly method?: string
  readonly message?: string
  readonly result?: Result
  readonly params?: { readonly type?: string; readonly text?: string; readonly source?: { readonly context?: string } }
}

/** Firefox tells of a WebSocket that fails as of an error of the page. */
const isNotice = /^(Firefox can.t establish a connection|The connection to \S+ was interrupted)/

/** Starts Firefox, and drives it by WebDriver BiDi. */
export const launchFirefox = async (program: string): Promise<Browser> => {
  const profile = mkdtempSync(join(tmpdir(), "wsmux-firefox-"))
  const child = spawn(program, ["--headless", "--no-remote", "--profile", profile, "--remote-debugging-port", "0"], {
    stdio: ["ignore", "ignore", "pipe"]
  })
  const url = await new Promise<string>((resolve, reject) => {
    createInterface({ input: child.stderr }).on("line", (line) => {
      const found = /WebDriver BiDi listening on (ws:\S+)/.exec(line)
      if (found !== null) resolve(found[1]!)
    })
    child.once("exit", (code) => reject(new Error(`Firefox ended with ${code} before it listened`)))
  })
  const ws = new WebSocket(`${url}/session`, { maxPayload: 256 * 1024 * 1024 })
  await once(ws, "open")
  const pending = new Map<number, (answer: Answer) => void>()
  const complaints = new Map<string, Array<string>>()
  ws.on("message", (data) => {
    const answer = JSON.parse(String(data)) as Answer
    if (answer.id !== undefined) pending.get(answer.id)?.(answer)
    const { source, text, type } = answer.params ?? {}
    const isUncaught = answer.method === "log.entryAdded" && type === "javascript" && !isNotice.test(text ?? "")
    if (isUncaught) complaints.get(source?.context ?? "")?.push(text ?? "")
  })
  let last = 0
  const send = (method: string, params: object): Promise<Result> =>
    new Promise((resolve, reject) => {
      const id = ++last
      pending.set(id, (answer) => {
        pending.delete(id)
        if (answer.type === "error") reject(new Error(`${method}: ${answer.message}`))
        else resolve(answer.result!)
      })
      ws.send(JSON.stringify({ id, method, params }))
    })
  await send("session.new", { capabilities: {} })
  await send("session.subscribe", { events: ["log.entryAdded"] })
  // Firefox may lose a tab that is created while another one closes.
  let turn: Promise<unknown> = Promise.resolve()
  const inTurn: typeof send = (method, params) => {
    const answer = turn.then(() => send(method, params))
    turn = answer.catch(() => {})
    return answer
  }
  return {
    open: async () => {
      const { context } = await inTurn("browsingContext.create", { type: "tab" })
      const errors: Array<string> = []
      complaints.set(context, errors)
      return {
        goto: (page) => send("browsingContext.navigate", { context, url: page, wait: "complete" }),
        evaluate: async (work) => {
          const { exceptionDetails, result } = await send("script.evaluate", {
            expression: `(${String(work)})().then((value) => JSON.stringify(value))`,
            target: { context },
            awaitPromise: true
          })
          if (exceptionDetails !== undefined) throw new Error(exceptionDetails.text)
          return JSON.parse(result.value)
        },
        complaints: errors,
        close: () => inTurn("browsingContext.close", { context })
      }
    },
    close: async () => {
      const ended = once(child, "exit")
      child.kill("SIGKILL")
      await ended
      rmSync(profile, { recursive: true, force: true })
    }
  }
}
