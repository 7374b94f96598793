import type { ValidationError } from "@effect/cli/ValidationError"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Runtime from "effect/Runtime"
import type * as Scope from "effect/Scope"
import * as Http from "node:http"
import * as Net from "node:net"
import type { ListenFailure } from "../../WsmuxError.js"
import * as Endpoint from "../endpoint.js"
import { refuseAnonymous } from "../options.js"
import * as Tcp from "../tcp.js"
import * as Monitor from "./monitor.js"
import * as Page from "./page.js"
import type { RelayStatus } from "./relay.js"
import * as Samples from "./samples.js"
import type { Status } from "./status.js"

/** What a listener of `--admin` shows. */
export interface Source {
  readonly readiness: Effect.Effect<Monitor.Readiness>
  readonly samples: Effect.Effect<ReadonlyArray<Samples.Sample>>
  /** For the page and `/status.json`. Without it there are neither. */
  readonly status?: Effect.Effect<Status | RelayStatus>
  /** The page that shows the status. Default that of the tunnel. */
  readonly page?: Page.Page
}

/** An answer to a request. */
export interface Answer {
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
  readonly body: string
}

/** The part of a request that the answer depends on. */
export type Request = Pick<Http.IncomingMessage, "method" | "url" | "headers">

/** How long a client may take for its request, in milliseconds, and how many clients there may be. */
const timeout = 10_000
const maxConnections = 100

/** Answers requests at the address until the scope closes. Completes with the address. */
export const serve = (
  listen: Endpoint.Endpoint,
  source: Source
): Effect.Effect<Endpoint.Endpoint, ListenFailure, Scope.Scope> =>
  Effect.gen(function*() {
    const run = Runtime.runPromise(yield* Effect.runtime<never>())
    const options = { headersTimeout: timeout, requestTimeout: timeout, connectionsCheckingInterval: 1000 }
    const server = Http.createServer(options, (request, response) => {
      response.on("error", () => {})
      // an answer that fails has a defect, which the reader of the page cannot cure
      run(answer(request, listen.host, source)).catch(() => fail(500, "cannot answer")).then(
        ({ body, headers, status }) => void response.writeHead(status, headers).end(body)
      )
    })
    server.maxConnections = maxConnections
    yield* Effect.addFinalizer(() => Effect.sync(() => server.closeAllConnections()))
    return yield* Tcp.listen(server as Net.Server, listen)
  })

/**
 * Answers a request. The name in the header `host` must be an address, `localhost`, or the host of `--admin`: by DNS
 * rebinding, a page of any other name could read the answer.
 */
export const answer = (request: Request, host: string, source: Source): Effect.Effect<Answer> => {
  if (!isOwnHost(request.headers.host, host)) {
    return Effect.succeed(fail(403, "the header host names neither an address nor the host of --admin"))
  }
  if (request.method !== "GET" && request.method !== "HEAD") {
    return Effect.succeed(fail(405, "expected GET or HEAD", { allow: "GET, HEAD" }))
  }
  const path = (request.url ?? "").split("?", 1)[0]
  const { page = Page.tunnel, readiness, samples, status } = source
  if (path === "/healthz") {
    return Effect.map(
      readiness,
      ({ ready, text }) => reply("text/plain; charset=utf-8", `${text}\n`, ready ? 200 : 503)
    )
  }
  if (path === "/metrics") {
    return Effect.map(samples, (samples) => reply(Samples.contentType, Samples.toPrometheus(samples)))
  }
  if (status !== undefined && path === "/status.json") {
    return Effect.map(status, (status) => reply("application/json", JSON.stringify(status)))
  }
  if (status !== undefined && path === "/") {
    const { headers, ...rest } = reply("text/html; charset=utf-8", page.html)
    return Effect.succeed({ ...rest, headers: { ...headers, "content-security-policy": page.contentSecurityPolicy } })
  }
  return Effect.succeed(fail(404, "there is no such page"))
}

const reply = (type: string, body: string, status = 200): Answer => ({
  status,
  headers: {
    "content-type": type,
    "content-length": String(Buffer.byteLength(body)),
    "cache-control": "no-store",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff"
  },
  body
})

const fail = (status: number, text: string, headers: Readonly<Record<string, string>> = {}): Answer => {
  const answer = reply("text/plain; charset=utf-8", `${text}\n`, status)
  return { ...answer, headers: { ...answer.headers, ...headers } }
}

/** A request without the header comes from no browser. */
const isOwnHost = (header: string | undefined, host: string): boolean => {
  if (header === undefined) return true
  const [, bracketed, name = ""] = /^(?:\[([^\]]*)\]|([^:]*))(?::\d*)?$/.exec(header) ?? []
  if (bracketed !== undefined) return Net.isIPv6(bracketed)
  return Net.isIPv4(name) || ["localhost", host.toLowerCase()].includes(name.toLowerCase())
}

/** Shows the status of the running command at the address, if there is one, until the scope closes. */
export const listen = (
  admin: Option.Option<Endpoint.Endpoint>,
  allowAnonymous: boolean,
  tell: (message: string) => Effect.Effect<void> = Effect.logInfo
): Effect.Effect<void, ListenFailure | ValidationError, Scope.Scope> =>
  Effect.gen(function*() {
    const monitor = yield* Monitor.Current
    if (Option.isNone(admin) || monitor === undefined) return
    // No client of the page authenticates. Hence the rule of `--listen` without a token holds for it.
    yield* refuseAnonymous("--admin", admin.value, allowAnonymous, "give ")
    const bound = yield* serve(admin.value, {
      readiness: Effect.suspend(() => monitor.readiness),
      samples: Effect.map(monitor.report, ({ samples }) => samples),
      status: Effect.map(monitor.report, ({ status }) => status)
    })
    yield* tell(`status page: http://${Endpoint.format(bound)}/`)
  })
