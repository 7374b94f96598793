import type { MuxStream } from "effect-wsmux/MuxStream"
import type * as Session from "effect-wsmux/Session"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Runtime from "effect/Runtime"
import * as Http from "node:http"
import { Duplex } from "node:stream"
import { buffer } from "node:stream/consumers"
import { pattern } from "../../support/bytes.js"
import { sha256 } from "./traffic.js"

/** How a peer of another version serves HTTP: Node's `http`, over streams without an adapter of this package. */
export const serveHttp = (session: Session.Session) =>
  Effect.flatMap(
    Effect.acquireRelease(
      Effect.sync(() => Http.createServer((request, response) => void answer(request, response))),
      (server) => Effect.sync(() => server.closeAllConnections())
    ),
    (server) =>
      session.run((stream) =>
        Effect.flatMap(duplexOf(stream), (duplex) =>
          Effect.async<void>((resume) => {
            duplex.on("close", () => resume(Effect.void)).on("error", () => {})
            server.emit("connection", duplex)
          }))
      )
  )

/** Sends a GET and a POST over a stream each, and checks the answers. Completes with the size of the body. */
export const requestHttp = (session: Session.Session, size: number, seed: number) =>
  Effect.gen(function*() {
    const hello = yield* send(session, { path: "/hello" })
    if (hello.length === 0) return yield* Effect.dieMessage("GET /hello: no body")
    const content = pattern(size, seed)
    const echo = yield* send(session, { path: "/echo", method: "POST" }, content)
    if (sha256(echo) !== sha256(content)) return yield* Effect.dieMessage("POST /echo: another body")
    return size
  })

const send = (session: Session.Session, options: Http.RequestOptions, body?: Uint8Array) =>
  Effect.scoped(Effect.gen(function*() {
    const duplex = yield* duplexOf(yield* session.open())
    return yield* Effect.async<Uint8Array, Error>((resume) => {
      const fail = (error: Error) => resume(Effect.fail(error))
      Http.request({ ...options, createConnection: () => duplex as never }, (response) => {
        buffer(response).then((all) => resume(Effect.succeed(all)), fail)
      }).on("error", fail).end(body)
    })
  }))

const answer = async (request: Http.IncomingMessage, response: Http.ServerResponse) => {
  const url = new URL(request.url!, "http://peer")
  switch (url.pathname) {
    case "/echo":
      return void response.end(await buffer(request)) // a client of HTTP/1 sends all before it reads
    case "/bytes": {
      const content = pattern(Number(url.searchParams.get("n")))
      return void response.setHeader("x-sha256", sha256(content)).end(content)
    }
    case "/slow":
      for (let i = 1; i <= 6; i++) {
        response.write(`chunk ${i}\n`)
        await new Promise((resolve) => setTimeout(resolve, 50))
      }
      return void response.end()
    default:
      response.end("hello from node\n")
  }
}

const duplexOf = (stream: MuxStream): Effect.Effect<Duplex> =>
  Effect.map(Effect.runtime<never>(), (runtime) => {
    const run = Runtime.runPromise(runtime)
    return new Duplex({
      read() {
        run(stream.read).then((chunk) => this.push(Option.getOrNull(chunk)), (error) => this.destroy(error))
      },
      write(chunk, _, done) {
        run(stream.write(chunk)).then(() => done(), done)
      },
      final(done) {
        run(stream.end).then(() => done(), done)
      }
    })
  })
