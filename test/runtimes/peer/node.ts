/**
 * The program of Node, Bun and Deno:
 *
 * - `serve ws` listens by `NodeTransportServer`, and prints its port
 * - `serve native` listens by Deno's own server
 * - `dial ws URL TASK...` and `dial native URL TASK...` run tasks one after the other, over `NodeTransport` or over the
 *   platform's own WebSocket. Tasks that are joined by a comma run at once.
 */
import * as Socket from "@effect/platform/Socket"
import { type Transport, WebSocketTransport } from "effect-wsmux"
import * as NodeTransport from "effect-wsmux/NodeTransport"
import * as NodeTransportServer from "effect-wsmux/NodeTransportServer"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { nodeClientTasks, nodeServerTasks } from "./nodeTasks.js"
import { partner, runTask } from "./tasks.js"

/** Longer than a busy machine takes to answer. */
const openTimeout = "1 minute"

const tell = (line: string): void => console.log(line)

const dial = (kind: string, url: string): Effect.Effect<Transport.Transport, unknown, Scope.Scope> =>
  kind === "ws"
    ? NodeTransport.connect(url, { openTimeout })
    : Effect.provide(WebSocketTransport.connect(url, { openTimeout }), Socket.layerWebSocketConstructorGlobal)

const serveTask = (path: string, transport: Transport.Transport) =>
  nodeServerTasks[path.slice(1)]!(transport, tell).pipe(
    Effect.catchAll((error) => Effect.sync(() => tell(`over ${path}: ${String(error)}`)))
  )

const serveWs = Effect.gen(function*() {
  const server = yield* NodeTransportServer.make()
  if (server.address._tag === "TcpAddress") tell(`listening ${server.address.port}`)
  yield* server.run((transport, { request }) => serveTask(request.url, transport))
}).pipe(Effect.scoped)

interface DenoServer {
  readonly serve: (options: object, handler: (request: Request) => Response) => unknown
  readonly upgradeWebSocket: (request: Request) => { readonly socket: WebSocket; readonly response: Response }
}

const serveNative = Effect.sync(() => {
  const deno = (globalThis as unknown as { readonly Deno: DenoServer }).Deno
  const onListen = ({ port }: { readonly port: number }) => tell(`listening ${port}`)
  deno.serve({ port: 0, hostname: "127.0.0.1", onListen }, (request) => {
    const { response, socket } = deno.upgradeWebSocket(request)
    Effect.runFork(
      Effect.scoped(
        Effect.flatMap(
          WebSocketTransport.fromWebSocket(socket),
          (transport) => serveTask(new URL(request.url).pathname, transport)
        )
      )
    )
    return response
  })
})

const [command, kind = "ws", url = "", ...tasks] = process.argv.slice(2)

await Effect.runPromise(
  command === "serve"
    ? kind === "ws" ? serveWs : serveNative
    : Effect.forEach(tasks, (group) =>
      Effect.forEach(
        group.split(","),
        (task) => runTask(task, dial(kind, `${url}/${partner(task)}`), tell, nodeClientTasks),
        { concurrency: "unbounded" }
      )).pipe(Effect.map(() => process.exit(0)))
)
