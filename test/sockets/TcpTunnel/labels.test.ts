import { describe, expect, it } from "@effect/vitest"
import * as ByteStream from "effect-wsmux/ByteStream"
import type { MuxStream } from "effect-wsmux/MuxStream"
import * as TcpTunnel from "effect-wsmux/TcpTunnel"
import { StreamReset } from "effect-wsmux/WsmuxError"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Net from "node:net"
import * as Tcp from "../../e2e/cli/tcp.js"
import { bytes, text } from "../../support/bytes.js"
import { makeSessions, settle } from "../../support/sessions.js"
import { eventually, listening, portOf } from "../../support/transports.js"
import { patience, within } from "../../support/within.js"

const dial = (port: number) => Net.connect({ port, host: "127.0.0.1", allowHalfOpen: true })

/** The failure of reading a stream. */
const lossOf = (stream: MuxStream) => within(patience, "the reset of a stream")(Effect.flip(ByteStream.readAll(stream)))

describe("TcpTunnel.serve", () => {
  it.scopedLive("TcpTunnel.serve connects to the target that the label and the metadata of a stream name", () =>
    Effect.gen(function*() {
      const { client, server } = yield* makeSessions()
      const port = yield* Tcp.echo
      yield* Effect.forkScoped(TcpTunnel.serve(server, {
        connect: ({ label, metadata }) => dial(label === "port" ? Number(metadata.port) : 1)
      }))
      const stream = yield* client.open({ label: "port", metadata: { port: String(port) } })
      yield* ByteStream.writeEnd(stream, "hello")
      expect(yield* within(patience, "the echo")(ByteStream.readText(stream))).toBe("hello")
    }))

  it.scopedLive("TcpTunnel.serve handles a stream by an effect when connect returns one", () =>
    Effect.gen(function*() {
      const { client, server } = yield* makeSessions()
      yield* Effect.forkScoped(TcpTunnel.serve(server, {
        connect: (stream) =>
          stream.label === "time" ? ByteStream.writeEnd(stream, "noon") : stream.reset({ code: 300, reason: "no" })
      }))
      const time = yield* client.open({ label: "time" })
      expect(yield* within(patience, "the answer")(ByteStream.readText(time))).toBe("noon")
      const refused = yield* lossOf(yield* client.open({ label: "other" }))
      expect(refused).toMatchObject({ _tag: "StreamReset", by: "peer", code: 300, reason: "no" })
    }))

  it.scopedLive("TcpTunnel.serve interrupts an effect that handles a stream when it is interrupted itself", () =>
    Effect.gen(function*() {
      const { client, server } = yield* makeSessions()
      const [begun, ended] = [yield* Deferred.make<void>(), yield* Deferred.make<boolean>()]
      const handler = Effect.zipRight(Deferred.succeed(begun, undefined), Effect.never).pipe(
        Effect.onExit((exit) => Deferred.succeed(ended, Exit.isInterrupted(exit)))
      )
      const serving = yield* Effect.fork(TcpTunnel.serve(server, { connect: () => handler }))
      const stream = yield* client.open()
      yield* within(patience, "the handler")(Deferred.await(begun))
      yield* Fiber.interrupt(serving)
      expect(yield* Deferred.await(ended)).toBe(true)
      expect(yield* lossOf(stream)).toBeInstanceOf(StreamReset)
    }))

  it.scopedLive("TcpTunnel.serve resets the stream as explain says when the target cannot be reached", () =>
    Effect.gen(function*() {
      const { client, server } = yield* makeSessions()
      const failures: Array<string> = []
      yield* Effect.forkScoped(TcpTunnel.serve(server, {
        connect: () => dial(1),
        onUnreachable: ({ detail }, { label }) => void failures.push(`${label}: ${detail}`),
        explain: () => ({ code: 301, reason: "out of order" })
      }))
      const loss = yield* lossOf(yield* client.open({ label: "db" }))
      expect(loss).toMatchObject({ _tag: "StreamReset", by: "peer", code: 301, reason: "out of order" })
      expect(failures).toEqual(["db: connect ECONNREFUSED 127.0.0.1:1"])
    }))
})

/** Forwards connections to `port`. */
const forwarding = (
  options: (client: Effect.Effect.Success<ReturnType<typeof makeSessions>>["client"]) => Parameters<
    typeof TcpTunnel.forward
  >[2]
) =>
  Effect.gen(function*() {
    const { client, server } = yield* makeSessions()
    const listener = yield* listening(Net.createServer({ allowHalfOpen: true, noDelay: true }))
    const { awaitEmpty } = yield* TcpTunnel.forward(client, listener, options(client) as TcpTunnel.Options)
    return { client, server, port: portOf(listener), awaitEmpty }
  })

describe("TcpTunnel.forward", () => {
  it.scopedLive("TcpTunnel.forward tells the peer the metadata of each connection when it is a function", () =>
    Effect.gen(function*() {
      const { port, server } = yield* forwarding(() => ({
        label: "from",
        metadata: ({ remotePort }: Net.Socket) => ({ peer: String(remotePort) })
      }))
      const peer = yield* Effect.acquireRelease(
        Effect.sync(() => dial(port)),
        (socket) => Effect.sync(() => socket.destroy())
      )
      const stream = yield* within(patience, "the stream")(server.accept)
      expect([stream.label, stream.metadata]).toEqual(["from", { peer: String(peer.localPort) }])
    }))

  it.scopedLive("TcpTunnel.forward joins the stream that open returns after speaking with the connection", () =>
    Effect.gen(function*() {
      const { awaitEmpty, port, server } = yield* forwarding((client) => ({
        open: (connection) =>
          Effect.gen(function*() {
            const first = Option.getOrThrow(yield* connection.read)
            yield* connection.write(bytes("welcome"))
            return yield* client.open({ label: text(first) })
          })
      }))
      const near = yield* Tcp.connect(port)
      yield* near.write("db")
      expect(text(yield* within(patience, "the welcome")(near.received(7)))).toBe("welcome")
      const far = yield* within(patience, "the stream")(server.accept)
      expect(far.label).toBe("db")
      yield* near.write("hello")
      yield* near.end
      expect(yield* within(patience, "the bytes")(ByteStream.readText(far))).toBe("hello")
      yield* ByteStream.writeEnd(far, "bye")
      expect(text((yield* near.over).bytes)).toBe("welcomebye")
      yield* within(patience, "the end of the connection")(awaitEmpty)
    }))

  it.scopedLive("TcpTunnel.forward ends the connection cleanly when open fails after it has ended both ways", () =>
    Effect.gen(function*() {
      const refusals: Array<string> = []
      const { port } = yield* forwarding(() => ({
        open: (connection) =>
          ByteStream.writeEnd(connection, "denied").pipe(
            Effect.zipRight(ByteStream.readAll(connection)),
            Effect.zipRight(Effect.fail("denied" as const))
          ),
        onRefused: (_, cause) => void refusals.push(String(cause._tag === "Fail" ? cause.error : cause._tag))
      }))
      const near = yield* Tcp.connect(port)
      yield* near.end
      const { bytes: said, how } = yield* within(patience, "the end")(near.over)
      expect([text(said), how]).toEqual(["denied", "end"])
      yield* eventually(() => refusals.length > 0)
      expect(refusals).toEqual(["denied"])
    }))

  it.scopedLive("TcpTunnel.forward interrupts open when the scope closes, and resets the connection", () =>
    Effect.gen(function*() {
      const { client } = yield* makeSessions()
      const listener = yield* listening(Net.createServer({ allowHalfOpen: true }))
      const ended = yield* Deferred.make<void>()
      const near = yield* Effect.scoped(Effect.gen(function*() {
        const begun = yield* Deferred.make<void>()
        yield* TcpTunnel.forward(client, listener, {
          open: () =>
            Effect.zipRight(Deferred.succeed(begun, undefined), Effect.never).pipe(
              Effect.onInterrupt(() => Deferred.succeed(ended, undefined))
            )
        })
        const near = dial(portOf(listener))
        yield* within(patience, "the call of open")(Deferred.await(begun))
        return near
      }))
      yield* within(patience, "the interruption of open")(Deferred.await(ended))
      yield* within(patience, "the reset")(Effect.async<void>((resume) => {
        near.on("error", () => {}).on("close", () => resume(Effect.void)).resume()
      }))
      yield* settle
    }))
})
