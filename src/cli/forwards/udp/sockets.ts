import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import * as FiberMap from "effect/FiberMap"
import type * as Scope from "effect/Scope"
import * as Dgram from "node:dgram"
import * as Dns from "node:dns"
import * as Net from "node:net"
import type { MuxStream } from "../../../MuxStream.js"
import { DuplexFailure, ListenFailure } from "../../../WsmuxError.js"
import * as Place from "../place.js"
import { join, Outbox } from "./association.js"

/** The associations of a listener. The one that was silent longest gives way to a further one. */
const maxAssociations = 1024

const typeOf = (family: number): Dgram.SocketType => family === 6 ? "udp6" : "udp4"

const makeSocket = (type: Dgram.SocketType, isDual = false) =>
  Effect.acquireRelease(
    // Errors of single datagrams, such as that no process listens there, are those of a lossy network.
    Effect.sync(() => Dgram.createSocket({ type, ipv6Only: type === "udp6" && !isDual }).on("error", () => {})),
    (socket) => Effect.sync(() => socket.close())
  )

/** Joins a stream with a target by datagrams. Fails when the name of the target has no address. */
export const toTarget = (
  stream: MuxStream,
  { host, port }: Place.Port,
  lookup: Net.LookupFunction = Dns.lookup as Net.LookupFunction
) =>
  Effect.gen(function*() {
    const { address, family } = yield* resolve(host, lookup)
    const socket = yield* makeSocket(typeOf(family))
    yield* Effect.async<void, DuplexFailure>((resume) => {
      const onError = (cause: Error) => resume(Effect.fail(new DuplexFailure({ detail: cause.message, cause })))
      socket.once("error", onError)
      socket.connect(port, address, () => {
        socket.off("error", onError)
        resume(Effect.void)
      })
    })
    const outbox = new Outbox()
    socket.on("message", (datagram) => outbox.offer(datagram))
    yield* join(stream, outbox, (datagram) => socket.send(datagram, ignoreError))
  }).pipe(Effect.scoped)

const resolve = (host: string, lookup: Net.LookupFunction) =>
  Net.isIP(host) > 0
    ? Effect.succeed({ address: host, family: Net.isIP(host) })
    : Effect.async<{ readonly address: string; readonly family: number }, DuplexFailure>((resume) =>
      lookup(host, {}, (cause, address, family) =>
        resume(
          cause === null
            ? Effect.succeed({ address: String(address), family: family ?? Net.isIP(String(address)) })
            : Effect.fail(new DuplexFailure({ detail: cause.message, cause }))
        ))
    )

/** The port that a listener got. */
export const listen = (place: Place.Port): Effect.Effect<Listener, ListenFailure, Scope.Scope> =>
  Effect.gen(function*() {
    const isAny = place.host === "*"
    const socket = yield* makeSocket(isAny || Net.isIPv6(place.host) ? "udp6" : "udp4", isAny)
    yield* Effect.async<void, ListenFailure>((resume) => {
      socket.once("error", (cause) => resume(Effect.fail(new ListenFailure({ address: Place.format(place), cause }))))
      socket.bind(place.port, isAny ? "::" : place.host, () => resume(Effect.void))
    })
    const { address, port } = socket.address()
    return { socket, address: Place.formatPort(address, port) }
  })

export interface Listener {
  readonly socket: Dgram.Socket
  readonly address: string
}

/** Datagrams by the name of their association, each of which has a stream. */
export interface Associations<A, E> {
  /** The associations at once. The one that was silent longest gives way to a further one. */
  readonly max: number
  /** Opens the stream. `of` belongs to the datagram that begins the association. */
  readonly open: (name: string, of: A) => Effect.Effect<MuxStream, E, Scope.Scope>
  /** Sends a datagram of the stream on. */
  readonly send: (datagram: Uint8Array, of: A) => void
  readonly onEnd: (name: string, exit: Exit.Exit<void, unknown>) => Effect.Effect<void>
}

/** Returns what takes a datagram for an association. The scope ends them all. */
export const associate = <A, E>(
  { max, onEnd, open, send }: Associations<A, E>
): Effect.Effect<(name: string, datagram: Uint8Array, of: A) => void, never, Scope.Scope> =>
  Effect.gen(function*() {
    const outboxes = new Map<string, Outbox>()
    const run = yield* FiberMap.runtime(yield* FiberMap.make<string>())()
    const begin = (name: string, of: A) => {
      const outbox = new Outbox()
      const forget = Effect.sync(() => {
        if (outboxes.get(name) === outbox) outboxes.delete(name)
      })
      const sendOn = (datagram: Uint8Array) => send(datagram, of)
      const association = Effect.flatMap(open(name, of), (stream) => join(stream, outbox, sendOn))
      run(
        name,
        Effect.scoped(association).pipe(
          Effect.ensuring(forget),
          Effect.exit,
          Effect.flatMap((exit) => onEnd(name, exit))
        )
      )
      return outbox
    }
    return (name, datagram, of) => {
      const outbox = outboxes.get(name) ?? begin(name, of)
      outboxes.delete(name)
      outboxes.set(name, outbox) // the last one is the latest
      outbox.offer(datagram)
      if (outboxes.size <= max) return
      const [oldest] = outboxes.keys()
      outboxes.delete(oldest!)
      run(oldest!, Effect.void) // takes the place of the association, which is interrupted
    }
  })

/** Opens a stream for each address that sends to the listener. The scope ends them. */
export const serve = <E>(
  { socket }: Listener,
  open: (peer: string) => Effect.Effect<MuxStream, E, Scope.Scope>,
  onEnd: (peer: string, exit: Exit.Exit<void, unknown>) => Effect.Effect<void>
): Effect.Effect<void, never, Scope.Scope> =>
  Effect.gen(function*() {
    const send = (datagram: Uint8Array, { address, port }: Dgram.RemoteInfo) =>
      socket.send(datagram, port, address, ignoreError)
    const take = yield* associate({ max: maxAssociations, open, send, onEnd })
    yield* onMessage(
      socket,
      (datagram, sender) => take(Place.formatPort(sender.address, sender.port), datagram, sender)
    )
  })

/** Calls a function for each datagram that arrives, until the scope closes. */
export const onMessage = (
  socket: Dgram.Socket,
  handle: (datagram: Buffer, sender: Dgram.RemoteInfo) => void
): Effect.Effect<void, never, Scope.Scope> =>
  Effect.asVoid(Effect.acquireRelease(
    Effect.sync(() => socket.on("message", handle)),
    () => Effect.sync(() => socket.off("message", handle))
  ))

const ignoreError = (): void => {}
