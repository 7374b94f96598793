import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import type * as Net from "node:net"
import type * as ByteStream from "../../../ByteStream.js"
import type { MuxStream } from "../../../MuxStream.js"
import type { DuplexFailure } from "../../../WsmuxError.js"
import * as Place from "../place.js"
import { watchSilence } from "../udp/association.js"
import * as Udp from "../udp/sockets.js"
import { dismiss, ProxyRefusal } from "./negotiate.js"
import * as Socks from "./socks.js"

/** The end of an association, whose connection has no stream. */
export class Associated extends Data.TaggedError("Associated") {}

/** The targets of one association. The one that was silent longest gives way to a further one. */
const maxTargets = 256

/** How an association reaches its targets. */
export interface Way<E> {
  readonly open: (target: Place.Port) => Effect.Effect<MuxStream, E, Scope.Scope>
  /** The stream of a target has ended, or was refused. */
  readonly onEnd: (peer: string, target: string, exit: Exit.Exit<void, unknown>) => Effect.Effect<void>
}

/**
 * Serves UDP ASSOCIATE of SOCKS 5 (RFC 1928): carries the datagrams between a client and its targets, each with a
 * stream of its own. Datagrams of other machines than the client's are dropped, and so are those of other ports than
 * the first one. Ends, always with a failure, when the client ends its connection, or no datagram has passed for a
 * minute.
 */
export const associate = <E>(
  connection: ByteStream.ByteStream<DuplexFailure>,
  socket: Net.Socket,
  { from }: Socks.Association,
  way: Way<E>
): Effect.Effect<never, DuplexFailure | ProxyRefusal | Associated, Scope.Scope> =>
  Effect.gen(function*() {
    const here = socket.localAddress
    const client = socket.remoteAddress
    const refused = (reason: string) =>
      Effect.zipRight(dismiss(connection, Socks.notAssociated), new ProxyRefusal({ target: undefined, reason }))
    if (here === undefined || client === undefined) return yield* refused("a unix socket has no way for datagrams")
    const { silent, touch } = yield* watchSilence
    const listener = yield* Effect.catchAll(Udp.listen(Place.port(plain(here), 0)), ({ message }) => refused(message))
    let port = from
    const take = yield* Udp.associate<Omit<Socks.Datagram, "payload">, E>({
      max: maxTargets,
      open: (_name, { target }) => way.open(target),
      send: (datagram, { header }) => {
        touch()
        listener.socket.send([header, datagram], port, plain(client), () => {})
      },
      onEnd: (name, exit) => way.onEnd(Place.formatPort(plain(client), port), name, exit)
    })
    yield* Udp.onMessage(listener.socket, (bytes, sender) => {
      const datagram = Socks.parseDatagram(bytes)
      if (datagram === undefined || plain(sender.address) !== plain(client)) return
      if (port === 0) port = sender.port
      if (port !== sender.port) return
      touch()
      const { header, payload, target } = datagram
      take(Place.format(target), payload, { header, target })
    })
    yield* connection.write(Socks.associated(Place.port(plain(here), listener.socket.address().port)))
    yield* Effect.raceFirst(Effect.repeat(connection.read, { until: Option.isNone }), silent)
    yield* connection.end
    return yield* new Associated()
  })

/** An IPv4 address as a listener for both families tells it. */
const plain = (address: string): string => address.replace(/^::ffff:(?=\d+\.)/i, "")
