import * as Socket from "@effect/platform/Socket"
import { describe, expect, it } from "@effect/vitest"
import * as ByteStream from "effect-wsmux/ByteStream"
import * as MuxSocket from "effect-wsmux/MuxSocket"
import { type MuxStream, ResetCode } from "effect-wsmux/MuxStream"
import * as NodeDuplex from "effect-wsmux/NodeDuplex"
import * as Session from "effect-wsmux/Session"
import * as TcpTunnel from "effect-wsmux/TcpTunnel"
import { Transport } from "effect-wsmux/Transport"
import * as WebStreams from "effect-wsmux/WebStreams"
import type { ReadError, WriteError } from "effect-wsmux/WsmuxError"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import { createHash } from "node:crypto"
import * as Http from "node:http"
import * as Net from "node:net"
import type { Duplex } from "node:stream"
import { bytes, pattern, text } from "../support/bytes.js"
import { quiet, quietly } from "../support/observe.js"
import { makeSessions, makeStreams, readAll } from "../support/sessions.js"
import { eventually, listening, portOf, wired } from "../support/transports.js"
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

/** The sessions of a real WebSocket. As the command, they discard little: 300 sources would send 16 MiB each. */
const webSocketEnds = (dialect: "auto" | "off") =>
  Effect.gen(function*() {
    const settings = { ...quiet, dialect, streamBufferSize: 262_144, discardLimit: 262_144 }
    const ends = yield* wired["ws"]!()
    const client = yield* Effect.provideService(Session.makeClient(settings), Transport, ends.client)
    const server = yield* Effect.provideService(Session.makeServer(settings), Transport, ends.server)
    return { client, server }
  })

/** A tunnel to a target. */
const makeTunnel = (
  { client, server }: { readonly client: Session.Session; readonly server: Session.Session },
  onTarget: (socket: Net.Socket) => void,
  options: TcpTunnel.Options = {}
) =>
  Effect.gen(function*() {
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
    for (
      const [how, leave, code] of [
        ["ended", (duplex) => duplex.end(), undefined],
        ["destroyed with nothing to lose", (duplex) => duplex.destroy(), undefined],
        ["destroyed with unread bytes", (duplex) => duplex.destroy(), ResetCode.Cancelled],
        ["destroyed with an error", (duplex) => duplex.destroy(new Error("a secret")), ResetCode.Failed]
      ] satisfies ReadonlyArray<[string, (duplex: Duplex) => unknown, number | undefined]>
    ) {
      const verb = isNative && code !== undefined ? "resets" : "ends"
      it.scopedLive(`NodeDuplex.open ${verb} its stream when the duplex is ${how}, ${mode}`, () =>
        Effect.gen(function*() {
          const { client, server } = yield* sessionsOf(dialect)
          const [duplex, far] = yield* Effect.all([NodeDuplex.open(client), server.accept], { concurrency: 2 })
          duplex.on("error", () => {})
          yield* Effect.async<void>((resume) => void duplex.write("all of it", () => resume(Effect.void)))
          if (how.endsWith("unread bytes")) {
            yield* far.write(bytes("unread"))
            yield* eventually(() => Effect.runSync(client.snapshot).streams[0]!.bufferedBytes > 0)
          }
          leave(duplex)
          expect(yield* endOf(far)).toBe(code === undefined ? "end" : ended(code))
          expect(duplex.errored).toEqual(how.endsWith("error") ? new Error("a secret") : null)
        }))
    }

    const loses = isNative ? "resets" : "ends"
    it.scopedLive(`NodeDuplex.open ${loses} its stream when it is destroyed with unsent bytes, ${mode}`, () =>
      Effect.gen(function*() {
        const { client, server } = yield* sessionsOf(dialect, 1024)
        const [duplex, far] = yield* Effect.all([NodeDuplex.open(client), server.accept], { concurrency: 2 })
        duplex.write(pattern(5000))
        yield* eventually(() => Effect.runSync(server.snapshot).streams[0]!.bufferedBytes === 1024)
        duplex.destroy()
        expect(yield* endOf(far)).toBe(ended(ResetCode.Cancelled))
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
          const tunnel = yield* makeTunnel(yield* sessionsOf(dialect, 262_144), (socket) => {
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
      `TcpTunnel stops sources of 300 cancelled downloads beside some that go on, ${mode}`,
      () =>
        Effect.gen(function*() {
          const [mib, cancelled, whole, others] = [2 ** 20, 300, 2, 4]
          const chunk = pattern(65_536)
          let [open, endless] = [0, 0]
          const ends = yield* webSocketEnds(dialect)
          const { port } = yield* makeTunnel(
            ends,
            (socket) => {
              open++
              socket.once("close", () => open--)
              socket.once("data", (request) => {
                let left = request.toString() === "whole" ? whole * mib : Infinity
                if (left === Infinity) endless++
                const send = () => {
                  if (socket.destroyed) return
                  left -= chunk.byteLength
                  if (left <= 0) return void socket.end(chunk)
                  // The sources pause, so that the test measures no buffers of the kernel.
                  if (socket.write(chunk)) setTimeout(send, 1)
                  else socket.once("drain", send)
                }
                send()
              })
            },
            isNative ? {} : { stallTimeout: "1 second" }
          )
          const sums = Array.from({ length: others }, () => createHash("sha256"))
          const going = yield* Effect.fork(Effect.forEach(sums, (sum) =>
            Effect.async<void>((resume) => {
              const socket = dial(port)()
              socket.write("whole")
              socket.on("data", (data) => sum.update(data)).once("end", () => resume(Effect.sync(() => socket.end())))
            }), { concurrency: "unbounded", discard: true }))
          yield* Effect.forEach(Array.from({ length: cancelled }), () =>
            Effect.async<void>((resume) => {
              const socket = dial(port)().on("error", () => {})
              socket.write("endless")
              socket.once("data", () => {
                socket.resetAndDestroy()
                resume(Effect.void)
              })
            }), { concurrency: 20, discard: true })
          yield* within("1 minute", "the whole downloads")(going.await)
          yield* within("30 seconds", "the end of all sources")(eventually(() => open === 0))
          const expected = createHash("sha256")
          for (let i = 0; i < whole * mib; i += chunk.byteLength) expected.update(chunk)
          const digest = expected.digest("hex")
          expect([endless, sums.map((sum) => sum.digest("hex"))]).toEqual([cancelled, sums.map(() => digest)])
        }),
      120_000
    )
  })

  describe(`NodeDuplex.serve, ${mode}`, () => {
    for (const when of ["thinks", "answers"] as const) {
      it.scopedLive(`NodeDuplex.serve closes a response when its client aborts while the server ${when}, ${mode}`, () =>
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
            if (when === "answers") send()
          })
          yield* Effect.forkScoped(NodeDuplex.serve(server, http, isNative ? {} : { stallTimeout: "1 second" }))
          const agent = yield* NodeDuplex.agent(client)
          let isAnswered = false
          const request = Http.get({ agent, host: "inside" }, (response) => {
            response.on("error", () => {})
            response.once("data", () => isAnswered = response.pause().isPaused())
          }).on("error", () => {})
          yield* eventually(() => when === "answers" ? isAnswered : state === "running")
          request.destroy()
          yield* eventually(() => state === "aborted")
          expect(sent).toBeLessThan(64 * 2 ** 20)
        }))
    }

    it.scopedLive(`NodeDuplex.serve ends a connection that is idle for long, without a reset, ${mode}`, () =>
      Effect.gen(function*() {
        const { client, server } = yield* sessionsOf(dialect)
        const http = Http.createServer({ keepAliveTimeout: 50 }, (_request, response) => response.end("hello"))
        yield* Effect.forkScoped(NodeDuplex.serve(server, http))
        const stream = yield* client.open()
        yield* stream.write(bytes("GET / HTTP/1.1\r\nhost: inside\r\n\r\n"))
        expect(yield* endOf(stream)).toBe("end")
      }))

    it.scopedLive(`NodeDuplex.agent ends its idle connections without a reset when it is destroyed, ${mode}`, () =>
      Effect.gen(function*() {
        const { client, server } = yield* sessionsOf(dialect)
        const errors: Array<Error> = []
        let [connections, closed] = [0, 0]
        const http = Http.createServer((_request, response) => response.end("hello"))
        http.on("connection", (socket) => {
          connections++
          socket.on("error", (error) => errors.push(error)).on("close", () => closed++)
        })
        yield* Effect.forkScoped(NodeDuplex.serve(server, http))
        const agent = yield* NodeDuplex.agent(client, { keepAlive: true })
        Http.get({ agent, host: "inside" }, (response) => response.resume())
        yield* eventually(() => Object.keys(agent.freeSockets).length === 1)
        agent.destroy()
        yield* eventually(() => closed === 1)
        expect([connections, errors]).toEqual([1, []])
      }))
  })
}
