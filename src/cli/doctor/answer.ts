import * as Effect from "effect/Effect"
import * as Http from "node:http"
import * as Https from "node:https"
import { redacted } from "../../Address.js"
import type { ConnectFailure } from "../../WsmuxError.js"
import type { Way } from "../dialling.js"
import type { Refusal } from "../proxy.js"
import { fail, type Finding, ok, warn } from "./finding.js"

/** The part of an HTTP answer that the checks look at. */
export interface Answer {
  readonly status: number
  readonly headers: Http.IncomingHttpHeaders
  readonly isPage: boolean
  /** When the request went out and the answer came, in milliseconds. */
  readonly asked: number
  readonly answered: number
}

const patience = 10_000

/** The beginning of a body that tells a page from other answers. */
const maxBody = 1024

/** Asks by GET on the way of the WebSocket, with these headers. */
export const get = (
  url: URL,
  way: Way,
  headers: Readonly<Record<string, string>>
): Effect.Effect<Answer | undefined> =>
  Effect.async((resume) => {
    const { request: make } = url.protocol === "wss:" ? Https : Http
    const asked = Date.now()
    const done = (answer?: Answer) => {
      request.destroy()
      resume(Effect.succeed(answer))
    }
    const request = make(url.href.replace(/^ws/, "http"), {
      ...way.tls,
      ...(way.agent === undefined ? { agent: false } : { agent: way.agent }),
      headers
    })
    request.on("error", () => done()).setTimeout(patience, () => done())
    request.once("upgrade", () => done())
    request.once("response", (response) => {
      const answered = Date.now()
      const { headers, statusCode: status = 0 } = response
      let body = ""
      const conclude = () => {
        const isPage = /\bhtml\b/i.test(headers["content-type"] ?? "") || /^\s*<(!doctype html|html)/i.test(body)
        done({ status, headers, isPage, asked, answered })
      }
      response.setEncoding("latin1").on("data", (text: string) => {
        body += text
        if (body.length >= maxBody) conclude()
      })
      response.on("end", conclude).on("error", conclude)
    })
    request.end()
    return Effect.sync(() => request.destroy())
  })

/** The headers that ask for a WebSocket, beside those of the user. The answer to the key is of no interest. */
const upgrading = {
  connection: "Upgrade",
  upgrade: "websocket",
  "sec-websocket-version": "13",
  "sec-websocket-key": Buffer.alloc(16).toString("base64")
}

/** Explains why there is no WebSocket. Looks at the answer once more, since `ws` keeps its status only. */
export const refusal = (failure: ConnectFailure, url: URL, way: Way, hasToken: boolean): Effect.Effect<Finding> =>
  Effect.gen(function*() {
    const { status } = failure
    if (status === undefined) return fail("upgrade", detailOf(failure), adviceForLoss(failure))
    const refusal = way.refusal()
    if (refusal?.status === status) return ofProxy("upgrade", refusal)
    const answer = yield* get(url, way, { ...way.headers, ...upgrading })
    const isPage = answer?.status === status && answer.isPage
    const location = answer?.headers.location
    const to = location === undefined ? "" : ` to ${redacted(location)}`
    const detail = `the answer is ${status}${to}${isPage ? ", an HTML page" : ""} instead of 101`
    return fail("upgrade", detail, adviceFor(status, hasToken, isPage))
  })

/** The answer of a proxy to CONNECT, as the finding of a check. */
export const ofProxy = (check: string, { advice = "look at the log of the proxy", status }: Refusal): Finding =>
  fail(check, `the proxy answered ${status} to CONNECT`, advice)

/** The message of a failure, without the address, which the user has typed. */
const detailOf = ({ message }: ConnectFailure): string => message.replace(/^cannot connect to \S+: /, "")

const adviceForLoss = ({ cause, reason }: ConnectFailure): string => {
  const { code = "" } = (cause ?? {}) as NodeJS.ErrnoException
  if (/CERTIFICATE_REQUIRED|BAD_CERTIFICATE|HANDSHAKE_FAILURE|UNKNOWN_CA/.test(code)) {
    return "the server demands another client certificate: give --tls-cert and --tls-key"
  }
  if (reason === "Timeout") return "the server accepts connections and does not answer: look at its log"
  return "the other end speaks no HTTP, or hangs up: check the port, and whether it wants wss://"
}

const adviceFor = (status: number, hasToken: boolean, isPage: boolean): string => {
  if (status === 401) return hasToken ? "the token is wrong" : "give the token by --token-file or WSMUX_TOKEN"
  if (status >= 300 && status < 400) return "dial the address of the redirect, as ws:// or wss://"
  if (status === 502 || status === 503 || status === 504) {
    return "a proxy before the server does not reach it: check that the server runs, and the address in the proxy"
  }
  if (status >= 500) return "the server or a proxy before it has failed: look at its log"
  if (status === 429) return "too many requests: wait"
  if (status === 400 || status === 426) {
    return "the headers of the upgrade are lost on the way: the proxy must pass Upgrade and Connection on"
  }
  if (isPage) return "a web server or a login page answers: check host and path, and what the proxy passes on"
  if (status === 403) return "the server or a proxy refuses this client: check its rules, and --header"
  if (status === 404) return "no WebSocket is at this path: check the path of the address"
  return "an ordinary web server answers: check host, port and path"
}

/** A difference beyond this breaks tokens with an expiry. */
const maxDifference = 30_000

/** Judges the clock of the server by the header `Date`, which has whole seconds. */
export const clock = (url: URL, way: Way): Effect.Effect<Finding> =>
  Effect.map(get(url, way, {}), (answer) => {
    const date = Date.parse(answer?.headers.date ?? "")
    return answer === undefined || Number.isNaN(date)
      ? warn("clock", "not measured: the answers of the server have no Date", "compare the clocks yourself")
      : judgeClock(date, answer.asked, answer.answered)
  })

/** Judges a date of the server, which was cut to whole seconds between the two times of this machine. */
export const judgeClock = (date: number, asked: number, answered: number): Finding => {
  const ahead = date > answered ? date - answered : Math.min(date + 1000 - asked, 0)
  const seconds = Math.round(Math.abs(ahead) / 1000)
  if (ahead === 0) return ok("clock", "the clocks agree to the second")
  const detail = `the clock of the server is ${seconds} s ${ahead > 0 ? "ahead" : "behind"}`
  return Math.abs(ahead) <= maxDifference
    ? ok("clock", detail)
    : warn("clock", detail, "tokens and certificates may count as expired: set the clocks by NTP")
}
