import * as NodeHttpServer from "@effect/platform-node/NodeHttpServer"
import * as HttpRouter from "@effect/platform/HttpRouter"
import * as HttpServer from "@effect/platform/HttpServer"
import * as HttpServerRequest from "@effect/platform/HttpServerRequest"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import * as MuxHttp from "effect-wsmux/MuxHttp"
import * as NodeTransportServer from "effect-wsmux/NodeTransportServer"
import type * as Session from "effect-wsmux/Session"
import * as SessionConfig from "effect-wsmux/SessionConfig"
import * as SessionServer from "effect-wsmux/SessionServer"
import * as StreamRouter from "effect-wsmux/StreamRouter"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Stream from "effect/Stream"
import { answering } from "../../support/answering.js"
import * as Rpc from "../../support/rpc.js"
import type { Question } from "./main.js"
import { settings } from "./server.js"

export interface ResumingReport {
  readonly faults: ReadonlyArray<string>
  readonly left: number
}

const router = HttpRouter.empty.pipe(
  HttpRouter.post(
    "/echo",
    Effect.map(HttpServerRequest.HttpServerRequest, ({ stream }) => HttpServerResponse.stream(stream))
  )
)

/** Serves RPC and HTTP on streams with their labels, and echoes all others. */
const serve = (session: Session.Session, faults: Array<string>) =>
  Effect.gen(function*() {
    const { http, rpc } = yield* StreamRouter.acceptors(session, ["http", "rpc"], (stream) =>
      Stream.run(stream.readable, stream.writable).pipe(
        Effect.onExit((exit) =>
          Effect.sync(() => {
            if (Exit.isFailure(exit)) {
              faults.push(`the echo of stream ${stream.id}: ${exit.cause}`)
            }
          })
        )
      ))
    yield* Rpc.serve(rpc as Session.Session)
    const server = Layer.scoped(HttpServer.HttpServer, MuxHttp.makeServer(http))
    yield* Layer.build(
      HttpServer.serve(router).pipe(Layer.provide(Layer.merge(server, NodeHttpServer.layerContext)))
    )
    return yield* session.awaitClosed
  })

/** Serves sessions that outlive their connections. */
export const resumingServer = (): void => {
  const faults: Array<string> = []
  let left = 0
  const program = Effect.gen(function*() {
    const listening = yield* SessionServer.make(settings, { resume: true })
    yield* Effect.fork(listening.run((session) =>
      Effect.acquireUseRelease(
        Effect.sync(() => left++),
        () => Effect.scoped(serve(session, faults)),
        () => Effect.sync(() => left--)
      )
    ))
    answering(async ({ ask }: Question) => {
      if (ask === "port") return listening.address
      for (let i = 0; ask === "finish" && left > 0 && i < 1000; i++) await Effect.runPromise(Effect.sleep(10))
      return { faults: faults.splice(0), left } satisfies ResumingReport
    })
    return yield* Effect.never
  }).pipe(Effect.provide(NodeTransportServer.layer()), Effect.provide(SessionConfig.layer(settings)))
  Effect.runFork(Effect.scoped(program))
}
