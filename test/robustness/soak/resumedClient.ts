import * as HttpBody from "@effect/platform/HttpBody"
import * as HttpClient from "@effect/platform/HttpClient"
import * as HttpClientRequest from "@effect/platform/HttpClientRequest"
import * as MuxHttp from "effect-wsmux/MuxHttp"
import * as NodeTransport from "effect-wsmux/NodeTransport"
import * as ResumableTransport from "effect-wsmux/ResumableTransport"
import * as Session from "effect-wsmux/Session"
import { Transport } from "effect-wsmux/Transport"
import * as Cause from "effect/Cause"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Stream from "effect/Stream"
import { answering } from "../../support/answering.js"
import { pattern } from "../../support/bytes.js"
import * as Rpc from "../../support/rpc.js"
import type { Question } from "./main.js"
import { settings } from "./server.js"
import { echo, makeContent, random, type Tally } from "./tasks.js"

export interface ResumedReport {
  readonly resumed: number
  readonly streams: number
  readonly bytes: number
  /** Key strokes, and the longest wait for the echo of one in milliseconds. */
  readonly keys: number
  readonly slowest: number
  readonly calls: number
  readonly requests: number
  /** Failures and mismatches: a session that resumes explains none. */
  readonly broken: ReadonlyArray<string>
}

/** Platform clients read an answer when they have sent all, so an echo must fit into the windows. */
const largestRequest = 60_000

/** How long the tasks may take to end. */
const patience = "20 seconds"

/** The streams that last as long as the session. */
const lasting = 200

/** Uses one session in all ways at once, until the parent sends `finish`. */
export const resumedClient = ({ seed, url }: { readonly url: string; readonly seed: number }): void => {
  const tally: Tally = { streams: 0, bytes: 0, broken: 0, mismatches: [] }
  const counts = { resumed: 0, keys: 0, slowest: 0, calls: 0, requests: 0 }
  /** The tasks that have not ended, by their names. */
  const running = new Map<string, number>()
  let isEnding = false
  const choose = random(seed)
  const ready = Deferred.unsafeMake<void>(Fiber.id(Effect.runFork(Effect.void)))

  const program = Effect.gen(function*() {
    const transport = yield* ResumableTransport.connect(NodeTransport.connect(url))
    const session = yield* Effect.provideService(Session.makeClient(settings), Transport, transport)
    const count = Stream.runForEach(transport.state.changes, (state) =>
      Effect.sync(() => {
        if (state._tag !== "Ended") counts.resumed = state.resumed
      }))
    yield* Effect.forkScoped(count)
    // adapters leave their labels out before the peer's first message has come
    // read to its end, since a stream that is left before is reset, which the server counts as a fault
    yield* Session.withStream(session, (stream) => Effect.zipRight(stream.end, stream.read), { label: "ready" })
    const rpc = yield* Rpc.connect(session)
    const http = yield* Effect.map(
      Layer.build(
        Layer.provide(MuxHttp.layerClient({ label: "http" }), Layer.succeed(Session.StreamOpener, session))
      ),
      (context) => context.unsafeMap.get(HttpClient.HttpClient.key) as HttpClient.HttpClient
    )

    const bulk = Effect.suspend(() => echo(tally, session, makeContent(choose, 1 << 20)))
    const call = Effect.gen(function*() {
      const text = `call ${counts.calls++} `.repeat(1 + Math.floor(choose() * 50))
      const answer = yield* rpc.Echo({ text })
      if (answer !== text) tally.mismatches.push("a call has another answer")
      const texts = yield* Stream.runCount(rpc.Texts({ count: 20, length: 100 }))
      if (texts !== 20) tally.mismatches.push(`a call streams ${texts} of 20 texts`)
    })
    const body = pattern(200_000)
    const request = Effect.gen(function*() {
      counts.requests++
      const sent = body.subarray(0, 1 + Math.floor(choose() * largestRequest))
      const response = yield* HttpClientRequest.post("http://inside/echo").pipe(
        HttpClientRequest.setBody(HttpBody.uint8Array(sent)),
        http.execute
      )
      const got = new Uint8Array(yield* response.arrayBuffer)
      if (Buffer.compare(got, sent) !== 0) tally.mismatches.push(`a request of ${sent.length} has ${got.length} bytes`)
    })
    /** Writes the next bytes, and awaits their echo. */
    const exchange = (size: () => number, pause: () => number, onEcho: (millis: number) => void) =>
      Effect.scoped(Effect.gen(function*() {
        const stream = yield* session.open()
        tally.streams++
        let at = 0
        while (!isEnding) {
          const sent = body.subarray(at, at + size())
          at = (at + sent.length) % 100_000
          const began = performance.now()
          yield* stream.write(sent)
          for (let read = 0; read < sent.length;) {
            const chunk = yield* Effect.flatten(stream.read)
            const isSame = Buffer.compare(chunk, sent.subarray(read, read + chunk.length)) === 0
            if (!isSame) return void tally.mismatches.push(`stream ${stream.id}: other bytes than were sent`)
            read += chunk.length
          }
          tally.bytes += sent.length
          onEcho(performance.now() - began)
          yield* Effect.sleep(pause())
        }
        yield* stream.end
        if ((yield* stream.read)._tag === "Some") tally.mismatches.push(`stream ${stream.id}: bytes behind the end`)
      }))
    const keys = exchange(() => 1, () => 30 + choose() * 100, (millis) => {
      counts.keys++
      counts.slowest = Math.max(counts.slowest, Math.ceil(millis))
    })
    const slow = exchange(() => 1 + Math.floor(choose() * 300), () => choose() * 2000, () => {})
    const again = <E>(task: Effect.Effect<unknown, E>, pause: number) =>
      Effect.repeat(Effect.delay(task, pause), { until: () => isEnding })
    const named = <E>(name: string, task: Effect.Effect<unknown, E>) =>
      Effect.suspend(() => {
        running.set(name, (running.get(name) ?? 0) + 1)
        return Effect.ensuring(task, Effect.sync(() => running.set(name, running.get(name)! - 1)))
      })
    yield* Deferred.succeed(ready, undefined)
    yield* Effect.all([
      named("bulk", again(bulk, 0)),
      named("bulk", again(bulk, 100)),
      named("a call", again(call, 20)),
      named("a request", again(request, 20)),
      named("key strokes", keys),
      named("key strokes", keys),
      Effect.replicateEffect(named("a lasting stream", slow), lasting, { concurrency: "unbounded" })
    ], { concurrency: "unbounded" })
  }).pipe(
    Effect.scoped,
    Effect.catchAllCause((cause) => Effect.sync(() => tally.mismatches.push(Cause.pretty(cause))))
  )
  const fiber = Effect.runFork(program)

  answering(async ({ ask }: Question): Promise<ResumedReport> => {
    await Effect.runPromise(Effect.race(Deferred.await(ready), Fiber.await(fiber)))
    if (ask === "finish") {
      isEnding = true
      await Effect.runPromise(Effect.timeoutOption(Fiber.await(fiber), patience))
      for (const [name, count] of running) if (count > 0) tally.mismatches.push(`${name} never ends (${count} of it)`)
    }
    const { bytes, mismatches, streams } = tally
    return { ...counts, streams, bytes, broken: [...mismatches] }
  })
}
