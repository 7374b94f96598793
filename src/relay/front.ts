import * as Effect from "effect/Effect"
import * as FiberSet from "effect/FiberSet"
import type * as Scope from "effect/Scope"
import type * as Http from "node:http"
import type * as Net from "node:net"
import type { Duplex } from "node:stream"
import { reset } from "../internal/tcp/tcpEnds.js"
import * as NodeDuplex from "../NodeDuplex.js"
import { parse, pathOf } from "./address.js"
import * as exchange from "./exchange.js"
import * as Failure from "./failure.js"
import { isCoded, requestHeaders } from "./headers.js"
import { bookingInterval, type Limits, type Rates } from "./limits.js"
import { joinRaw, responseOn, writeAnswer } from "./upgrade.js"
import type { Ways } from "./ways.js"

/** A request that the front has served, for logs and counters. */
export interface Served {
  readonly name: string | undefined
  readonly status: number
  readonly in: number
  readonly out: number
  /** Whether the answer was sent whole. */
  readonly isWhole: boolean
  readonly millis: number
}

interface FrontSettings {
  readonly domain: string | undefined
  readonly timeouts: exchange.Timeouts
  readonly isDraining: () => boolean
  readonly limits: Limits
  /** The limits of each name. */
  readonly rates: Rates
  readonly onServed: (request: Http.IncomingMessage, served: Served) => void
  /** The monotonic time in milliseconds. */
  readonly now: () => number
}

/** The HTTP front of the relay: requests for a name become streams to its agents. */
export interface Front {
  readonly onRequest: Http.RequestListener
  readonly onUpgrade: (request: Http.IncomingMessage, socket: Net.Socket, head: Buffer) => void
  /** The names of the requests that run. */
  readonly running: () => ReadonlyArray<string>
  /** Resets the connections of all requests that run, so that no part of an answer looks like a whole. */
  readonly lose: () => void
  readonly awaitEmpty: Effect.Effect<void>
}

export const make = (ways: Ways, settings: FrontSettings): Effect.Effect<Front, never, Scope.Scope> =>
  Effect.gen(function*() {
    const fibers = yield* FiberSet.make<void>()
    const fork = yield* FiberSet.runtime(fibers)()
    const running = new Map<Http.IncomingMessage, Running>()
    if (settings.rates.bytesPerSecond !== Infinity) {
      // An answer without an end must use up the limit, too.
      yield* bookAll(running, settings).pipe(Effect.delay(bookingInterval), Effect.forever, Effect.forkScoped)
    }

    const serve = (
      request: Http.IncomingMessage,
      response: Http.ServerResponse,
      upgrade?: { readonly socket: Net.Socket; readonly head: Buffer }
    ): Effect.Effect<void> => {
      const started = settings.now()
      const passed: exchange.Passed = { in: 0, out: 0 }
      const asked = parse(request, settings.domain)
      const run: Running = { name: asked?.name ?? "", passed, booked: 0 }
      running.set(request, run)
      let status = 0
      const relayed = Effect.gen(function*() {
        if (asked === undefined) return yield* Failure.unknownName
        if (upgrade !== undefined && hasBody(request)) return yield* Failure.bodyBeforeUpgrade
        if (isCoded(request)) return yield* Failure.unknownCoding
        yield* settings.limits.admit(asked.name, settings.rates)
        const { stream } = yield* openUnlessGone(ways, asked.name, response)
        const duplex = yield* NodeDuplex.fromMuxStream(stream)
        duplex.on("error", () => {}) // Node takes its listener away between two owners
        const { socket } = request
        const head: exchange.Head = {
          method: request.method!,
          path: asked.target,
          headers: requestHeaders(request, {
            remoteAddress: socket.remoteAddress,
            isSecure: "encrypted" in socket,
            path: pathOf(request.url)
          }, upgrade !== undefined)
        }
        let upgraded: Duplex | undefined
        yield* exchange.exchange(
          request,
          response,
          duplex,
          head,
          settings.timeouts,
          passed,
          upgrade && ((
            answer,
            stream,
            rest
          ) => {
            status = 101
            upgraded = stream
            response.detachSocket(upgrade.socket)
            writeAnswer(upgrade.socket, answer)
            if (rest.byteLength > 0) stream.unshift(rest)
            if (upgrade.head.byteLength > 0) upgrade.socket.unshift(upgrade.head)
          })
        )
        if (upgraded !== undefined) yield* joinRaw(upgrade!.socket, upgraded, passed)
      })
      return relayed.pipe(
        Effect.scoped,
        Effect.catchAll((failure) => Effect.sync(() => refuse(request, response, failure, settings.isDraining()))),
        Effect.catchAllDefect((defect) =>
          Effect.zipRight(
            Effect.logError("cannot relay a request: the relay failed", defect),
            Effect.sync(() => void response.destroy())
          )
        ),
        Effect.ensuring(Effect.suspend(() => {
          running.delete(request)
          settings.onServed(request, {
            name: asked?.name,
            status: status || (response.headersSent ? response.statusCode : 499),
            ...passed,
            isWhole: status === 101 || response.writableFinished,
            millis: settings.now() - started
          })
          return asked === undefined
            ? Effect.void
            : settings.limits.spend(asked.name, settings.rates, unbooked(run))
        }))
      )
    }

    /** How many requests of a connection wait behind the one that is served. */
    const waiting = new WeakMap<Net.Socket, number>()

    return {
      onRequest: (request, response) => {
        const begin = () => {
          if (settings.isDraining()) response.shouldKeepAlive = false
          fork(serve(request, response))
        }
        // A request behind another one on its connection waits. The methods may be unsafe, and Node tells a response
        // that the client has gone when it has the connection only.
        if (response.socket !== null) return begin()
        const { socket } = request
        const count = (waiting.get(socket) ?? 0) + 1
        if (count > maxWaiting) return void socket.destroy()
        waiting.set(socket, count)
        response.once("socket", () => {
          waiting.set(socket, waiting.get(socket)! - 1)
          begin()
        })
      },
      onUpgrade: (request, socket, head) => {
        socket.on("error", () => {})
        socket.setTimeout(0)
        fork(serve(request, responseOn(request, socket), { socket, head }))
      },
      running: () => Array.from(running.values(), ({ name }) => name),
      lose: () => {
        for (const { socket } of running.keys()) reset(socket, false, () => {})
      },
      awaitEmpty: FiberSet.awaitEmpty(fibers)
    }
  })

/** A client that sends more requests than this behind another one loses its connection: each of them takes memory. */
const maxWaiting = 64

/** Whether a request has a body. Node takes the body of an upgrade request for bytes of the other protocol. */
const hasBody = ({ headers }: Http.IncomingMessage): boolean =>
  headers["transfer-encoding"] !== undefined || Number(headers["content-length"] ?? 0) > 0

/** A request that runs, and those of its bytes that are booked. */
interface Running {
  readonly name: string
  readonly passed: exchange.Passed
  booked: number
}

/** Returns the bytes of a request that are not booked yet. The caller books them. */
const unbooked = (run: Running): number => {
  const bytes = run.passed.in + run.passed.out - run.booked
  run.booked += bytes
  return bytes
}

/** Books the bytes of all requests that run, with one call for each name. */
const bookAll = (
  running: ReadonlyMap<Http.IncomingMessage, Running>,
  { limits, rates }: FrontSettings
): Effect.Effect<void> =>
  Effect.suspend(() => {
    const sums = new Map<string, number>()
    for (const run of running.values()) sums.set(run.name, (sums.get(run.name) ?? 0) + unbooked(run))
    return Effect.forEach(sums, ([name, bytes]) => limits.spend(name, rates, bytes), { concurrency: 16, discard: true })
  })

/** Opens a stream for a request, and gives up when its client goes. */
const openUnlessGone = (ways: Ways, name: string, response: Http.ServerResponse) =>
  Effect.raceFirst(
    ways.open(name, { kind: "http" }),
    Effect.async<never, Failure.Unanswered>((resume) => {
      const onClose = () => resume(Effect.fail(gone))
      response.on("close", onClose)
      if (response.destroyed) onClose()
      return Effect.sync(() => void response.off("close", onClose))
    })
  )

const gone = new Failure.Unanswered({ status: 408, message: "the client has gone" })

/** Answers a request that no agent answered. */
const refuse = (
  request: Http.IncomingMessage,
  response: Http.ServerResponse,
  { message, retryAfter, status }: Failure.Unanswered,
  isDraining: boolean
): void => {
  if (response.headersSent || response.destroyed) return void response.destroy()
  const body = `${message}\n`
  // Node reads the rest of a body within `requestTimeout`, and the connection serves no other request
  if (!request.complete || isDraining) response.shouldKeepAlive = false
  response.writeHead(status, {
    "content-type": "text/plain; charset=utf-8",
    "content-length": Buffer.byteLength(body),
    ...(retryAfter === undefined ? {} : { "retry-after": String(retryAfter) })
  }).end(body)
  if (!request.complete) request.resume()
}
