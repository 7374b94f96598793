import * as Socket from "@effect/platform/Socket"
import { describe, expect, it } from "@effect/vitest"
import * as ByteStream from "effect-wsmux/ByteStream"
import * as MuxSocket from "effect-wsmux/MuxSocket"
import { type MuxStream, ResetCode } from "effect-wsmux/MuxStream"
import * as NodeDuplex from "effect-wsmux/NodeDuplex"
import * as TcpTunnel from "effect-wsmux/TcpTunnel"
import * as WebStreams from "effect-wsmux/WebStreams"
import type { ReadError, WriteError } from "effect-wsmux/WsmuxError"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Http from "node:http"
import * as Net from "node:net"
import { bytes, pattern, text } from "../support/bytes.js"
import { quietly } from "../support/observe.js"
import { makeSessions, makeStreams, readAll } from "../support/sessions.js"
import { eventually, listening, portOf } from "../support/transports.js"
import { patience, within } from "../support/within.js"

const modes = [["native", "auto"], ["plain", "off"]] as const

const streamsOf = (dialect: "auto" | "off") => makeStreams(quietly({ client: { dialect }, server: { dialect } }))

const sessionsOf = (dialect: "auto" | "off", streamBufferSize = 65_536) =>
  makeSessions(quietly({ client: { dialect, streamBufferSize }, server: { dialect, streamBufferSize } }))

/** What a reader meets behind the bytes: the code of a reset, or `end`. */
const endOf = (stream: MuxStream) =>
  Effect.match(within(patience, "the end of a stream")(readAll(stream)), {
    onSuccess: () => "end" as const,
    onFailure: (error) => error._tag === "StreamReset" ? error.code : error._tag
  })

const dial = (port: number) => () => Net.connect({ port, host: "127.0.0.1", allowHalfOpen: true })

/** A tunnel to a target. */
const makeTunnel = (
  dialect: "auto" | "off",
  onTarget: (socket: Net.Socket) => void,
  options: TcpTunnel.Options = {}
) =>
  Effect.gen(function*() {
    const { client, server } = yield* sessionsOf(dialect, 262_144)
    const target = yield* listening(Net.createServer({ allowHalfOpen: true }, (socket) => {
      socket.on("error", () => {})
      onTarget(socket)
    }))
    yield* Effect.forkScoped(TcpTunnel.serve(server, { connect: dial(portOf(target)), ...options }))
    const near = yield* listening(Net.createServer({ allowHalfOpen: true }))
    yield* TcpTunnel.forward(client, near)
    return { client, server, port: portOf(near) }
  })

for (const [mode, dialect] of modes) {
  const isNative = mode === "native"
  const ended = (code: number) => isNative ? code : "end"

  describe(`NodeDuplex, ${mode}`, () => {
    it.scopedLive(`NodeDuplex.fromMuxStream ends cleanly by end() and resets by destroy(), ${mode}`, () =>
      Effect.gen(function*() {
        for (const how of ["end", "destroy", "destroy with an error"] as const) {
          const { client, server } = yield* sessionsOf(dialect)
          const [duplex, far] = yield* Effect.all([NodeDuplex.open(client), server.accept], { concurrency: 2 })
          duplex.on("error", () => {})
          if (how === "end") duplex.end()
          else duplex.destroy(how === "destroy" ? undefined : new Error("a secret"))
          const code = how === "destroy" ? ResetCode.Cancelled : ResetCode.Failed
          expect([how, yield* endOf(far)]).toEqual([how, how === "end" ? "end" : ended(code)])
        }
      }))
  })

  describe(`MuxSocket, ${mode}`, () => {
    it.scopedLive(`MuxSocket tells the peer code and reason of a CloseEvent by a reset, ${mode}`, () =>
      Effect.gen(function*() {
        const { far, near } = yield* streamsOf(dialect)
        const [one, other] = [yield* MuxSocket.fromMuxStream(near), yield* MuxSocket.fromMuxStream(far)]
        yield* Effect.forkScoped(Effect.exit(one.run(() => {})))
        const run = yield* Effect.fork(Effect.exit(other.run(() => {})))
        const write = yield* one.writer
        yield* write(new Socket.CloseEvent(4001, "enough"))
        const exit = yield* within(patience, "the end of the run")(run.await)
        const flat = Exit.flatten(exit)
        if (!isNative) return expect(Exit.isSuccess(flat)).toBe(true)
        expect(yield* Effect.flip(flat)).toMatchObject({ reason: "Close", code: 4001, closeReason: "enough" })
      }))

    it.scopedLive(`MuxSocket resets the stream when its handler fails, ${mode}`, () =>
      Effect.gen(function*() {
        const { client, server } = yield* sessionsOf(dialect)
        const served = MuxSocket.makeServer(server).run((socket) => socket.run(() => Effect.fail("a secret")))
        yield* Effect.forkScoped(served)
        const stream = yield* client.open()
        yield* stream.write(bytes("x"))
        expect(yield* endOf(stream)).toBe(ended(ResetCode.Failed))
      }))
  })

  describe(`WebStreams, ${mode}`, () => {
    it.scopedLive(`WebStreams.fromMuxStream resets a direction when its stream is aborted or cancelled, ${mode}`, () =>
      Effect.gen(function*() {
        const { far, near } = yield* streamsOf(dialect)
        const { readable, writable } = yield* WebStreams.fromMuxStream(near)
        yield* Effect.promise(() => readable.cancel("enough"))
        if (isNative) {
          const failure = yield* Effect.flip(
            within(patience, "the failure of a write")(
              Effect.forever(Effect.zipRight(far.write(bytes("x")), Effect.yieldNow()))
            )
          )
          expect(failure).toMatchObject({ _tag: "StreamReset", by: "peer", code: ResetCode.Cancelled, reason: "" })
          yield* Effect.promise(() => writable.abort("a secret"))
          expect(yield* endOf(far)).toBe(ResetCode.Cancelled)
        } else {
          yield* far.write(bytes("x"))
        }
      }))

    if (isNative) {
      it.scopedLive("WebStreams.fromMuxStream errors both streams when the peer resets", () =>
        Effect.gen(function*() {
          const { far, near } = yield* streamsOf(dialect)
          const { readable, writable } = yield* WebStreams.fromMuxStream(near)
          const [reader, writer] = [readable.getReader(), writable.getWriter()]
          const failures = Promise.allSettled([reader.closed, writer.closed, reader.read()])
          yield* far.reset({ code: 300, reason: "enough" })
          const settled = yield* within(patience, "both errors")(Effect.promise(() => failures))
          const codes = settled.map((result) => result.status === "rejected" && result.reason.code)
          expect(codes).toEqual([300, 300, 300])
        }))
    }
  })

  describe(`ByteStream.join, ${mode}`, () => {
    it.scopedLive(`ByteStream.join passes a reset on to the joined stream with its code, ${mode}`, () =>
      Effect.gen(function*() {
        const [left, right] = [yield* streamsOf(dialect), yield* streamsOf(dialect)]
        yield* Effect.forkScoped(ByteStream.join<ReadError | WriteError>(left.far, right.near))
        yield* left.near.write(bytes("before"))
        expect(text((yield* right.far.read).pipe((chunk) => chunk._tag === "Some" ? chunk.value : bytes(""))))
          .toBe("before")
        yield* left.near.reset({ code: 300, reason: "enough" })
        expect(yield* endOf(right.far)).toBe(ended(300))
      }))
  })

  describe(`TcpTunnel, ${mode}`, () => {
    it.scopedLive(
      `TcpTunnel passes on a TCP reset as a reset, and an end as an end, ${mode}`,
      () =>
        Effect.gen(function*() {
          const ends: Array<string> = []
          let arrived = 0
          const tunnel = yield* makeTunnel(dialect, (socket) => {
            socket.on("error", ({ code }: NodeJS.ErrnoException) => ends.push(code!))
            socket.on("end", () => {
              ends.push("end")
              socket.end()
            }).on("data", () => arrived++)
          })
          for (const how of ["reset", "end"] as const) {
            const socket = dial(tunnel.port)().on("error", () => {})
            yield* Effect.async<void>((resume) => void socket.write("x", () => resume(Effect.void)))
            // Node takes a reset for an end when bytes arrive with it.
            yield* eventually(() => arrived === ends.length + 1)
            if (how === "reset") socket.resetAndDestroy()
            else socket.end()
            yield* eventually(() => ends.length === (how === "reset" ? 1 : 2))
            yield* eventually(() => tunnel.server.snapshot.pipe(Effect.runSync).streams.length === 0)
          }
          expect(ends).toEqual([isNative ? "ECONNRESET" : "end", "end"])
        }),
      20_000
    )

    it.scopedLive(
      `TcpTunnel stops sources of cancelled downloads beside one that goes on, ${mode}`,
      () =>
        Effect.gen(function*() {
          const [mib, gib, cancelled, whole] = [2 ** 20, 2 ** 30, 300, 8]
          const chunk = pattern(65_536)
          let [served, open] = [0, 0]
          const tunnel = yield* makeTunnel(dialect, (socket) => {
            open++
            socket.once("close", () => open--)
            socket.once("data", (request) => {
              let left = request.toString() === "whole" ? whole * mib : gib
              const isWhole = left < gib
              const send = () => {
                while (left > 0 && !socket.destroyed) {
                  left -= chunk.byteLength
                  if (!isWhole) served += chunk.byteLength
                  if (!socket.write(chunk)) return void socket.once("drain", send)
                }
                socket.end()
              }
              send()
            })
          }, isNative ? {} : { stallTimeout: "1 second" })
          let received = 0
          const going = dial(tunnel.port)()
          going.write("whole")
          const isOver = Effect.async<void>((resume) =>
            void going.on("data", (data) => received += data.byteLength).once("end", () => resume(Effect.void))
          )
          const over = yield* Effect.fork(isOver)
          yield* Effect.forEach(Array.from({ length: cancelled }), () =>
            Effect.async<void>((resume) => {
              const socket = dial(tunnel.port)().on("error", () => {})
              socket.write("endless")
              socket.once("data", () => {
                socket.resetAndDestroy()
                resume(Effect.void)
              })
            }), { concurrency: 20, discard: true })
          yield* within("20 seconds", "the whole download")(over.await)
          going.end()
          yield* eventually(() => open === 0)
          expect(received).toBe(whole * mib)
          // A source sends what the sockets and the window hold, and no more.
          if (isNative) expect(served / cancelled).toBeLessThan(16 * mib)
        }),
      60_000
    )
  })

  if (isNative) {
    describe("NodeDuplex.serve", () => {
      it.scopedLive("NodeDuplex.serve closes a response at once when the client aborts the request", () =>
        Effect.gen(function*() {
          const { client, server } = yield* sessionsOf(dialect)
          let [sent, state] = [0, "idle"]
          const http = Http.createServer((_request, response) => {
            state = "running"
            response.on("close", () => state = response.writableFinished ? "finished" : "aborted")
            const send = () => {
              while (state === "running" && response.write(pattern(65_536))) sent += 65_536
              response.once("drain", send)
            }
            send()
          })
          yield* Effect.forkScoped(NodeDuplex.serve(server, http))
          const agent = yield* NodeDuplex.agent(client)
          const controller = new AbortController()
          yield* Effect.async<void>((resume) => {
            Http.get({ agent, host: "inside", signal: controller.signal }, (response) => {
              response.on("error", () => {})
              response.once("data", () => resume(Effect.void))
            }).on("error", () => {})
          })
          controller.abort()
          yield* eventually(() => state === "aborted")
          expect(sent).toBeLessThan(64 * 2 ** 20)
        }))
    })
  }
}
