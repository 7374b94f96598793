import * as NodeTransport from "effect-wsmux/NodeTransport"
import * as Effect from "effect/Effect"
import { createHmac } from "node:crypto"
import * as Http from "node:http"
import { start } from "./goPeer.js"

/** The secrets of the proxy, each of which may sign a token. */
export const secrets = ["the first secret", "the second secret"] as const

/** A token of the service, with claims of the test. */
export const token = (
  secret: string,
  claims: Readonly<Record<string, unknown>> = {},
  header: Readonly<Record<string, unknown>> = { alg: "HS256", typ: "JWT" }
): string => {
  const now = Math.floor(Date.now() / 1000)
  const content = [header, { tid: "tunnel", nbf: now - 60, exp: now + 600, ...claims }].map(encode).join(".")
  return `${content}.${createHmac("sha256", secret).update(content).digest("base64url")}`
}

const encode = (part: unknown): string => Buffer.from(JSON.stringify(part)).toString("base64url")

/** The headers with which a client asks for its tunnel. */
export const headers = (authorization = token(secrets[0])) => ({
  authorization: `Bearer ${authorization}`,
  "x-websocktunnel-id": "tunnel"
})

/** Starts the proxy in a Go process, and answers with the URLs of its client and its viewers. */
export const startProxy = Effect.gen(function*() {
  const go = yield* start({ listen: "127.0.0.1:0", proxy: secrets.join(",") })
  const { address } = yield* go.next("listening")
  return { go, url: `ws://${address}`, viewers: `http://${address}/tunnel` }
})

/** Dials the proxy as the client of a tunnel. */
export const dialProxy = (url: string, authorization?: string) =>
  NodeTransport.connect(url, { headers: headers(authorization), maxMessageSize: 16 * 1024 * 1024 })

/** The answer to a viewer. */
export interface Answer {
  readonly status: number
  readonly body: Buffer
  /** Whether the body came to its end. */
  readonly complete: boolean
}

/** Sends the request of a viewer. The response completes with its head, and the test reads the body. */
export const view = (url: string, options: Http.RequestOptions = {}, body?: Uint8Array) =>
  Effect.acquireRelease(
    Effect.sync(() => {
      const request = Http.request(url, { agent: false, ...options }).on("error", () => {})
      const response = new Promise<Http.IncomingMessage>((resolve, reject) => {
        request.on("response", resolve).on("error", reject)
      })
      response.catch(() => {})
      request.end(body)
      return { request, response }
    }),
    ({ request }) => Effect.sync(() => request.destroy())
  )

/** The whole answer, or its part before a loss. */
export const answerOf = (response: Promise<Http.IncomingMessage>): Effect.Effect<Answer> =>
  Effect.promise(async () => {
    const message = await response
    const chunks: Array<Buffer> = []
    message.on("error", () => {}).on("data", (chunk) => chunks.push(chunk))
    await new Promise((resolve) => message.on("close", resolve))
    return { status: message.statusCode!, body: Buffer.concat(chunks), complete: message.complete }
  })
