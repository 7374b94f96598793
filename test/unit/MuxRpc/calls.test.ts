import * as RpcClient from "@effect/rpc/RpcClient"
import type * as RpcClientError from "@effect/rpc/RpcClientError"
import * as RpcSerialization from "@effect/rpc/RpcSerialization"
import { describe, expect, it } from "@effect/vitest"
import * as MemoryTransport from "effect-wsmux/MemoryTransport"
import * as Cause from "effect/Cause"
import * as Chunk from "effect/Chunk"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import * as Tracer from "effect/Tracer"
import { expectWaiting, failureOf, plainly, quietly as natively, start } from "../../support/observe.js"
import { connect, makeServed, serve } from "../../support/rpc.js"
import { settle } from "../../support/sessions.js"

// Calls name themselves by the label of their stream, and by the first bytes where the peer is plain.
describe.each([["native", natively], ["plain", plainly]] as const)("%s", (_mode, quietly) => {
  /** A client and a server of calls over one session. */
  const makeEnds = Effect.gen(function*() {
    const sessions = yield* MemoryTransport.makeSessions(quietly())
    const served = makeServed()
    yield* serve(sessions.server, served)
    return { ...sessions, served, api: yield* connect(sessions.client) }
  })

  const streamsOf = (session: MemoryTransport.Sessions["client"]) =>
    Effect.map(Effect.zipRight(settle, session.snapshot), ({ streams }) => streams.length)

  const serializations = {
    Json: RpcSerialization.layerJson,
    Ndjson: RpcSerialization.layerNdjson,
    MsgPack: RpcSerialization.layerMsgPack,
    JsonRpc: RpcSerialization.layerJsonRpc(),
    NdJsonRpc: RpcSerialization.layerNdJsonRpc()
  }

  describe.each(Object.entries(serializations))("MuxRpc with %s", (name, serialization) => {
    // Characters of two bytes lie across the ends of windows and frames.
    it.scoped(`MuxRpc answers plain and streaming calls at both ends when messages are ${name}`, () =>
      Effect.gen(function*() {
        const { client, server } = yield* MemoryTransport.makeSessions(quietly())
        yield* serve(client, makeServed(), { serialization })
        yield* serve(server, makeServed(), { serialization })
        for (const session of [client, server]) {
          const api = yield* connect(session, { serialization })
          const [text, texts] = yield* Effect.all(
            [api.Echo({ text: "täxt" }), Stream.runCollect(api.Texts({ count: 5, length: 999 }))],
            { concurrency: 2 }
          )
          expect(text).toBe("täxt")
          expect(Chunk.toReadonlyArray(texts)).toEqual([1, 2, 3, 4, 5].map((n) => `${n} `.padEnd(999, "ä")))
        }
      }))
  })

  describe("MuxRpc", () => {
    it.scoped("MuxRpc leaves no stream when calls have succeeded, failed and died", () =>
      Effect.gen(function*() {
        const { api, client, server } = yield* makeEnds
        expect(yield* api.Echo({ text: "a" })).toBe("a")
        expect(yield* Effect.flip(api.Fail())).toMatchObject({ _tag: "Sad", why: "as asked" })
        expect(yield* Effect.exit(api.Die())).toMatchObject({ _tag: "Failure", cause: { _tag: "Die" } })
        expect([yield* streamsOf(client), yield* streamsOf(server)]).toEqual([0, 0])
      }))

    it.scoped("MuxRpc gives a defect to its own call when other calls are pending", () =>
      Effect.gen(function*() {
        const { api } = yield* makeEnds
        const waiting = yield* start(api.Wait())
        const exit = yield* Effect.exit(api.Die())
        const defect = Exit.isFailure(exit) ? Option.getOrThrow(Cause.dieOption(exit.cause)) : undefined
        expect(String(defect)).toContain("the handler is broken")
        yield* expectWaiting(waiting)
        expect(yield* api.Echo({ text: "still there" })).toBe("still there")
      }))

    it.scoped("MuxRpc carries the headers and the trace of a call when the client has them", () =>
      Effect.gen(function*() {
        const { api } = yield* makeEnds
        const header = api.Header({ name: "x-user" })
        expect(yield* RpcClient.withHeaders(header, { "x-user": "Ada" })).toBe("Ada")
        const spans: Array<Tracer.Span> = []
        const tracer = yield* Effect.tracer
        const watching = Tracer.make({
          context: (run, fiber) => tracer.context(run, fiber),
          span: (...args) => {
            const span = tracer.span(...args)
            spans.push(span)
            return span
          }
        })
        yield* Effect.gen(function*() {
          const traced = yield* makeEnds
          yield* traced.api.Echo({ text: "a" })
        }).pipe(Effect.scoped, Effect.withTracer(watching))
        const of = (name: string) => spans.find((span) => span.name === name)!
        expect(Option.getOrThrow(of("RpcServer.Echo").parent)).toMatchObject({
          traceId: of("RpcClient.Echo").traceId,
          spanId: of("RpcClient.Echo").spanId
        })
      }))
  })

  describe("MuxRpc streaming calls", () => {
    it.scoped("MuxRpc holds back one producer when its consumer is slow, and no other call", () =>
      Effect.gen(function*() {
        const { api, served } = yield* makeEnds
        const [first, goOn] = [yield* Deferred.make<void>(), yield* Deferred.make<void>()]
        const seen: Array<string> = []
        const consuming = yield* Effect.fork(Stream.runForEach(api.Texts({ count: 100, length: 500 }), (text) => {
          seen.push(text.trimEnd())
          return Effect.zipRight(Deferred.succeed(first, undefined), Deferred.await(goOn))
        }))
        yield* Deferred.await(first)
        yield* settle
        const made = served.texts
        // The client of RPC buffers 16 texts, one more is on its way, and the window holds one.
        expect(made).toBeLessThan(25)
        for (let i = 0; i < 20; i++) expect(yield* api.Echo({ text: `${i}` })).toBe(`${i}`)
        expect(Chunk.size(yield* Stream.runCollect(api.Texts({ count: 20, length: 500 })))).toBe(20)
        expect([served.texts, seen.length]).toEqual([made + 20, 1])
        yield* Deferred.succeed(goOn, undefined)
        yield* Fiber.join(consuming)
        expect(seen.map((text) => text.split(" ")[0])).toEqual(Array.from({ length: 100 }, (_, i) => String(i + 1)))
      }))

    it.scoped("MuxRpc stops the producer and frees the stream when the consumer leaves", () =>
      Effect.gen(function*() {
        const { api, client, served, server } = yield* makeEnds
        const taken = yield* Stream.runCollect(Stream.take(api.Texts({ count: 1_000_000, length: 500 }), 3))
        expect(Chunk.size(taken)).toBe(3)
        yield* settle
        const made = served.texts
        yield* settle
        expect([served.texts, yield* streamsOf(client), yield* streamsOf(server)]).toEqual([made, 0, 0])
        expect(made).toBeLessThan(40)
      }))
  })

  describe("MuxRpc interruption", () => {
    it.scoped("MuxRpc interrupts the handler and frees the stream when the caller is interrupted", () =>
      Effect.gen(function*() {
        const { api, client, served, server } = yield* makeEnds
        const waiting = yield* start(api.Wait())
        const other = yield* start(api.Wait())
        yield* Fiber.interrupt(waiting)
        expect([yield* streamsOf(client), yield* streamsOf(server)]).toEqual([1, 1])
        expect(served).toMatchObject({ waits: 2, interrupted: 1 })
        yield* expectWaiting(other)
      }))

    it.scoped("MuxRpc interrupts the handlers when the scope of the client closes", () =>
      Effect.gen(function*() {
        const { client, server } = yield* MemoryTransport.makeSessions(quietly())
        const served = makeServed()
        yield* serve(server, served)
        const waiting = yield* Effect.scoped(Effect.flatMap(connect(client), (api) =>
          Effect.forkDaemon(api.Wait()).pipe(
            Effect.zipLeft(settle)
          )))
        expect(Exit.isInterrupted(yield* waiting.await)).toBe(true)
        expect([yield* streamsOf(client), yield* streamsOf(server)]).toEqual([0, 0])
        expect(served).toMatchObject({ waits: 1, interrupted: 1 })
      }))
  })

  describe("MuxRpc with a lost session", () => {
    it.scoped("MuxRpc fails calls and interrupts their handlers when the connection is cut", () =>
      Effect.gen(function*() {
        const { api, pair, served } = yield* makeEnds
        const waiting = yield* start(api.Wait())
        const texts = yield* start(Stream.runDrain(api.Texts({ count: 1_000_000, length: 100 })))
        yield* pair.cut
        for (const fiber of [waiting, texts]) {
          const failure = (yield* failureOf(fiber)) as RpcClientError.RpcClientError
          expect(failure).toMatchObject({ _tag: "RpcClientError", reason: "Protocol", cause: { _tag: "BrokenPipe" } })
          expect(failure.message).toMatch(/^cannot call (Wait|Texts): cannot \w+ stream \d: the connection was lost/)
        }
        yield* settle
        const made = served.texts
        yield* settle
        expect(served).toEqual({ texts: made, waits: 1, interrupted: 1 })
        expect(yield* Effect.flip(api.Echo({ text: "late" }))).toMatchObject({
          _tag: "RpcClientError",
          cause: { _tag: "TransportFailure" }
        })
      }))
  })
})
