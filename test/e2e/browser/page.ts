import * as Socket from "@effect/platform/Socket"
import {
  type MuxStream,
  ResumableTransport,
  Session,
  type SessionConfig,
  Transport,
  WebSocketTransport
} from "effect-wsmux"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Queue from "effect/Queue"
import * as Stream from "effect/Stream"
import * as SubscriptionRef from "effect/SubscriptionRef"
import { content, settings, wideWindow } from "./content.js"

/** The tasks of the page, each over a session of its own. */
export interface Page {
  /**
   * Opens streams, sends content on each, and answers with the digests of the sent, the arrived and the received bytes.
   */
  readonly transfer: (streams: number, size: number) => Promise<ReadonlyArray<readonly [string, string, string]>>
  /** Echoes this many streams of the server. */
  readonly accept: (streams: number) => Promise<number>
  /**
   * Reads one stream slowly: each chunk waits for an echo on another stream. Answers with the number of echoes, and
   * with the digest of the slow stream.
   */
  readonly readSlowly: () => Promise<{ readonly echoes: number; readonly digest: string }>
  /** Reads while the server is killed, and answers with the errors of this and later operations. */
  readonly lose: () => Promise<Readonly<Record<string, string>>>
  /** Reads a long answer, then asks the server to freeze. Answers with the grown window, and how the session ended. */
  readonly freeze: () => Promise<{ readonly window: number; readonly features: unknown; readonly closed: string }>
  /**
   * Sends three key strokes behind the first 3 MB of an upload over a way of 1 MiB/s, each after the echo of the one
   * before. Answers with the median of their times in milliseconds: a busy browser may let the upload run dry once.
   */
  readonly stroke: (dialect: "auto" | "off") => Promise<number>
  /** Exchanges bytes on 22 streams of one session for a time, while the server resets its WebSocket again and again. */
  readonly survive: (seconds: number) => Promise<{
    readonly resumed: number
    readonly echoes: number
    readonly bytes: number
    readonly faults: ReadonlyArray<string>
  }>
}

const url = (task: string) => `ws://${location.host}/${task}`

const connect = (task: string, more: SessionConfig.PartialSettings = {}) =>
  WebSocketTransport.connect(url(task)).pipe(
    Effect.provide(Socket.layerWebSocketConstructorGlobal),
    Effect.flatMap((transport) =>
      Effect.provideService(Session.makeClient({ ...settings, ...more }), Transport.Transport, transport)
    )
  )

const digest = (data: Uint8Array) =>
  Effect.map(
    Effect.promise(() => crypto.subtle.digest("SHA-256", data as Uint8Array<ArrayBuffer>)),
    (hash) => [...new Uint8Array(hash)].map((byte) => byte.toString(16).padStart(2, "0")).join("")
  )

const readAll = (stream: MuxStream.MuxStream) =>
  Effect.map(Stream.runCollect(stream.readable), (chunks) => {
    const parts = [...chunks]
    const whole = new Uint8Array(parts.reduce((size, part) => size + part.length, 0))
    let at = 0
    for (const part of parts) {
      whole.set(part, at)
      at += part.length
    }
    return whole
  })

const text = (data: Uint8Array): string => new TextDecoder().decode(data)

const transfer: Page["transfer"] = (streams, size) =>
  Effect.runPromise(Effect.scoped(Effect.flatMap(connect("transfer"), (session) =>
    Effect.forEach(
      Array.from({ length: streams }, (_, i) => i),
      (i) =>
        Effect.gen(function*() {
          const stream = yield* session.open()
          const sent = content(size, i)
          const [, answer] = yield* Effect.all(
            [Stream.run(Stream.make(sent), stream.writable), readAll(stream)],
            { concurrency: 2 }
          )
          return [yield* digest(sent), text(answer.subarray(0, 64)), yield* digest(answer.subarray(64))] as const
        }),
      { concurrency: "unbounded" }
    ))))

const accept: Page["accept"] = (streams) =>
  Effect.runPromise(Effect.scoped(Effect.flatMap(connect("accept"), (session) =>
    Effect.map(
      Effect.forEach(
        Array.from({ length: streams }),
        () => Effect.flatMap(session.accept, (stream) => Stream.run(stream.readable, stream.writable)),
        { concurrency: "unbounded" }
      ),
      (done) => done.length
    ))))

const readSlowly: Page["readSlowly"] = () =>
  Effect.runPromise(Effect.scoped(Effect.gen(function*() {
    const session = yield* connect("slow")
    const slow = yield* session.open()
    const quick = yield* session.open()
    const echoed = yield* Queue.sliding<true>(1)
    let finished = false
    let echoes = 0
    const reading = slow.readable.pipe(
      Stream.tap(() => Queue.take(echoed)),
      Stream.runCollect,
      Effect.map((chunks) => Uint8Array.from([...chunks].flatMap((chunk) => [...chunk]))),
      Effect.ensuring(Effect.sync(() => finished = true))
    )
    const echoing = Effect.gen(function*() {
      while (!finished) {
        yield* quick.write(Uint8Array.of(1))
        if (Option.isNone(yield* quick.read)) return
        echoes++
        yield* Queue.offer(echoed, true)
      }
    })
    const [received] = yield* Effect.all([reading, echoing], { concurrency: 2 })
    return { echoes, digest: yield* digest(received) }
  })))

const lose: Page["lose"] = () =>
  Effect.runPromise(Effect.scoped(Effect.gen(function*() {
    const session = yield* connect("kill")
    const stream = yield* session.open()
    const tell = <A, E extends { readonly _tag: string; readonly message: string }>(effect: Effect.Effect<A, E>) =>
      Effect.match(effect, {
        onSuccess: () => "nothing",
        onFailure: (error) => `${error._tag}: ${error.message}`
      })
    yield* stream.write(Uint8Array.of(1)) // at this byte the server kills itself
    const read = yield* tell(stream.read)
    return {
      read,
      write: yield* tell(stream.write(Uint8Array.of(1))),
      open: yield* tell(Effect.scoped(session.open())),
      closed: (yield* session.awaitClosed)._tag,
      again: yield* tell(Effect.scoped(connect("kill")))
    }
  })))

const freeze: Page["freeze"] = () =>
  Effect.runPromise(Effect.scoped(Effect.gen(function*() {
    const session = yield* connect("freeze", { keepAliveInterval: "3 seconds", maxStreamBufferSize: 1024 * 1024 })
    const stream = yield* session.open()
    yield* stream.write(Uint8Array.of(1)) // at this byte the server sends a long answer
    yield* Stream.runDrain(Stream.take(stream.readable, 100))
    const { dialect, streams } = yield* session.snapshot
    const window = streams[0]!.receiveCredit + streams[0]!.bufferedBytes
    yield* stream.write(Uint8Array.of(2)) // at this byte the server freezes
    const { _tag: closed } = yield* session.awaitClosed
    return { window, features: dialect.state === "native" ? dialect.features : [], closed }
  })))

const stroke: Page["stroke"] = (dialect) =>
  Effect.runPromise(Effect.scoped(Effect.gen(function*() {
    const port = yield* Effect.promise(() => fetch("/slow-port").then((answer) => answer.text()))
    const transport = yield* Effect.provide(
      WebSocketTransport.connect(`ws://127.0.0.1:${port}/strokes`),
      Socket.layerWebSocketConstructorGlobal
    )
    const session = yield* Effect.provideService(
      Session.makeClient({ ...settings, dialect, streamBufferSize: wideWindow, keepAliveInterval: "1 minute" }),
      Transport.Transport,
      transport
    )
    const keys = yield* session.open()
    const upload = yield* session.open()
    yield* Effect.forkScoped(Stream.runDrain(upload.readable))
    const piece = content(64_000, 1)
    yield* Effect.repeatN(upload.write(piece), 3e6 / piece.length)
    yield* Effect.forkScoped(Effect.forever(upload.write(piece)))
    const times: Array<number> = []
    while (times.length < 3) {
      const begin = performance.now()
      yield* keys.write(Uint8Array.of(1))
      yield* keys.read
      times.push(performance.now() - begin)
    }
    return times.sort((a, b) => a - b)[1]!
  })))

const survive: Page["survive"] = (seconds) =>
  Effect.runPromise(Effect.scoped(Effect.gen(function*() {
    const dial = Effect.provide(WebSocketTransport.connect(url("resume")), Socket.layerWebSocketConstructorGlobal)
    const transport = yield* ResumableTransport.connect(dial)
    const session = yield* Effect.provideService(Session.makeClient(settings), Transport.Transport, transport)
    const end = Date.now() + seconds * 1000
    const faults: Array<string> = []
    let echoes = 0
    let bytes = 0
    const exchange = (size: number, pause: number, seed: number) =>
      Effect.scoped(Effect.gen(function*() {
        const stream = yield* session.open()
        for (let round = 0; Date.now() < end; round++) {
          const sent = content(size, seed + round)
          yield* Effect.fork(Effect.ignore(stream.write(sent)))
          for (let read = 0; read < size;) {
            const chunk = yield* Effect.flatten(stream.read)
            if (chunk.some((byte, at) => byte !== sent[read + at])) faults.push(`stream ${stream.id}: other bytes`)
            read += chunk.length
          }
          echoes++
          bytes += size
          yield* Effect.sleep(pause)
        }
      })).pipe(Effect.catchAll((error) => Effect.sync(() => faults.push(String(error)))))
    yield* Effect.forEach(
      [...Array<number>(20).fill(7), 200_000, 200_000],
      (size, n) => exchange(size, size > 100 ? 0 : 50, n * 1000),
      { concurrency: "unbounded" }
    )
    const state = yield* SubscriptionRef.get(transport.state)
    return { resumed: state._tag === "Ended" ? 0 : state.resumed, echoes, bytes, faults }
  })))

Object.assign(window, { page: { transfer, accept, readSlowly, lose, freeze, stroke, survive } satisfies Page })
