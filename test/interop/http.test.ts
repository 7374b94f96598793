import { expect, it } from "@effect/vitest"
import type { Session } from "effect-wsmux/Session"
import * as Effect from "effect/Effect"
import * as Http from "node:http"
import { pattern } from "../support/bytes.js"
import { makeDuplex } from "../support/duplex.js"
import { describeGo } from "./goPeer.js"
import { dialGo, listenForGo } from "./links.js"
import { sha256 } from "./traffic.js"

const buffers = [1024, 65536]

describeGo("Go's net/http behind a session", () => {
  for (const buffer of buffers) {
    it.scopedLive(`answers node's requests over streams with buffers of ${buffer}`, () =>
      Effect.gen(function*() {
        const { session } = yield* dialGo({ streamBufferSize: buffer }, { buffer, serve: "http" })
        const content = pattern(300_000)

        const hello = fetchOver(session, { path: "/hello" })
        const bytes = fetchOver(session, { path: `/bytes?n=${content.byteLength}` })
        const echo = fetchOver(session, { path: "/echo", method: "POST" }, content)
        const slow = fetchOver(session, { path: "/slow" })
        const answers = yield* Effect.all([hello, bytes, echo, slow], { concurrency: "unbounded" })

        const chunks = [1, 2, 3, 4, 5, 6].map((i) => `chunk ${i}\n`).join("")
        expect(answers.map(({ body, status }) => ({ status, sha256: sha256(body) }))).toEqual(
          [Buffer.from("hello from go\n"), content, content, Buffer.from(chunks)].map((body) => ({
            status: 200,
            sha256: sha256(body)
          }))
        )
        expect(answers[1].headers["x-sha256"]).toBe(sha256(content))
      }))
  }

  it.scopedLive("answers a hundred requests at once", () =>
    Effect.gen(function*() {
      const { session } = yield* listenForGo({ streamBufferSize: 4096 }, { buffer: 4096, serve: "http" })
      const bytes = fetchOver(session, { path: "/bytes?n=20000" })
      const bodies = yield* Effect.all(Array.from({ length: 100 }, () => bytes), { concurrency: "unbounded" })
      expect(new Set(bodies.map(({ body }) => sha256(body)))).toEqual(new Set([sha256(pattern(20_000))]))
    }))
})

describeGo("node's http server behind a session", () => {
  for (const buffer of buffers) {
    it.scopedLive(`answers Go's http.Client over streams with buffers of ${buffer}`, () =>
      Effect.gen(function*() {
        const flags = { buffer, open: "http", streams: 20, bytes: 100_000 } as const
        const { go, session } = yield* listenForGo({ streamBufferSize: buffer }, flags)
        yield* Effect.forkScoped(serveHttp(session))
        expect(yield* go.next("result")).toMatchObject({ ok: true, errors: [], bytes: 20 * 100_000 })
      }))
  }
})

interface Answer {
  readonly status: number | undefined
  readonly headers: Http.IncomingHttpHeaders
  readonly body: Uint8Array
}

/** One request over a stream of its own. */
const fetchOver = (session: Session, options: Http.RequestOptions, body?: Uint8Array) =>
  Effect.scoped(Effect.gen(function*() {
    const duplex = yield* Effect.flatMap(session.open(), makeDuplex)
    return yield* Effect.async<Answer, Error>((resume) => {
      const request = Http.request({ ...options, host: "go", createConnection: () => duplex }, (response) => {
        const parts: Array<Uint8Array> = []
        response.on("data", (part) => parts.push(part))
        response.on(
          "end",
          () =>
            resume(
              Effect.succeed({ status: response.statusCode, headers: response.headers, body: Buffer.concat(parts) })
            )
        )
      })
      request.on("error", (error) => resume(Effect.fail(error)))
      request.end(body)
    })
  }))

/** Hands every stream that Go opens to a node server, which listens nowhere. */
const serveHttp = (session: Session) => {
  const server = Http.createServer((request, response) => {
    if (request.url === "/echo") request.pipe(response)
    else response.end("hello from node\n")
  })
  return session.run((stream) =>
    Effect.flatMap(makeDuplex(stream), (duplex) =>
      Effect.async<void>((resume) => {
        duplex.once("close", () => resume(Effect.void))
        server.emit("connection", duplex)
      }))
  )
}
