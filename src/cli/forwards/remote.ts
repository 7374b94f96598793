import * as Console from "effect/Console"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as ExecutionStrategy from "effect/ExecutionStrategy"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Runtime from "effect/Runtime"
import * as Schedule from "effect/Schedule"
import * as Scope from "effect/Scope"
import type * as Net from "node:net"
import * as ByteStream from "../../ByteStream.js"
import { plainText } from "../../internal/text/plainText.js"
import type { MuxStream } from "../../MuxStream.js"
import type * as Session from "../../Session.js"
import * as TcpTunnel from "../../TcpTunnel.js"
import type { TerminalError } from "../../WsmuxError.js"
import * as Endpoint from "../endpoint.js"
import { forwarding } from "../forward.js"
import * as RareWarning from "../rareWarning.js"
import * as Monitor from "../status/monitor.js"
import * as Tcp from "../tcp.js"
import * as Codes from "./codes.js"
import { ForwardFailure, orForwardFailure, written } from "./failure.js"
import * as Labels from "./labels.js"
import * as Place from "./place.js"
import { fromHere } from "./proxy/reach.js"
import * as ProxyProtocol from "./proxyProtocol.js"
import type { Forward } from "./spec.js"
import * as Udp from "./udp/sockets.js"

/** What the listeners at the server have in common. */
export interface Context {
  readonly keepAlive: Duration.Duration
  /** The address of the server that is dialled now, for output. */
  readonly url: () => string
  /** Whether targets get the header of the PROXY protocol. */
  readonly proxyProtocol: boolean
}

/** Connects the streams of a session that the server forwards to the targets of their listeners. */
export const serve = (
  session: Session.Session,
  forwardOfName: (name: string) => Forward | undefined,
  { keepAlive, proxyProtocol }: Context
): Effect.Effect<never, TerminalError> =>
  Effect.gen(function*() {
    const fork = Runtime.runFork(yield* Effect.runtime<never>())
    const warn = RareWarning.make()
    const forwardOf = ({ metadata }: MuxStream) => forwardOfName(metadata.listener ?? "")
    const connect = (stream: MuxStream): Net.Socket | Effect.Effect<unknown, unknown> => {
      const { protocol, target } = forwardOf(stream) ?? {}
      if (stream.label !== Labels.Label.forwarded || target === undefined) {
        return stream.reset(Codes.resetOf(Codes.Code.UnknownListener))
      }
      if (target === "proxy") return fromHere(stream, keepAlive)
      if (protocol === "udp" && target._tag === "Port") return Udp.toTarget(stream, target)
      const socket = Tcp.dial(target, keepAlive)
      if (proxyProtocol) socket.write(ProxyProtocol.header(peerOf(stream), undefined))
      return socket
    }
    return yield* TcpTunnel.serve(session, {
      ...yield* forwarding,
      connect,
      explain: ({ cause }) => Codes.resetOf(Codes.codeOf(cause)),
      onUnreachable: ({ detail }, stream) => {
        const forward = forwardOf(stream)
        const peer = plainText(stream.metadata.peer ?? "")
        fork(warn(() => `cannot forward ${peer} by ${forward === undefined ? "" : written(forward)}: ${detail}`))
      }
    })
  })

/** The client of a forwarded connection, as the server tells. */
const peerOf = ({ metadata }: MuxStream): ProxyProtocol.End | undefined =>
  Option.getOrUndefined(Endpoint.parse(metadata.peer ?? ""))

/** A listener at the server. */
export interface Listening {
  /** Ends the listener, and completes once the server listens no more. Its connections go on. */
  readonly end: Effect.Effect<void>
}

/**
 * Asks the server for a listener, and prints its address. Completes once the server listens. The scope ends the
 * listener with its connections. Fails when the server refuses.
 *
 * @param name tells the listeners of a session apart
 */
export const listen = (
  session: Session.Session,
  forward: Forward,
  name: string,
  context: Context
): Effect.Effect<Listening, ForwardFailure | TerminalError, Scope.Scope> =>
  Effect.gen(function*() {
    const url = context.url()
    const where = Labels.located(forward.protocol, forward.listen)
    const stream = yield* session.open({ label: Labels.Label.listen, metadata: Labels.toListener(where, name) })
    const lines = ByteStream.buffered(stream)
    const line = yield* Effect.timeoutFail(lines.readLine(), {
      duration: patience,
      onTimeout: () => new ForwardFailure({ forward: written(forward), reason: "the server does not answer" })
    })
    const address = plainText(Option.getOrElse(line, () => ""))
    const { target } = forward
    const destination = target === "proxy" ? "where clients ask" : Place.format(target)
    yield* Console.log(`listening on ${address} at ${url}, forwarding to ${destination}`)
    const shown = yield* Scope.fork(yield* Effect.scope, ExecutionStrategy.sequential)
    yield* Scope.extend(
      Monitor.forward({ option: "-R", listen: `${address} at the server`, target: destination }),
      shown
    )
    let isEnding = false
    const warnOfEnd = (why: string) =>
      isEnding ? Effect.void : Effect.logWarning(`listening on ${address} at ${url} no more: ${why}`)
    const reading = yield* lines.read.pipe(
      Effect.matchEffect({
        // the loss of the session has its own message
        onFailure: (error) => error._tag === "BrokenPipe" ? Effect.void : warnOfEnd(error.message),
        onSuccess: () => warnOfEnd("the server has ended it")
      }),
      Effect.forkScoped
    )
    const end = Effect.gen(function*() {
      isEnding = true
      yield* Scope.close(shown, Exit.void)
      yield* Effect.ignore(stream.end)
      yield* Fiber.await(reading)
      yield* Effect.logInfo(`listening on ${address} at ${url} no more`)
    })
    return { end }
  }).pipe(orForwardFailure(written(forward)))

/**
 * Asks again every second while the address is in use: the server may not have noticed yet that the last session of
 * this client is dead. Other refusals are final.
 */
export const listenAgain = (
  ...[session, forward, name, context]: Parameters<typeof listen>
): Effect.Effect<Listening, ForwardFailure | TerminalError, Scope.Scope> =>
  listen(session, forward, name, context).pipe(
    Effect.tapError((failure) => failure._tag === "ForwardFailure" ? Effect.logWarning(failure.message) : Effect.void),
    Effect.retry({
      schedule: Schedule.spaced("1 seconds"),
      while: (failure) => failure._tag === "ForwardFailure" && failure.code === Codes.Code.CannotListen
    })
  )

/** The time in which the server must answer. */
const patience = Duration.seconds(30)
