import { describe, expect, it } from "@effect/vitest"
import { forwarding } from "effect-wsmux/cli/forward"
import * as TcpTunnel from "effect-wsmux/TcpTunnel"
import * as Effect from "effect/Effect"
import * as Logger from "effect/Logger"
import * as LogLevel from "effect/LogLevel"
import * as TestClock from "effect/TestClock"
import * as Net from "node:net"
import * as Peer from "../../e2e/cli/tcp.js"
import { plainly, quietly } from "../../support/observe.js"
import { makeSessions, settle } from "../../support/sessions.js"
import { eventually, standstill } from "../../support/transports.js"

const streamBufferSize = 4096

/**
 * Forwards between a stream and a TCP connection that sends more than the window. `near` is the client's end, and `far`
 * is the target's.
 */
const makeFlooding = Effect.gen(function*() {
  const target = yield* Peer.listen
  const { client, server } = yield* makeSessions(
    plainly({ client: { streamBufferSize }, server: { streamBufferSize } })
  )
  let socket: Net.Socket | undefined
  yield* Effect.forkScoped(TcpTunnel.serve(server, {
    ...yield* forwarding,
    connect: () => socket = Net.connect({ port: target.port, host: "127.0.0.1", allowHalfOpen: true })
  }))
  const near = yield* client.open()
  const far = yield* target.accept
  yield* far.write("x".repeat(100_000))
  yield* standstill(() => socket!.bytesRead)
  expect(socket!.bytesRead).toBeGreaterThan(streamBufferSize)
  return { near, far, socket: socket! }
})

describe("forwarding", () => {
  it.scoped("forwarding leaves a connection 15 to 30 s after its client has ended and stopped reading", () =>
    Effect.gen(function*() {
      const { near, socket } = yield* makeFlooding
      yield* near.end
      yield* settle
      yield* TestClock.adjust("14 seconds")
      expect(socket.destroyed).toBe(false)
      yield* TestClock.adjust("16 seconds")
      yield* eventually(() => socket.destroyed)
    }))

  it.scoped("forwarding keeps a connection whose client has ended its half and reads slowly", () =>
    Effect.gen(function*() {
      const { near, socket } = yield* makeFlooding
      yield* near.end
      for (let i = 0; i < 20; i++) {
        yield* near.read
        yield* settle
        yield* TestClock.adjust("5 seconds")
      }
      expect(socket.destroyed).toBe(false)
    }))

  it.scoped("forwarding keeps a connection whose client has not ended and does not read", () =>
    Effect.gen(function*() {
      const { socket } = yield* makeFlooding
      yield* TestClock.adjust("1 hours")
      expect(socket.destroyed).toBe(false)
    }))

  it.scoped("forwarding leaves a stream 2 s after its connection breaks while a write waits for credit", () =>
    Effect.gen(function*() {
      const { near, socket } = yield* makeFlooding
      socket.destroy(new Error("read ECONNRESET"))
      yield* eventually(() => socket.closed)
      yield* TestClock.adjust("1 seconds")
      yield* near.read // the bytes before the loss may arrive
      yield* settle
      expect(JSON.parse(JSON.stringify(near))).toMatchObject({ state: "Open" })
      yield* TestClock.adjust("1 seconds")
      yield* settle
      expect(JSON.parse(JSON.stringify(near))).toMatchObject({ state: "HalfClosedRemote" })
    }))

  it.scoped("forwarding logs the TCP peer of a stream, its outcome and its bytes", () => {
    const lines: Array<string> = []
    const logger = Logger.make(({ message }) => void lines.push(String(message)))
    return Effect.gen(function*() {
      const target = yield* Peer.listen
      const { client, server } = yield* makeSessions(quietly())
      let socket: Net.Socket | undefined
      yield* Effect.forkScoped(TcpTunnel.serve(server, {
        ...yield* forwarding,
        connect: () => socket = Net.connect({ port: target.port, host: "127.0.0.1", allowHalfOpen: true })
      }))
      const near = yield* client.open()
      const far = yield* target.accept
      yield* near.write(new Uint8Array(7))
      yield* far.received(7)
      yield* far.write("hello")
      yield* eventually(() => socket!.bytesRead === 5)
      yield* far.reset
      yield* eventually(() => lines.filter((line) => line.startsWith("stream ")).length === 2)
      expect(lines.filter((line) => line.startsWith("stream "))).toEqual([
        `stream 1: joined with 127.0.0.1:${target.port}`,
        "stream 1: broke after 5 bytes from TCP and 7 bytes to TCP: read ECONNRESET"
      ])
    }).pipe(Effect.provide(Logger.replace(Logger.defaultLogger, logger)), Logger.withMinimumLogLevel(LogLevel.Debug))
  })
})
