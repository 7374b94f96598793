/** The program of Workers. A WebSocket is served. A plain request runs tasks, and its answer has their lines. */
import * as Socket from "@effect/platform/Socket"
import { WebSocketTransport } from "effect-wsmux"
import * as Effect from "effect/Effect"
import { partner, runTask, serverTasks } from "./tasks.js"

interface Accepted extends WebSocket {
  readonly accept: () => void
}

declare const WebSocketPair: new() => { readonly 0: WebSocket; readonly 1: Accepted }

const tell = (line: string): void => console.log(line)

const serve = (path: string): Response => {
  const { 0: client, 1: server } = new WebSocketPair()
  server.accept()
  Effect.runFork(
    Effect.scoped(
      Effect.flatMap(
        WebSocketTransport.fromWebSocket(server),
        (transport) => serverTasks[path.slice(1)]!(transport, tell)
      )
    ).pipe(Effect.catchAll((error) => Effect.sync(() => tell(`over ${path}: ${String(error)}`))))
  )
  return new Response(null, { status: 101, webSocket: client } as ResponseInit)
}

const dial = (url: string, groups: ReadonlyArray<string>): Response => {
  const { readable, writable } = new TransformStream<Uint8Array, Uint8Array>()
  const writer = writable.getWriter()
  const tellDriver = (line: string): void => void writer.write(new TextEncoder().encode(`${line}\n`))
  const work = Effect.forEach(groups, (group) =>
    Effect.forEach(
      group.split(","),
      (task) =>
        runTask(
          task,
          Effect.provide(
            WebSocketTransport.connect(`${url}/${partner(task)}`),
            Socket.layerWebSocketConstructorGlobal
          ),
          tellDriver
        ),
      { concurrency: "unbounded" }
    ))
  void Effect.runPromise(work).then(() => writer.close())
  return new Response(readable)
}

export default {
  fetch: (request: Request): Response => {
    const { pathname, searchParams } = new URL(request.url)
    return request.headers.get("upgrade") === "websocket"
      ? serve(pathname)
      : dial(searchParams.get("url")!, searchParams.getAll("tasks"))
  }
}
