import * as Address from "effect-wsmux/Address"
import * as NodeTransportServer from "effect-wsmux/NodeTransportServer"
import * as SessionServer from "effect-wsmux/SessionServer"
import * as StreamRouter from "effect-wsmux/StreamRouter"
import * as Effect from "effect/Effect"
import * as Runtime from "effect/Runtime"
import * as Stream from "effect/Stream"
import { answering } from "../../support/answering.js"
import { serve } from "../../support/rpc.js"

/**
 * - `address`: answers with the address of the server
 * - `drain`: begins to drain, and answers when the port is free
 * - `drained`: answers when the last session is over
 */
export type Question = "address" | "drain" | "drained"

const [host, port] = process.argv.slice(2)

/** Serves calls by the label "rpc", and echoes streams with the label "echo". */
const main = Effect.gen(function*() {
  const transports = yield* NodeTransportServer.make({ host: host!, port: Number(port) })
  const server = yield* SessionServer.fromTransportServer(transports, { dialect: "auto" })
  yield* Effect.forkScoped(
    server.run((session) =>
      Effect.gen(function*() {
        const { echo, rpc } = yield* StreamRouter.acceptors(session, ["echo", "rpc"])
        yield* serve(rpc)
        yield* echo.run((stream) => Stream.run(stream.readable, stream.writable))
      })
    )
  )
  const run = Runtime.runPromise(yield* Effect.runtime<never>())
  const address = Address.format(server.address)
  let over: Promise<void> | undefined
  answering(async (question: Question) => {
    if (question === "drain") over = run(server.drain({ grace: "20 seconds" }))
    if (question === "drained") await over
    return address
  })
  yield* Effect.never
})

Effect.runPromise(Effect.scoped(main)).catch((cause: unknown) => {
  console.error(cause)
  process.exit(1)
})
