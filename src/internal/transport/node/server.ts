import * as Cause from "effect/Cause"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as FiberSet from "effect/FiberSet"
import type * as Scope from "effect/Scope"
import type * as Http from "node:http"
import type * as Net from "node:net"
import type { Options } from "../../../NodeTransportServer.js"
import type { Budget } from "../../../SharedLimits.js"
import type { Connection, Rejection, Service } from "../../../TransportServer.js"
import type { ListenFailure } from "../../../WsmuxError.js"
import { ConnectionHandler } from "../connectionHandler.js"
import type { Settings as TransportSettings } from "../options.js"
import { Admission, type Admitted } from "./admission.js"
import { addressOf, listen } from "./listen.js"
import { refuse } from "./refusal.js"
import { acceptScoped, Upgrader } from "./upgrade.js"
import { listenToUpgrades } from "./upgradeListener.js"

type Settings<R, P> = Options<R, P> & TransportSettings & {
  readonly port: number
  readonly host: string
  readonly maxConnections: number
  readonly connections: Budget
  readonly upgradeTimeout: Duration.Duration
}

/**
 * An upgrade under way. A session lives long and headers may be large, so each field is cleared at its last use: the
 * fiber of a connection keeps the upgrade.
 */
interface Upgrade<P> {
  readonly socket: Net.Socket
  request: Http.IncomingMessage | undefined
  head: Buffer | undefined
  connection?: Connection<P> | undefined
}

/** Makes a server: every upgrade is a fiber that is admitted, accepted and handled, or refused. */
export const make = <R, P>(
  settings: Settings<R, P>
): Effect.Effect<Service<P>, ListenFailure, R | Scope.Scope> =>
  Effect.gen(function*() {
    const { server, stop } = settings.server === undefined
      ? yield* listen(settings)
      : { server: settings.server, stop: Effect.void } // the port is the program's own
    const upgrader = new Upgrader(settings)
    const connections = yield* FiberSet.make<void>()
    const fork = yield* FiberSet.runtime(connections)<R>()
    const handler = new ConnectionHandler<P>()
    const admission = new Admission(settings, handler, FiberSet.size(connections))

    const reject = (socket: Net.Socket, request: Http.IncomingMessage, cause: Cause.Cause<Rejection>) =>
      Effect.zipRight(refuse(socket, cause), reportRejection(settings, request, cause))
    const serve = (upgrade: Upgrade<P>) =>
      Effect.suspend(() => admission.admit(upgrade.request!)).pipe(
        Effect.onInterrupt(() => Effect.sync(() => upgrade.socket.destroy())),
        Effect.matchCauseEffect({
          onFailure: (cause) => reject(upgrade.socket, upgrade.request!, cause),
          onSuccess: (admitted) => accept(upgrader, upgrade, admitted)
        }),
        Effect.scoped
      )
    yield* listenToUpgrades(
      server,
      settings.path,
      (request, socket, head) => fork(serve({ request, socket, head })),
      (request, socket) => fork(reject(socket, request, Cause.fail({ status: 404 })))
    )
    return {
      maxMessageSize: settings.maxMessageSize,
      get address() {
        return addressOf(server)
      },
      run: (handle) => handler.run(handle, FiberSet.clear(connections)),
      stopAccepting: Effect.zipRight(handler.stop, stop)
    }
  })

/** Completes an admitted upgrade, and handles its connection. */
const accept = <P>(
  upgrader: Upgrader,
  upgrade: Upgrade<P>,
  { connection, handle, headers }: Admitted<P>
): Effect.Effect<void, never, Scope.Scope> => {
  upgrade.connection = connection
  const takeConnection = () => {
    const connection = upgrade.connection!
    upgrade.connection = undefined
    return connection
  }
  return Effect.flatMap(
    acceptScoped(() => {
      const transport = upgrader.accept(upgrade.request!, upgrade.socket, upgrade.head!, headers)
      upgrade.request = upgrade.head = undefined
      return transport
    }),
    (transport) =>
      transport === undefined ? Effect.void : Effect.zipRight(transport.logSlowPath, handle(transport, takeConnection))
  )
}

/** Tells the program of a rejection. */
const reportRejection = <R, P>(
  { onRejected }: Pick<Settings<R, P>, "onRejected">,
  request: Http.IncomingMessage,
  cause: Cause.Cause<Rejection>
): Effect.Effect<unknown, never, R> => {
  const failure = Cause.failureOption(cause)
  return onRejected === undefined || failure._tag === "None" ? Effect.void : onRejected(failure.value, request)
}
