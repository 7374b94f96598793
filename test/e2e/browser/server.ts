import * as NodeHttpServer from "@effect/platform-node/NodeHttpServer"
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as HttpRouter from "@effect/platform/HttpRouter"
import * as HttpServer from "@effect/platform/HttpServer"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import type { MuxStream } from "effect-wsmux/MuxStream"
import * as ResumeServer from "effect-wsmux/ResumeServer"
import type * as Session from "effect-wsmux/Session"
import * as SessionRoute from "effect-wsmux/SessionRoute"
import * as Chunk from "effect/Chunk"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { createHash } from "node:crypto"
import { readFileSync } from "node:fs"
import * as Http from "node:http"
import * as Net from "node:net"
import { content, settings, wideWindow } from "./content.js"

/**
 * The server of the browser suite, which serves the page and its sessions. A test kills this process.
 */
const [script = ""] = process.argv.slice(2)

const digest = (data: Uint8Array): string => createHash("sha256").update(data).digest("hex")

const readAll = (stream: MuxStream) =>
  Effect.map(Stream.runCollect(stream.readable), (chunks) => Buffer.concat(Chunk.toReadonlyArray(chunks)))

const echo = (stream: MuxStream) => Stream.run(stream.readable, stream.writable)

const tasks: Readonly<Record<string, (session: Session.Session) => Effect.Effect<unknown, unknown>>> = {
  "/transfer": (session) =>
    session.run((stream) =>
      Effect.gen(function*() {
        const received = yield* readAll(stream)
        const answer = content(received.length, stream.id)
        yield* Stream.run(Stream.make(Buffer.from(digest(received)), answer), stream.writable)
      })
    ),
  "/accept": (session) =>
    Effect.forEach(
      Array.from({ length: 20 }, (_, i) => content(100_000, i)),
      (sent) =>
        Effect.scoped(Effect.gen(function*() {
          const stream = yield* session.open()
          const [, back] = yield* Effect.all(
            [Stream.run(Stream.make(sent), stream.writable), readAll(stream)],
            { concurrency: 2 }
          )
          console.log(digest(back) === digest(sent) ? "echoed" : "DIFFERENT")
        })),
      { concurrency: "unbounded" }
    ).pipe(Effect.zipRight(session.awaitClosed)),
  "/slow": (session) =>
    Effect.gen(function*() {
      const slow = yield* session.accept
      yield* Effect.forkScoped(Stream.run(Stream.make(content(2_000_000, 7)), slow.writable))
      yield* echo(yield* session.accept)
      yield* session.awaitClosed
    }).pipe(Effect.scoped),
  "/freeze": (session) =>
    session.run((stream) =>
      Effect.gen(function*() {
        yield* stream.read
        yield* Effect.fork(Effect.forever(stream.write(content(64_000, 1))))
        yield* stream.read
        process.kill(process.pid, "SIGSTOP")
      })
    ),
  "/resume": (session) => session.run(echo),
  "/strokes": (session) => session.run(echo),
  "/kill": (session) => session.run((stream) => Effect.map(stream.read, () => process.kill(process.pid, "SIGKILL")))
}

const html = "<!doctype html><title>effect-wsmux</title><script src='/page.js'></script>"

/** Passes what a page sends to this server at `slowRate` bytes a second, and what it receives at once. */
const slowWay = Net.createServer((socket) => {
  const onward = Net.connect(mainPort, "127.0.0.1")
  for (const end of [socket, onward]) end.on("error", () => [socket, onward].forEach((other) => other.destroy()))
  onward.pipe(socket)
  socket.on("data", (data) => {
    onward.write(data)
    socket.pause()
    setTimeout(() => socket.resume(), data.byteLength / slowRate * 1000)
  })
  socket.on("end", () => onward.end())
}).listen(0, "127.0.0.1")
const slowRate = 1024 * 1024
let mainPort = 0

const pages = HttpRouter.empty.pipe(
  HttpRouter.get("/", HttpServerResponse.html(html)),
  HttpRouter.get(
    "/slow-port",
    Effect.sync(() => HttpServerResponse.text(`${(slowWay.address() as Net.AddressInfo).port}`))
  ),
  HttpRouter.get("/page.js", HttpServerResponse.text(readFileSync(script, "utf8"), { contentType: "text/javascript" }))
)
const resume = Effect.runSync(Scope.extend(ResumeServer.make(), Effect.runSync(Scope.make())))
const optionsOf = (path: string) => {
  if (path === "/strokes") {
    return { settings: { ...settings, streamBufferSize: wideWindow }, allowedOrigins: "*" } as const
  }
  return path === "/resume" ? { settings, resume } : { settings }
}
const routes = Object.entries(tasks).reduce(
  (router, [path, task]) =>
    HttpRouter.get(
      router,
      path as `/${string}`,
      SessionRoute.make(task, optionsOf(path))
    ),
  pages as HttpRouter.HttpRouter<unknown, never>
)

/** Resets the WebSocket of each session that can be resumed, every 0.2 to 1.5 s. */
const makeServer = () => {
  const server = Http.createServer().on("upgrade", ({ url }, socket: Net.Socket) => {
    if (url === "/resume") setTimeout(() => socket.resetAndDestroy(), 200 + Math.random() * 1300)
  })
  return server.on("listening", () => mainPort = (server.address() as Net.AddressInfo).port)
}

HttpServer.serve(routes).pipe(
  HttpServer.withLogAddress,
  Layer.provide(NodeHttpServer.layer(makeServer, { port: 0, host: "127.0.0.1" })),
  Layer.launch,
  NodeRuntime.runMain
)
