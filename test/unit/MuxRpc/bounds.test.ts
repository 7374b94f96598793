import * as RpcSerialization from "@effect/rpc/RpcSerialization"
import * as RpcServer from "@effect/rpc/RpcServer"
import { describe, expect, it } from "@effect/vitest"
import * as ByteStream from "effect-wsmux/ByteStream"
import * as MemoryTransport from "effect-wsmux/MemoryTransport"
import * as MuxRpc from "effect-wsmux/MuxRpc"
import { type MuxStream, ResetCode } from "effect-wsmux/MuxStream"
import * as ReconnectingSession from "effect-wsmux/ReconnectingSession"
import * as Session from "effect-wsmux/Session"
import * as StreamRouter from "effect-wsmux/StreamRouter"
import * as WebStreams from "effect-wsmux/WebStreams"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/TestClock"
import { bytes, concat } from "../../support/bytes.js"
import { expectWaiting, failureOf, plainly, quiet, quietly as natively, start } from "../../support/observe.js"
import * as Redialled from "../../support/redialledServer.js"
import { connect, layerServer, makeServed, serve } from "../../support/rpc.js"
import { makeSessions, readAll, settle } from "../../support/sessions.js"

// Calls name themselves by the label of their stream, and by the first bytes where the peer is plain.
describe.each([["native", natively], ["plain", plainly]] as const)("%s", (_mode, quietly) => {
  const preamble = "wsmux-rpc/1 rpc\n"

  /** A length and the message behind it. */
  const record = (message: string | Uint8Array, length?: number): Uint8Array => {
    const body = typeof message === "string" ? bytes(message) : message
    const header = new Uint8Array(4)
    new DataView(header.buffer).setUint32(0, length ?? body.byteLength, true)
    return concat([header, body])
  }

  const echo = (id: string, text: string) =>
    JSON.stringify({ _tag: "Request", id, tag: "Echo", payload: { text }, headers: [] })

  /** The message behind a refusal's header. */
  const refusal = (answer: Uint8Array): string => {
    const word = new DataView(answer.buffer, answer.byteOffset).getUint32(0, true)
    expect(word).toBe(0x8000_0000 + answer.byteLength - 4)
    return new TextDecoder().decode(answer.subarray(4))
  }

  /** A server of calls, and raw streams to it. */
  const makeServer = (options?: MuxRpc.ServerOptions) =>
    Effect.gen(function*() {
      const sessions = yield* MemoryTransport.makeSessions(quietly())
      const served = makeServed()
      yield* serve(sessions.server, served, options)
      const ask = (...chunks: ReadonlyArray<string | Uint8Array>) =>
        Session.withStream(sessions.client, (stream) =>
          Effect.zipRight(
            stream.writeAll(chunks.map((chunk) => typeof chunk === "string" ? bytes(chunk) : chunk)),
            readAll(stream)
          ))
      return { ...sessions, ask, served }
    })

  /** A client of calls whose peer answers each stream by hand. */
  const makeClient = (answer: (stream: MuxStream) => Effect.Effect<unknown, unknown>, options?: MuxRpc.Options) =>
    Effect.gen(function*() {
      const sessions = yield* MemoryTransport.makeSessions(quietly())
      yield* Effect.forkScoped(sessions.server.run(answer))
      return yield* connect(sessions.client, options)
    })

  describe("MuxRpc server", () => {
    it.scoped("MuxRpc server reads a request behind its preamble when it comes byte by byte", () =>
      Effect.gen(function*() {
        const { ask } = yield* makeServer()
        const request = concat([bytes(preamble), record(echo("7", "ä"))])
        const answer = yield* ask(...Array.from(request, (_, i) => request.subarray(i, i + 1)))
        expect(answer).toEqual(
          record("{\"_tag\":\"Exit\",\"requestId\":\"7\",\"exit\":{\"_tag\":\"Success\",\"value\":\"ä\"}}")
        )
      }))

    it.scoped("MuxRpc server refuses a large request before its bytes arrive", () =>
      Effect.gen(function*() {
        const { ask } = yield* makeServer({ maxMessageSize: 100 })
        expect(refusal(yield* ask(preamble, record("", 101)))).toBe("the request has 101 bytes, more than 100")
      }))

    it.scoped("MuxRpc server refuses a stream when its first message is no request", () =>
      Effect.gen(function*() {
        const { ask } = yield* makeServer()
        for (const message of ["null", "[]", "{\"_tag\":\"Ping\"}", "{\"_tag\":\"Request\",\"id\":\"1\"}"]) {
          expect(refusal(yield* ask(preamble, record(message)))).toBe("a call begins with one request")
        }
        expect(refusal(yield* ask(preamble, record("a reason", 0x8000_0008)))).toBe("a call begins with one request")
      }))

    it.scoped("MuxRpc server answers a defect when the request is malformed", () =>
      Effect.gen(function*() {
        const { ask } = yield* makeServer()
        const decode = (answer: Uint8Array): unknown => JSON.parse(new TextDecoder().decode(answer.subarray(4)))
        expect(decode(yield* ask(preamble, record("{")))).toMatchObject({ _tag: "Defect" })
        const unknown = echo("1", "a").replace("Echo", "Unknown")
        expect(decode(yield* ask(preamble, record(unknown)))).toEqual({
          _tag: "Defect",
          defect: "Unknown request tag: Unknown"
        })
        expect(decode(yield* ask(preamble, record(echo("no number", "a"))))).toMatchObject({ _tag: "Defect" })
        expect(decode(yield* ask(preamble, record(echo("1", "a").replace("text", "test"))))).toMatchObject({
          _tag: "Exit",
          exit: { _tag: "Failure", cause: { _tag: "Die" } }
        })
      }))

    it.scoped("MuxRpc server ends the call when bytes follow the request", () =>
      Effect.gen(function*() {
        const { ask, served } = yield* makeServer()
        const wait = echo("1", "a").replace("Echo", "Wait")
        expect(refusal(yield* ask(preamble, record(wait), "more"))).toBe("a call has one request")
        yield* settle
        expect(served).toMatchObject({ waits: 1, interrupted: 1 })
      }))

    it.scoped("MuxRpc server bounds the incomplete requests of all streams, and lets small ones pass", () =>
      Effect.gen(function*() {
        const { ask, client } = yield* makeServer({ maxUnreadSize: 50_000 })
        const incomplete = concat([bytes(preamble), record(new Uint8Array(60_000), 100_000)])
        const first = yield* client.open()
        const second = yield* client.open()
        yield* first.write(incomplete)
        const writing = yield* start(Effect.exit(second.write(incomplete)))
        expect(refusal(yield* readAll(second))).toBe("too many requests are incomplete")
        yield* Fiber.join(writing)
        const answer = yield* ask(preamble, record(echo("1", "small")))
        expect(new TextDecoder().decode(answer)).toContain("small")
        // The share of a stream that was left is free again.
        yield* first.end
        yield* settle
        const third = yield* client.open()
        yield* third.write(incomplete)
        yield* expectWaiting(yield* start(readAll(third)))
      }))

    it.scoped("MuxRpc server leaves requests unread in their windows until an RpcServer runs", () =>
      Effect.gen(function*() {
        const { client, server } = yield* MemoryTransport.makeSessions(quietly())
        const handler = yield* Effect.provide(MuxRpc.makeHandler(), RpcSerialization.layerJson)
        yield* Effect.forkScoped(server.run((stream) => handler.handle(stream)))
        const stream = yield* client.open()
        const writing = yield* start(stream.write(concat([bytes(preamble), record(echo("1", "a".repeat(9000)))])))
        yield* expectWaiting(writing)
        expect((yield* client.snapshot).streams[0]!.waitingBytes).toBeGreaterThan(6000)
        yield* Effect.forkScoped(handler.protocol.run(() => Effect.void))
        yield* Fiber.join(writing)
      }))

    it.scoped("MuxRpc server serves other protocols and labels beside it when given otherwise", () =>
      Effect.gen(function*() {
        const { client, server } = yield* MemoryTransport.makeSessions(quietly())
        const a = yield* Effect.provide(MuxRpc.makeHandler({ label: "a" }), RpcSerialization.layerJson)
        yield* Effect.forkScoped(
          server.run((stream) =>
            a.handle(stream, {
              otherwise: (other) => ByteStream.forEach(other, other.write).pipe(Effect.zipRight(other.end))
            })
          )
        )
        yield* Layer.build(Layer.provide(layerServer(makeServed()), Layer.succeed(RpcServer.Protocol, a.protocol)))
        const api = yield* connect(client, { label: "a" })
        const foreign = (text: string) =>
          Session.withStream(
            client,
            (stream) => Effect.zipRight(ByteStream.writeEnd(stream, text), ByteStream.readText(stream))
          )
        expect(yield* api.Echo({ text: "a call" })).toBe("a call")
        for (const text of ["", "w", "wsmux-rpc/1 b\n", "wsmux-rpc/1 aa\n", "GET / HTTP/1.1"]) {
          expect(yield* foreign(text)).toBe(text)
        }
      }))

    it.scoped("MuxRpc server fails a stream at its first foreign byte when nothing else serves it", () =>
      Effect.gen(function*() {
        const { client, server } = yield* MemoryTransport.makeSessions(quietly())
        const handler = yield* Effect.provide(MuxRpc.makeHandler(), RpcSerialization.layerJson)
        const near = yield* client.open().pipe(Effect.fork)
        const far = yield* server.accept
        const handling = yield* start(handler.handle(far))
        yield* (yield* Fiber.join(near)).write(bytes("wsmux-rpc/2"))
        expect(yield* failureOf(handling)).toEqual(new MuxRpc.WrongPreamble({ label: "rpc" }))
      }))

    it.scoped("MuxRpc server stops within 1 s when a client does not read its answer", () =>
      Effect.gen(function*() {
        const { client, server } = yield* MemoryTransport.makeSessions(quietly())
        const scope = yield* Scope.make()
        yield* Scope.extend(serve(server), scope)
        const stream = yield* client.open()
        yield* stream.write(concat([bytes(preamble), record(echo("1", "a".repeat(9000)))]))
        yield* settle
        const stopping = yield* start(Scope.close(scope, Exit.void))
        yield* expectWaiting(stopping)
        yield* TestClock.adjust("1 second")
        yield* Fiber.join(stopping)
      }))
  })

  describe("MuxRpc client", () => {
    it.scoped("MuxRpc client sends nothing and fails the call when the request is too large", () =>
      Effect.gen(function*() {
        let streams = 0
        const api = yield* makeClient(() => Effect.sync(() => streams++), { maxMessageSize: 200 })
        const failure = yield* Effect.flip(api.Echo({ text: "a".repeat(200) }))
        expect(failure).toMatchObject({ _tag: "RpcClientError", cause: { _tag: "MessageTooLarge" } })
        expect(failure.message).toMatch(/^cannot call Echo: message too large: it has \d{3} bytes, more than 200$/)
        expect(streams).toBe(0)
      }))

    it.scoped("MuxRpc client fails one call when its answer is too large", () =>
      Effect.gen(function*() {
        const { client, server } = yield* MemoryTransport.makeSessions(quietly())
        yield* serve(server)
        const api = yield* connect(client, { maxMessageSize: 1000 })
        const waiting = yield* start(api.Wait())
        expect(yield* Effect.flip(Stream.runDrain(api.Texts({ count: 3, length: 800 })))).toMatchObject({
          _tag: "RpcClientError",
          cause: { _tag: "MessageTooLarge", maxMessageSize: 1000 }
        })
        yield* expectWaiting(waiting)
      }))

    // a plain peer knows no reset, so its refusal has no code
    if (quietly === natively) {
      it.scoped("MuxRpc client reaches the handler of its label when it calls before the server's HELLO", () =>
        Effect.gen(function*() {
          const { client, server } = yield* makeSessions(quietly({ link: { latency: 5 } }))
          const { rpc } = yield* StreamRouter.acceptors(server, ["rpc"])
          yield* serve(rpc as never)
          const api = yield* connect(client)
          expect((yield* client.snapshot).dialect.state).toBe("negotiating")
          const call = yield* start(api.Echo({ text: "early" }))
          for (let step = 0; step < 20; step++) yield* TestClock.adjust(5)
          expect(yield* Fiber.join(call)).toBe("early")
        }))

      it.scoped("MuxRpc client calls again when a server that drains refuses the call", () =>
        Effect.gen(function*() {
          let refused = 0
          const exit = "{\"_tag\":\"Exit\",\"requestId\":\"0\",\"exit\":{\"_tag\":\"Success\",\"value\":\"here\"}}"
          const api = yield* makeClient((stream) =>
            refused++ === 0
              ? stream.reset({ code: ResetCode.Draining, reason: "the server restarts" })
              : ByteStream.writeEnd(stream, record(exit))
          )
          expect(yield* api.Echo({ text: "here" })).toBe("here")
          expect(refused).toBe(2)
        }))

      it.scoped("MuxRpc client calls on the next session when its call crosses the drain of an idle one", () =>
        Effect.gen(function*() {
          const server = yield* Redialled.makeServer({ ...quiet, dialect: "auto" })
          const session = yield* ReconnectingSession.make({
            transport: server.dial,
            settings: { ...quiet, dialect: "auto" }
          })
          const first = yield* server.link
          yield* settle
          const api = yield* connect(session)
          yield* first.pair.stall("client")
          const call = yield* start(api.Echo({ text: "crossing" }))
          const drain = yield* start(first.server.drain())
          yield* first.pair.resume("client")
          yield* serve((yield* server.link).server)
          expect(yield* Fiber.join(call)).toBe("crossing")
          yield* Fiber.join(drain)
        }))
    }

    it.scoped("MuxRpc client fails the call and the handler ends when the server's answer is too large", () =>
      Effect.gen(function*() {
        const { client, server } = yield* MemoryTransport.makeSessions(quietly())
        const served = makeServed()
        yield* serve(server, served, { maxMessageSize: 1000 })
        const api = yield* connect(client)
        expect(yield* Effect.flip(Stream.runDrain(api.Texts({ count: 1000, length: 800 })))).toMatchObject({
          _tag: "RpcClientError",
          cause: { _tag: "CallRefused", detail: expect.stringMatching(/^a message of the answer has 1\d\d\d bytes/) }
        })
        yield* settle
        expect(served.texts).toBeLessThan(1000) // until the handler yields
        expect((yield* server.snapshot).streams).toEqual([])
      }))

    it.scoped("MuxRpc server ends a streaming call when its client reads no more and does not end", () =>
      Effect.gen(function*() {
        const { client, server } = yield* MemoryTransport.makeSessions(natively())
        yield* settle
        const served = makeServed()
        yield* serve(server, served)
        const stream = yield* client.open({ label: "rpc" })
        const payload = { count: 1000, length: 800 }
        yield* stream.write(record(JSON.stringify({ _tag: "Request", id: "1", tag: "Texts", payload, headers: [] })))
        yield* stream.read
        const { readable } = yield* WebStreams.fromMuxStream(stream)
        yield* Effect.promise(() => readable.cancel())
        yield* settle
        expect((yield* server.snapshot).streams).toEqual([])
        expect(served.texts).toBeLessThan(payload.count)
      }))

    it.scoped("MuxRpc client tells the server's refusal when the reset behind it stops the request", () =>
      Effect.gen(function*() {
        const { client, server } = yield* MemoryTransport.makeSessions(quietly())
        yield* settle
        yield* serve(server, makeServed(), { maxMessageSize: 1000 })
        const api = yield* connect(client)
        const failure = yield* Effect.flip(api.Echo({ text: "x".repeat(100_000) }))
        expect(failure.message).toMatch(/^cannot call Echo: call refused: the request has \d+ bytes, more than 1000$/)
      }))

    it.scoped("MuxRpc client fails the call when the server serves another label", () =>
      Effect.gen(function*() {
        const { client, server } = yield* MemoryTransport.makeSessions(quietly())
        yield* serve(server, makeServed(), { label: "other" })
        const api = yield* connect(client)
        expect(yield* Effect.flip(api.Echo({ text: "a" }))).toMatchObject({
          _tag: "RpcClientError",
          message: "cannot call Echo: call refused: the server left the stream before it answered; " +
            "does it serve the label \"rpc\"?",
          cause: { _tag: "CallRefused" }
        })
      }))

    const answers: ReadonlyArray<readonly [name: string, answer: Uint8Array, cause: unknown]> = [
      ["no JSON", record("{"), { message: "the answer is malformed" }],
      ["an unknown message", record("{\"_tag\":\"Other\"}"), { message: "the answer is malformed" }],
      ["too large", record("", 0x7fff_ffff), { _tag: "MessageTooLarge", size: 0x7fff_ffff }],
      ["a refusal", record("not \u0007 now", 0x8000_0009), { _tag: "CallRefused", detail: "not \ufffd now" }],
      ["too large a refusal", record("", 0xffff_ffff), { _tag: "MessageTooLarge" }],
      ["incomplete", record("{", 2), { _tag: "CallRefused" }]
    ]
    it.scoped.each(answers)(
      "MuxRpc client fails the call alone when the answer is %s",
      ([, answer, cause]) =>
        Effect.gen(function*() {
          let isFirst = true
          const api = yield* makeClient((stream) => {
            if (isFirst) {
              isFirst = false
              return Effect.never
            }
            return Effect.zipRight(stream.read, ByteStream.writeEnd(stream, answer))
          })
          const waiting = yield* start(api.Wait())
          expect(yield* Effect.flip(api.Echo({ text: "a" }))).toMatchObject({
            _tag: "RpcClientError",
            reason: "Protocol",
            cause
          })
          yield* expectWaiting(waiting)
        })
    )

    it.scoped("MuxRpc client gives an answer to its own call when the answer names another", () =>
      Effect.gen(function*() {
        const exit = (id: string) => `{"_tag":"Exit","requestId":"${id}","exit":{"_tag":"Success","value":"mine"}}`
        let waits = true
        const api = yield* makeClient((stream) => {
          if (waits) {
            waits = false
            return Effect.never
          }
          return Effect.zipRight(stream.read, ByteStream.writeEnd(stream, record(exit("0"))))
        })
        const waiting = yield* start(api.Wait())
        expect(yield* api.Echo({ text: "a" })).toBe("mine")
        yield* expectWaiting(waiting)
      }))

    it.scoped("MuxRpc client lets RpcClient forget a call when the call has failed", () =>
      Effect.gen(function*() {
        const { client } = yield* MemoryTransport.makeSessions(quietly())
        yield* client.close
        const protocol = yield* Effect.provide(MuxRpc.makeProtocolClient(client), RpcSerialization.layerJson)
        const received: Array<unknown> = []
        yield* start(protocol.run((message) => Effect.sync(() => received.push(message))))
        const request = { _tag: "Request", id: "5", tag: "Echo", payload: null, headers: [] } as const
        expect(yield* Effect.flip(protocol.send(request))).toMatchObject({ _tag: "RpcClientError" })
        expect(received).toEqual([])
        yield* settle
        expect(received).toMatchObject([{ _tag: "Exit", requestId: "5", exit: { _tag: "Failure" } }])
      }))

    it("MuxRpc dies when a label has other characters than visible ASCII", async () => {
      for (const label of ["", "a b", "a\n", "ä", "a".repeat(65)]) {
        const making = Effect.provide(
          Effect.scoped(MuxRpc.makeHandler({ label })),
          RpcSerialization.layerJson
        )
        expect(Exit.isFailure(await Effect.runPromiseExit(making))).toBe(true)
      }
    })
  })
})
