import * as HttpClient from "@effect/platform/HttpClient"
import * as HttpRouter from "@effect/platform/HttpRouter"
import * as HttpServer from "@effect/platform/HttpServer"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import { afterAll, beforeAll, describe, expect, it } from "@effect/vitest"
import * as MuxHttp from "effect-wsmux/MuxHttp"
import * as MuxSocket from "effect-wsmux/MuxSocket"
import type { MuxStream } from "effect-wsmux/MuxStream"
import * as NodeDuplex from "effect-wsmux/NodeDuplex"
import * as Session from "effect-wsmux/Session"
import { Transport } from "effect-wsmux/Transport"
import * as WebStreams from "effect-wsmux/WebStreams"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Queue from "effect/Queue"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as Supervisor from "effect/Supervisor"
import { once } from "node:events"
import type { Socket } from "node:net"
import { bytes, pattern } from "../support/bytes.js"
import { quiet } from "../support/observe.js"
import { provideTo } from "../support/provideTo.js"
import { wired } from "../support/transports.js"
import { patience, within } from "../support/within.js"

// Unhandled rejections and errors need no assertion here: the runner fails on any.

/** Uses of a stream through an adapter. The peer may end a use early. */
type Use = (stream: MuxStream) => Effect.Effect<unknown, unknown, Scope.Scope>

const large = pattern(200_000)
const ignore = () => {}

const uses: Readonly<Record<string, Use>> = {
  "a Duplex": (stream) =>
    Effect.flatMap(NodeDuplex.fromMuxStream(stream), (duplex) =>
      Effect.promise(async () => {
        duplex.on("error", ignore)
        duplex.end(large)
        duplex.resume()
        await once(duplex, "close").catch(ignore)
      })),
  "a Duplex that is destroyed": (stream) =>
    Effect.flatMap(NodeDuplex.fromMuxStream(stream), (duplex) =>
      Effect.promise(async () => {
        duplex.write(large)
        const socket = duplex as Socket
        socket.setTimeout(60_000)
        duplex.once("data", () => duplex.destroy())
        await once(duplex, "close").catch(ignore)
      })),
  "web streams": (stream) =>
    Effect.flatMap(WebStreams.fromMuxStream(stream), ({ readable, writable }) =>
      Effect.promise(async () => {
        const written = new Blob([new Uint8Array(large)]).stream().pipeTo(writable).catch(ignore)
        await readable.pipeTo(new WritableStream()).catch(ignore)
        await written
      })),
  "web streams that are cancelled": (stream) =>
    Effect.flatMap(WebStreams.fromMuxStream(stream), ({ readable, writable }) =>
      Effect.promise(async () => {
        const writer = writable.getWriter()
        writer.closed.catch(ignore)
        writer.write(large).catch(ignore)
        await readable.cancel()
        await writer.abort().catch(ignore)
      })),
  "a platform Socket": (stream) =>
    Effect.flatMap(MuxSocket.fromMuxStream(stream), (socket) => {
      const writing = Effect.flatMap(socket.writer, (write) => write(large))
      return Effect.ignore(Effect.all([socket.run(ignore), Effect.scoped(writing)], { concurrency: 2 }))
    })
}

/** The actions of the peer meanwhile. */
const peers: Readonly<
  Record<string, (stream: MuxStream, session: Session.Session) => Effect.Effect<unknown, unknown>>
> = {
  "echoes": (stream) => Stream.run(stream.readable, stream.writable),
  "ends early": (stream) => Effect.zipRight(stream.write(bytes("enough")), stream.end),
  "loses the session": (stream, session) => Effect.zipRight(stream.write(bytes("so much")), session.close)
}

/** The resources that could leak: fibers of the program, timers and sockets of the process. */
const leftovers = (supervisor: Supervisor.Supervisor<ReadonlyArray<unknown>>) =>
  Effect.map(supervisor.value, (fibers) => ({ fibers: fibers.length, resources: resources() }))

const resources = () => process.getActiveResourcesInfo().filter((name) => name !== "Immediate").length

const rounds = 20

/** Runs the use twice, and fails when a resource remains. Sockets may take a while to close. */
const expectNothingLeft = <A, E, R>(use: Effect.Effect<A, E, R>) =>
  Effect.gen(function*() {
    const supervisor = yield* Supervisor.track
    const before = resources()
    yield* Effect.repeatN(Effect.supervised(use, supervisor), 1)
    yield* leftovers(supervisor).pipe(
      Effect.delay(1),
      // The runner has a few timers of its own. Twenty streams would leave twenty.
      Effect.repeat({ until: (left) => left.fibers === 0 && left.resources - before < rounds / 2 }),
      Effect.timeout("10 seconds"),
      Effect.catchAll(() => Effect.map(leftovers(supervisor), (left) => expect({ ...left, before }).toBe("nothing")))
    )
  })

/** Requests over a session that are answered, aborted at either end, and cut off by the end of the session. */
const useHttp = Effect.scoped(Effect.gen(function*() {
  const ends = yield* wired["ws"]!()
  const near = yield* Effect.provideService(Session.makeClient(quiet), Transport, ends.client)
  const far = yield* Effect.provideService(Session.makeServer(quiet), Transport, ends.server)
  const waiting = yield* Queue.unbounded<void>()
  const endless = HttpServerResponse.stream(Stream.repeatValue(large))
  const routes = HttpRouter.empty.pipe(
    HttpRouter.get("/hello", HttpServerResponse.text("hello")),
    HttpRouter.get("/endless", endless),
    HttpRouter.get("/never", Effect.zipRight(Queue.offer(waiting, undefined), Effect.never)),
    HttpRouter.get("/broken", HttpServerResponse.stream(Stream.fail("broken")))
  )
  yield* Layer.build(Layer.provide(HttpServer.serve(routes), provideTo(MuxHttp.layerServer(), far)))
  const client = yield* Layer.build(provideTo(MuxHttp.layerClient(), near))
  const get = (path: string) => Effect.provide(HttpClient.get(`http://inside${path}`), client)
  const body = (path: string) => Stream.unwrap(Effect.map(get(path), ({ stream }) => stream))
  for (let i = 0; i < rounds; i++) {
    expect(yield* Effect.flatMap(get("/hello"), ({ text }) => text)).toBe("hello")
    yield* Stream.runDrain(Stream.take(body("/endless"), 2))
    yield* Effect.ignore(Stream.runDrain(body("/broken")))
    const given = yield* Effect.fork(get("/never"))
    yield* Queue.take(waiting)
    yield* Fiber.interrupt(given)
  }
  const flowing = yield* Deferred.make<void>()
  const cutOff = yield* Effect.fork(Stream.runForEach(body("/endless"), () => Deferred.succeed(flowing, undefined)))
  yield* Deferred.await(flowing).pipe(within(patience, "the first bytes of /endless"))
  yield* far.close
  expect((yield* Fiber.await(cutOff))._tag).toBe("Failure")
}))

describe.sequential("adapters", () => {
  const warnings: Array<Error> = []
  const onWarning = (warning: Error) => warnings.push(warning)
  beforeAll(() => void process.on("warning", onWarning))
  afterAll(() => {
    process.off("warning", onWarning)
    expect(warnings.filter(({ name }) => name === "MaxListenersExceededWarning")).toEqual([])
  })

  it.live("MuxHttp retains no object of a stream when the stream has ended", () => expectNothingLeft(useHttp))

  for (const [what, use] of Object.entries(uses)) {
    for (const [how, answer] of Object.entries(peers)) {
      it.live(`A stream as ${what} leaves no object when its peer ${how}`, () =>
        expectNothingLeft(
          Effect.scoped(Effect.gen(function*() {
            const ends = yield* wired["ws"]!()
            const near = yield* Effect.provideService(Session.makeClient(quiet), Transport, ends.client)
            const far = yield* Effect.provideService(Session.makeServer(quiet), Transport, ends.server)
            yield* Effect.fork(far.run((stream) => answer(stream, far)))
            for (let i = 0; i < rounds; i++) {
              yield* Effect.ignore(Effect.scoped(Effect.flatMap(near.open(), use)))
            }
            if (how !== "loses the session") {
              yield* Effect.repeat(Effect.delay(near.snapshot, 1), { until: ({ streams }) => streams.length === 0 })
            }
          }))
        ))
    }
  }
})
