import { describe, expect, it } from "@effect/vitest"
import * as NodeDuplex from "effect-wsmux/NodeDuplex"
import { BrokenPipe, ReadTimeout } from "effect-wsmux/WsmuxError"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Stream from "effect/Stream"
import { createHash } from "node:crypto"
import { once } from "node:events"
import { readFileSync } from "node:fs"
import * as Http from "node:http"
import type { Socket } from "node:net"
import { type Duplex, Readable } from "node:stream"
import { buffer } from "node:stream/consumers"
import { pipeline } from "node:stream/promises"
import * as Tls from "node:tls"
import { bytes, concat, pattern, text } from "../../support/bytes.js"
import { plainly, quiet, start } from "../../support/observe.js"
import { ack, dat, makePeer } from "../../support/scriptedPeer.js"
import { makeSessions, makeStreams, readAll, readSome, settle } from "../../support/sessions.js"
import { eventually, signal } from "../../support/transports.js"

const kib = 1024
const fixture = (name: string) => readFileSync(new URL(`../../fixtures/tls/${name}`, import.meta.url))
const promise = <A>(evaluate: () => Promise<A>) => Effect.promise(evaluate)
const sha = (data: Uint8Array) => createHash("sha256").update(data).digest("hex")

/** A Duplex of a stream, and the peer's `MuxStream`. */
const makePair = (streamBufferSize = 1024, options?: NodeDuplex.Options) =>
  Effect.gen(function*() {
    const config = { streamBufferSize }
    const { client, far, near, pair, server } = yield* makeStreams(plainly({ client: config, server: config }))
    return { client, server, pair, far, near, duplex: yield* NodeDuplex.fromMuxStream(near, options) }
  })

/** A Duplex that owns its stream, and the peer's `MuxStream`. */
const makeOwning = Effect.gen(function*() {
  const sessions = yield* makeSessions(plainly())
  const [duplex, far] = yield* Effect.all([NodeDuplex.open(sessions.client), sessions.server.accept], {
    concurrency: 2
  })
  return { ...sessions, duplex, far }
})

/** A Duplex whose peer is scripted. */
const makeScripted = Effect.gen(function*() {
  const peer = yield* makePeer("client", { ...quiet, streamBufferSize: 4096 })
  const opening = yield* start(NodeDuplex.open(peer.session))
  yield* peer.send(ack(1, 4096))
  return { peer, duplex: yield* Fiber.join(opening) }
})

const failureOf = (duplex: Duplex) =>
  Effect.map(
    signal<[NodeJS.ErrnoException & { readonly cause: unknown }]>(duplex, "error"),
    ([failure]) => failure
  )

describe("NodeDuplex.fromMuxStream", () => {
  it.scopedLive("NodeDuplex.fromMuxStream carries bytes and ends both ways, and closes after both ends", () =>
    Effect.gen(function*() {
      const { client, duplex, far } = yield* makeOwning
      yield* Effect.fork(Stream.run(far.readable, far.writable))
      const answer = buffer(duplex)
      const sent = pattern(300 * kib)
      duplex.write(sent.subarray(0, 1000))
      duplex.end(sent.subarray(1000))
      const closed = once(duplex, "close")
      expect(sha(yield* promise(() => answer))).toBe(sha(sent))
      yield* promise(() => closed)
      expect((yield* client.snapshot).streams).toEqual([])
      expect(duplex).toMatchObject({ bytesRead: sent.length, bytesWritten: sent.length })
    }))

  it.scopedLive("NodeDuplex.fromMuxStream stays readable after its end, and writable after the peer's", () =>
    Effect.gen(function*() {
      const { duplex, far } = yield* makePair()
      duplex.end("question")
      expect(text(yield* readAll(far))).toBe("question")
      yield* far.write(bytes("answer"))
      yield* far.end
      expect((yield* promise(() => buffer(duplex))).toString()).toBe("answer")

      const other = yield* makePair()
      yield* other.far.end
      other.duplex.resume()
      yield* promise(() => once(other.duplex, "end"))
      other.duplex.end("still here")
      expect(text(yield* readAll(other.far))).toBe("still here")
    }))

  it.scopedLive("NodeDuplex.fromMuxStream ends when the peer ends and allowHalfOpen is false", () =>
    Effect.gen(function*() {
      const { duplex, far } = yield* makePair(1024, { allowHalfOpen: false })
      yield* far.end
      duplex.resume()
      expect(text(yield* readAll(far))).toBe("")
    }))

  it.scopedLive("NodeDuplex.fromMuxStream slows a writer when the peer reads slowly", () =>
    Effect.gen(function*() {
      const { duplex, far, server } = yield* makePair(1024)
      const sent = pattern(200 * kib)
      expect(duplex.write(sent)).toBe(false)
      const received = Effect.map(server.snapshot, ({ streams }) => streams[0]?.bufferedBytes)
      yield* Effect.repeat(Effect.yieldNow(), { until: () => Effect.map(received, (size) => size === 1024) })
      expect(duplex.writableLength).toBe(sent.length)
      duplex.once("drain", () => duplex.end())
      expect(sha(yield* readAll(far))).toBe(sha(sent))
    }))

  it.scopedLive("NodeDuplex.fromMuxStream buffers one chunk when its reader is paused", () =>
    Effect.gen(function*() {
      const { client, duplex, far } = yield* makePair(100 * kib)
      duplex.on("readable", () => {}) // wants to know, and does not read
      for (let i = 0; i < 5; i++) yield* far.write(pattern(10 * kib))
      yield* eventually(() => duplex.readableLength > 0)
      yield* settle
      const { streams } = yield* client.snapshot
      expect([duplex.readableLength, streams[0]!.bufferedBytes]).toEqual([10 * kib, 40 * kib])
    }))

  it.scopedLive("NodeDuplex.fromMuxStream fails with a socket's code and the cause when the session is lost", () =>
    Effect.gen(function*() {
      const { duplex, pair } = yield* makePair()
      duplex.resume()
      const failed = yield* Effect.fork(failureOf(duplex))
      yield* Effect.yieldNow()
      yield* pair.cut
      const error = yield* failed
      expect(error).toMatchObject({ code: "ECONNRESET", message: (error.cause as Error).message })
      expect(error.cause).toBeInstanceOf(BrokenPipe)
      expect(duplex.destroyed).toBe(true)

      const other = yield* makePair()
      yield* other.pair.cut
      yield* eventually(() => other.client !== undefined)
      other.duplex.write("too late")
      expect(yield* failureOf(other.duplex)).toMatchObject({ code: "EPIPE" })
    }))

  it.scopedLive("NodeDuplex.fromMuxStream gives a paused reader the last chunk before the error", () =>
    Effect.gen(function*() {
      const { duplex, peer } = yield* makeScripted
      const seen: Array<string> = []
      duplex.on("data", (chunk: Uint8Array) => seen.push(text(chunk))).on("error", () => seen.push("error")).pause()
      yield* peer.send(dat(1, bytes("last")))
      yield* eventually(() => duplex.readableLength > 0)
      yield* peer.transport.close(1000, "", Duration.zero)
      yield* peer.session.awaitClosed
      duplex.resume()
      yield* eventually(() => duplex.closed)
      expect(seen).toEqual(["last", "error"])
    }))

  it.scopedLive("NodeDuplex.fromMuxStream emits an error in its own turn when it follows the last chunk", () =>
    Effect.gen(function*() {
      const { duplex, peer } = yield* makeScripted
      const heard: Array<string> = []
      const first = () => heard.push("first")
      // as Node's HTTP client does when a response is complete, before the agent adds its listener
      duplex.on("error", first).on("data", () => {
        process.nextTick(() => {
          duplex.on("error", () => heard.push("unheard")).off("error", first)
          process.nextTick(() => duplex.removeAllListeners("error").on("error", () => heard.push("second")))
        })
      })
      yield* eventually(() => duplex.readableFlowing === true)
      yield* Effect.zipRight(peer.send(dat(1, bytes("last"))), peer.transport.close(1000, "", Duration.zero))
      yield* eventually(() => duplex.closed)
      expect(heard).toEqual(["second"])
    }))

  it.scopedLive("NodeDuplex.fromMuxStream fails with ETIMEDOUT when a deadline of the stream passes", () =>
    Effect.gen(function*() {
      const { duplex, near } = yield* makePair()
      duplex.resume()
      yield* near.setReadDeadline(Date.now() + 30)
      const error = yield* failureOf(duplex)
      expect(error).toMatchObject({ code: "ETIMEDOUT" })
      expect(error.cause).toBeInstanceOf(ReadTimeout)
    }))

  it.scopedLive("NodeDuplex.fromMuxStream releases its stream when it is destroyed, busy or idle", () =>
    Effect.gen(function*() {
      const { client, duplex, far } = yield* makeOwning
      duplex.resume()
      duplex.write(pattern(100 * kib), () => {})
      yield* Effect.yieldNow()
      const closed = once(duplex, "close")
      duplex.destroy()
      yield* promise(() => closed)
      expect((yield* readAll(far)).length).toBeLessThan(100 * kib) // the wire knows no reset
      yield* far.end
      yield* Effect.repeat(Effect.yieldNow(), {
        until: () => Effect.map(client.snapshot, ({ streams }) => streams.length === 0)
      })
    }))

  it.scopedLive("NodeDuplex.fromMuxStream is destroyed without an error when its scope closes", () =>
    Effect.gen(function*() {
      const { near } = yield* makePair()
      const duplex = yield* Effect.scoped(NodeDuplex.fromMuxStream(near))
      expect([duplex.destroyed, duplex.closed, duplex.errored]).toEqual([true, true, null])
    }))

  it.scopedLive("NodeDuplex.fromMuxStream passes on an error of a pipeline, at its source or target", () =>
    Effect.gen(function*() {
      const { client, duplex, far } = yield* makeOwning
      const broken = Readable.from((async function*() {
        yield bytes("half of it")
        await Promise.resolve()
        throw new Error("the disk is gone")
      })())
      const piped = pipeline(broken, duplex).catch((error: Error) => error.message)
      expect(text(yield* readAll(far))).toMatch(/^(half of it)?$/)
      expect(yield* promise(() => piped)).toBe("the disk is gone")
      expect(duplex.destroyed).toBe(true)
      yield* far.end
      yield* Effect.repeat(Effect.yieldNow(), {
        until: () => Effect.map(client.snapshot, ({ streams }) => streams.length === 0)
      })

      const other = yield* makePair()
      const endless = Readable.from((function*() {
        for (;;) yield pattern(kib)
      })())
      const lost = pipeline(endless, other.duplex).catch((error: NodeJS.ErrnoException) => error.code)
      yield* Effect.yieldNow()
      yield* other.pair.cut
      expect(yield* promise(() => lost as Promise<string>)).toMatch(/^(ECONNRESET|EPIPE)$/)
      expect(endless.destroyed).toBe(true)
    }))

  it.scopedLive("NodeDuplex.fromMuxStream reads no more when its reader has destroyed it", () =>
    Effect.gen(function*() {
      const { duplex, far, near } = yield* makePair(4096)
      const got: Array<string> = []
      duplex.on("data", (chunk: Uint8Array) => {
        got.push(text(chunk))
        duplex.read()
        duplex.destroy()
      })
      yield* signal(duplex, "resume")
      yield* far.write(bytes("one"))
      yield* eventually(() => got.length > 0)
      yield* far.write(bytes("two"))
      expect([got, text(yield* readSome(near))]).toEqual([["one"], "two"])
    }))

  it.scopedLive("NodeDuplex.fromMuxStream is destroyed with the error that its reader throws", () =>
    Effect.gen(function*() {
      const { duplex, far } = yield* makePair(1024)
      const thrown = new Error("cannot parse that")
      duplex.on("data", () => {
        throw thrown
      })
      yield* signal(duplex, "resume")
      const failed = once(duplex, "error")
      yield* far.write(bytes("one"))
      expect(yield* Effect.promise(() => failed)).toEqual([thrown])
    }))

  it.scopedLive("NodeDuplex.fromMuxStream keeps the order when a reader asks for more within a read", () =>
    Effect.gen(function*() {
      const { duplex, far } = yield* makePair(64 * kib)
      const parts: Array<Uint8Array> = []
      let nested = false
      duplex.on("data", (chunk: Uint8Array) => {
        parts.push(chunk)
        if (nested) return
        nested = true
        duplex.read()
        nested = false
      })
      const sent = Array.from({ length: 50 }, (_, i) => pattern(2000, i))
      yield* Effect.fork(Effect.zipRight(Effect.forEach(sent, far.write), far.end))
      yield* signal(duplex, "end")
      expect(concat(parts)).toEqual(concat(sent))
    }))

  it.scopedLive("NodeDuplex.fromMuxStream emits timeout when no bytes pass for the time set", () =>
    Effect.gen(function*() {
      const { duplex } = yield* makePair()
      const socket = duplex as Duplex & Pick<Socket, "setTimeout" | "timeout">
      const idle = new Promise<void>((resolve) => socket.setTimeout(20, resolve))
      yield* promise(() => idle)
      expect(socket.timeout).toBe(20)
      expect(socket.setTimeout(0).timeout).toBe(0)
    }))
})

describe("NodeDuplex.agent", () => {
  /** An `http.Server` behind one end of a session, and an agent at the other. */
  const makeHttp = (listener: Http.RequestListener, options?: Http.AgentOptions) =>
    Effect.gen(function*() {
      const sessions = yield* makeSessions(
        plainly({ client: { streamBufferSize: 64 * kib }, server: { streamBufferSize: 64 * kib } })
      )
      const server = Http.createServer(listener)
      yield* Effect.fork(NodeDuplex.serve(sessions.server, server))
      return { ...sessions, http: server, agent: yield* NodeDuplex.agent(sessions.client, options) }
    })

  const request = (agent: Http.Agent, options: Http.RequestOptions, body?: Uint8Array) =>
    promise(() =>
      new Promise<{ readonly status: number | undefined; readonly body: Buffer }>((resolve, reject) => {
        const sent = Http.request({ host: "behind.example", agent, ...options }, (response) => {
          buffer(response).then((body) => resolve({ status: response.statusCode, body }), reject)
        })
        sent.on("error", reject)
        sent.end(body)
      })
    )

  it.scopedLive("NodeDuplex.agent carries many requests at once over kept connections", () =>
    Effect.gen(function*() {
      const { agent, client } = yield* makeHttp((request, response) => {
        buffer(request).then((body) => response.end(`${request.method} ${request.url} ${sha(body)}`))
      }, { keepAlive: true, maxSockets: 10 })
      const one = (i: number) =>
        Effect.gen(function*() {
          const body = pattern(i * 997)
          const answer = yield* request(agent, { method: "POST", path: `/${i}` }, body)
          expect([answer.status, answer.body.toString()]).toEqual([200, `POST /${i} ${sha(body)}`])
        })
      yield* Effect.forEach(Array.from({ length: 100 }, (_, i) => i), one, { concurrency: 20, discard: true })
      expect((yield* client.snapshot).counters.opened).toBe(10)
    }))

  it.scopedLive("NodeDuplex.agent streams large bodies both ways", () =>
    Effect.gen(function*() {
      const { agent } = yield* makeHttp((request, response) => {
        request.pipe(response)
      })
      const body = pattern(3 * kib * kib)
      const answer = yield* request(agent, { method: "PUT", path: "/" }, body)
      expect(sha(answer.body)).toBe(sha(body))
    }))

  it.scopedLive("NodeDuplex.agent ends a request when either end aborts", () =>
    Effect.gen(function*() {
      const seen: Array<string> = []
      const { agent } = yield* makeHttp((request, response) => {
        seen.push(`${request.url} came`)
        response.on("close", () => seen.push(`${request.url} closed`))
        if (request.url === "/reset") request.socket.destroy()
      })
      const refused = yield* Effect.exit(request(agent, { path: "/reset" }))
      expect(refused._tag).toBe("Failure")
      const sent = Http.get({ host: "behind.example", path: "/slow", agent })
      sent.on("error", () => {})
      yield* eventually(() => seen.includes("/slow came"))
      sent.destroy()
      yield* eventually(() => seen.includes("/slow closed"))
    }))

  it.scopedLive("NodeDuplex.agent fails requests when the session cannot open a stream", () =>
    Effect.gen(function*() {
      const { agent, client } = yield* makeHttp(() => {})
      yield* client.close
      const sent = Http.get({ host: "behind.example", agent })
      const [error] = yield* signal<[Error]>(sent, "error")
      expect(error).toMatchObject({ code: "ECONNRESET", cause: { _tag: "SessionClosed" } })
    }))
})

describe("node:tls", () => {
  it.scopedLive("node:tls carries bytes when both ends speak TLS within a stream", () =>
    Effect.gen(function*() {
      const { client, server } = yield* makeSessions(plainly())
      const [near, far] = yield* Effect.all([
        NodeDuplex.open(client),
        Effect.flatMap(server.accept, NodeDuplex.fromMuxStream)
      ], {
        concurrency: 2
      })
      const secureServer = new Tls.TLSSocket(far, {
        isServer: true,
        secureContext: Tls.createSecureContext({ cert: fixture("cert.pem"), key: fixture("key.pem") })
      })
      secureServer.pipe(secureServer)
      const secureClient = Tls.connect({ socket: near, rejectUnauthorized: false })
      const sent = pattern(100 * kib)
      const answer = buffer(secureClient)
      secureClient.end(sent)
      expect(sha(yield* promise(() => answer))).toBe(sha(sent))
    }))
})
