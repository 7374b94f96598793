import { describe, expect, it } from "@effect/vitest"
import { type MuxStream, ResetCode } from "effect-wsmux/MuxStream"
import * as StreamRouter from "effect-wsmux/StreamRouter"
import type { StreamReset } from "effect-wsmux/WsmuxError"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import { bytes, text } from "../support/bytes.js"
import { quiet } from "../support/observe.js"
import { makeSessions, readAll, settle } from "../support/sessions.js"

/** A handler that answers with its name and the label. */
const answer = (name: string) => (stream: MuxStream) =>
  Effect.zipRight(stream.write(bytes(`${name}:${stream.label}`)), stream.end)

const makeRouted = (dialect: "auto" | "off", otherwise?: StreamRouter.Handler<unknown, never>) =>
  Effect.gen(function*() {
    const settings = { ...quiet, dialect }
    const { client, server } = yield* makeSessions({ client: settings, server: settings })
    yield* settle
    yield* Effect.forkScoped(StreamRouter.run(server, { rpc: answer("rpc"), http: answer("http") }, otherwise))
    return (options: { readonly label?: string }) =>
      Effect.scoped(Effect.flatMap(client.open(options), (stream) => Effect.map(readAll(stream), text)))
  })

describe("StreamRouter.run", () => {
  it.scoped("StreamRouter.run gives each stream to the handler of its label", () =>
    Effect.gen(function*() {
      const ask = yield* makeRouted("auto", answer("otherwise"))
      const answers = yield* Effect.forEach(["rpc", "http", "else"], (label) => ask({ label }), { concurrency: 3 })
      expect([...answers, yield* ask({})]).toEqual(["rpc:rpc", "http:http", "otherwise:else", "otherwise:"])
    }))

  it.scoped("StreamRouter.run resets a stream when no handler takes its label, or objects inherit it", () =>
    Effect.gen(function*() {
      const ask = yield* makeRouted("auto")
      for (const label of ["else", "constructor", "__proto__", "toString"]) {
        expect(yield* Effect.flip(ask({ label }))).toMatchObject(
          {
            _tag: "StreamReset",
            by: "peer",
            code: ResetCode.NoHandler,
            reason: "no handler for the label"
          } satisfies Partial<StreamReset>
        )
      }
      expect(yield* ask({ label: "rpc" })).toBe("rpc:rpc")
    }))

  it.scoped("StreamRouter.run gives all streams of a peer without the dialect to otherwise", () =>
    Effect.gen(function*() {
      const ask = yield* makeRouted("off", answer("otherwise"))
      expect(yield* ask({})).toBe("otherwise:")
    }))
})

describe("StreamRouter.acceptors", () => {
  it.scoped("StreamRouter.acceptors gives each acceptor the streams of its label, even if they waited", () =>
    Effect.gen(function*() {
      const { client, server } = yield* makeSessions({ client: quiet, server: quiet })
      yield* settle
      const { http, rpc } = yield* StreamRouter.acceptors(server, ["http", "rpc"], answer("otherwise"))
      const ask = (label: string) =>
        Effect.scoped(Effect.flatMap(client.open({ label }), (stream) => Effect.map(readAll(stream), text)))
      const early = yield* Effect.fork(ask("http"))
      yield* settle
      expect(early.unsafePoll()).toBe(null)
      yield* Effect.forkScoped(http.run(answer("http")))
      yield* Effect.forkScoped(rpc.run(answer("rpc")))
      expect(yield* Fiber.join(early)).toBe("http:http")
      expect([yield* ask("rpc"), yield* ask("else")]).toEqual(["rpc:rpc", "otherwise:else"])
    }))

  it.scoped("StreamRouter.acceptors interrupts the handlers of one label when its run is interrupted", () =>
    Effect.gen(function*() {
      const { client, server } = yield* makeSessions({ client: quiet, server: quiet })
      yield* settle
      const { http, rpc } = yield* StreamRouter.acceptors(server, ["http", "rpc"])
      const run = yield* Effect.fork(http.run(() => Effect.never))
      yield* Effect.forkScoped(rpc.run(answer("rpc")))
      const stream = yield* client.open({ label: "http" })
      yield* settle
      yield* Fiber.interrupt(run)
      expect(yield* Effect.flip(readAll(stream))).toMatchObject({ _tag: "StreamReset", code: ResetCode.Cancelled })
      const other = yield* client.open({ label: "rpc" })
      expect(text(yield* readAll(other))).toBe("rpc:rpc")
    }))

  it.scoped("StreamRouter.acceptors fails the run of each acceptor when the session ends", () =>
    Effect.gen(function*() {
      const { client, server } = yield* makeSessions({ client: quiet, server: quiet })
      const { http, rpc } = yield* StreamRouter.acceptors(server, ["http", "rpc"])
      const runs = yield* Effect.fork(
        Effect.all([Effect.flip(http.run(() => Effect.void)), Effect.flip(rpc.run(() => Effect.void))], {
          concurrency: 2
        })
      )
      yield* settle
      yield* client.close
      expect((yield* Fiber.join(runs)).map(({ _tag }) => _tag)).toEqual(["SessionClosed", "SessionClosed"])
    }))
})
