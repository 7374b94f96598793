import { describe, expect, it } from "@effect/vitest"
import * as MemoryTransport from "effect-wsmux/MemoryTransport"
import * as Session from "effect-wsmux/Session"
import { Transport } from "effect-wsmux/Transport"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Stream from "effect/Stream"

describe("Session", () => {
  it.scoped("Session layers provide one session as Session, StreamOpener and StreamAcceptor", () =>
    Effect.gen(function*() {
      const pair = yield* MemoryTransport.makePair()
      for (
        const [layer, transport] of [
          [Session.layerClient(), pair.client],
          [Session.layerServer(), pair.server]
        ] as const
      ) {
        const services = yield* Layer.build(Layer.provide(layer, Layer.succeed(Transport, transport)))
        const session = Context.get(services, Session.Session)
        expect(Context.get(services, Session.StreamOpener)).toBe(session)
        expect(Context.get(services, Session.StreamAcceptor)).toBe(session)
      }
    }))

  it.scoped("StreamOpener and StreamAcceptor join two programs when both have a session", () =>
    Effect.gen(function*() {
      const pair = yield* MemoryTransport.makePair()
      const echo = Effect.flatMap(Session.StreamAcceptor, (acceptor) =>
        acceptor.run((stream) => Stream.run(stream.readable, stream.writable)))
      yield* Effect.forkScoped(echo.pipe(
        Effect.provide(Session.layerServer()),
        Effect.provideService(Transport, pair.server)
      ))
      const answer = yield* Effect.gen(function*() {
        const opener = yield* Session.StreamOpener
        const stream = yield* opener.open()
        yield* stream.write(new TextEncoder().encode("hello"))
        yield* stream.end
        return yield* Stream.mkString(Stream.decodeText(stream.readable))
      }).pipe(Effect.provide(Session.layerClient()), Effect.provideService(Transport, pair.client))
      expect(answer).toBe("hello")
    }))
})
