/** The tasks over the adapters that need the modules of Node. */
import * as HttpClient from "@effect/platform/HttpClient"
import * as HttpClientRequest from "@effect/platform/HttpClientRequest"
import * as HttpRouter from "@effect/platform/HttpRouter"
import * as HttpServer from "@effect/platform/HttpServer"
import * as HttpServerRequest from "@effect/platform/HttpServerRequest"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import { Session } from "effect-wsmux"
import * as MuxHttp from "effect-wsmux/MuxHttp"
import * as NodeDuplex from "effect-wsmux/NodeDuplex"
import * as TcpTunnel from "effect-wsmux/TcpTunnel"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Net from "node:net"
import { pipeline } from "node:stream/promises"
import { asClient, asServer, clientTasks, content, Different, serverTasks, type Tasks } from "./tasks.js"

const size = 2 * 1024 * 1024

const compare = (what: string, seen: Uint8Array, expected: Uint8Array) =>
  Buffer.compare(seen, expected) === 0
    ? Effect.void
    : Effect.fail(new Different(`${what}: ${seen.byteLength} other bytes instead of ${expected.byteLength}`))

/** Listens on a free port until the scope closes. */
const listening = (server: Net.Server) =>
  Effect.acquireRelease(
    Effect.async<number>((resume) => {
      server.listen(0, "127.0.0.1", () => resume(Effect.succeed((server.address() as Net.AddressInfo).port)))
    }),
    () => Effect.sync(() => server.close())
  )

/** Writes all, ends, and collects the bytes up to the end of the other side. */
const converse = (duplex: NodeJS.ReadWriteStream, bytes: Uint8Array): Effect.Effect<Buffer, unknown> =>
  Effect.tryPromise(async () => {
    const chunks: Array<Buffer> = []
    const reading = (async () => {
      for await (const chunk of duplex) chunks.push(chunk as Buffer)
    })()
    duplex.end(bytes)
    await reading
    return Buffer.concat(chunks)
  })

const routes = HttpRouter.empty.pipe(
  HttpRouter.post(
    "/echo",
    Effect.map(
      Effect.flatMap(HttpServerRequest.HttpServerRequest, (request) => request.arrayBuffer),
      (body) => HttpServerResponse.uint8Array(new Uint8Array(body))
    )
  )
)

export const nodeServerTasks: Tasks = {
  ...serverTasks,
  http: asServer((session) =>
    Layer.launch(
      HttpServer.serve(routes).pipe(
        Layer.provide(MuxHttp.layerServer()),
        Layer.provide(Layer.succeed(Session.StreamAcceptor, session))
      )
    )
  ),
  duplex: asServer((session) =>
    session.run((stream) =>
      Effect.flatMap(NodeDuplex.fromMuxStream(stream), (duplex) => Effect.tryPromise(() => pipeline(duplex, duplex)))
    )
  ),
  tunnel: asServer((session) =>
    Effect.gen(function*() {
      const target = Net.createServer(
        { allowHalfOpen: true },
        (socket) => void pipeline(socket, socket).catch(() => {})
      )
      const port = yield* listening(target)
      yield* TcpTunnel.serve(session, { connect: () => Net.connect({ port, host: "127.0.0.1", allowHalfOpen: true }) })
    })
  )
}

export const nodeClientTasks: Tasks = {
  ...clientTasks,
  http: asClient((session) =>
    Effect.gen(function*() {
      const sent = content(size, 6)
      const answer = yield* HttpClient.execute(
        HttpClientRequest.bodyUint8Array(HttpClientRequest.post("http://session/echo"), sent)
      )
      yield* compare("the body", new Uint8Array(yield* answer.arrayBuffer), sent)
    }).pipe(
      Effect.provide(Layer.provide(MuxHttp.layerClient(), Layer.succeed(Session.StreamOpener, session)))
    )
  ),
  duplex: asClient((session) =>
    Effect.gen(function*() {
      const sent = content(size, 7)
      const duplex = yield* NodeDuplex.open(session)
      yield* compare("the echo", yield* converse(duplex, sent), sent)
    })
  ),
  tunnel: asClient((session) =>
    Effect.gen(function*() {
      const local = Net.createServer({ allowHalfOpen: true })
      yield* TcpTunnel.forward(session, local)
      const port = yield* listening(local)
      const sent = content(size, 8)
      const socket = Net.connect({ port, host: "127.0.0.1", allowHalfOpen: true })
      yield* compare("the echo through the tunnel", yield* converse(socket, sent), sent)
    })
  )
}
