import * as Address from "effect-wsmux/Address"
import * as NodeTransport from "effect-wsmux/NodeTransport"
import * as NodeTransportServer from "effect-wsmux/NodeTransportServer"
import * as Session from "effect-wsmux/Session"
import type * as SessionConfig from "effect-wsmux/SessionConfig"
import * as SessionServer from "effect-wsmux/SessionServer"
import { Transport } from "effect-wsmux/Transport"
import { TransportServer } from "effect-wsmux/TransportServer"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { FaultProxy } from "../../robustness/faults/proxy.js"
import { patience, within } from "../../support/within.js"
import { type Flags, type GoProcess, start } from "./goPeer.js"

/** A session with a Go process as its peer. */
export interface Link {
  readonly session: Session.Session
  readonly go: GoProcess
}

export interface Options extends SessionConfig.PartialSettings {
  /** The largest message that our transport lets in. */
  readonly maxMessageSize?: number
  /** Bytes per second, in each direction, where the link has a limit. */
  readonly rate?: number
  /** Whether the test sends signals to the peer. A Go process always takes them. */
  readonly faults?: boolean
}

/** Connects a session with a peer that obeys the flags of the Go program. */
export type Connect = (options?: Options, flags?: Flags) => Effect.Effect<Link, unknown, Scope.Scope>

/** The same sessions without the dialect. */
export const plainly = (connect: Connect): Connect => (options, flags) => connect({ ...options, dialect: "off" }, flags)

/** Go listens, and the test dials: as the server when Go has the role of the client. */
export const dialGo = ({ faults: _, maxMessageSize, rate, ...options }: Options = {}, flags: Flags = {}) =>
  Effect.gen(function*() {
    const go = yield* start({ listen: "127.0.0.1:0", ...flags })
    const { address } = yield* go.next("listening")
    const url = rate === undefined ? `ws://${address}` : yield* limited(address, rate)
    const transport = yield* NodeTransport.connect(url, { maxMessageSize })
    const make = flags.role === "client" ? Session.makeServer : Session.makeClient
    const session = yield* Effect.provideService(make(options), Transport, transport)
    return { session, go } satisfies Link
  })

const limited = (address: string, rate: number) =>
  Effect.map(
    FaultProxy.make(Number(new URL(`ws://${address}`).port), { rate }),
    ({ port }) => `ws://127.0.0.1:${port}`
  )

/** The test listens, and Go dials as the client. */
export const listenForGo = ({ faults: _, maxMessageSize, rate, ...options }: Options = {}, flags: Flags = {}) =>
  Effect.gen(function*() {
    const connected = yield* Deferred.make<Session.Session>()
    const server = yield* Effect.provideServiceEffect(
      SessionServer.make(options),
      TransportServer,
      NodeTransportServer.make({ maxMessageSize })
    )
    yield* Effect.forkScoped(server.run((session) => keep(connected, session)))
    const address = Address.format(server.address)
    return yield* dialUs(rate === undefined ? `ws://${address}` : yield* limited(address, rate), flags, connected)
  })

/** The test listens as the client, and Go dials as the server. */
export const listenForGoServer = (options: SessionConfig.PartialSettings = {}, flags: Flags = {}) =>
  Effect.gen(function*() {
    const connected = yield* Deferred.make<Session.Session>()
    const server = yield* NodeTransportServer.make()
    const run = server.run((transport) =>
      Session.makeClient(options).pipe(
        Effect.provideService(Transport, transport),
        Effect.flatMap((session) => keep(connected, session))
      )
    )
    yield* Effect.forkScoped(run)
    return yield* dialUs(`ws://${Address.format(server.address)}`, { role: "server", ...flags }, connected)
  })

const keep = (connected: Deferred.Deferred<Session.Session>, session: Session.Session) =>
  Effect.zipRight(Deferred.succeed(connected, session), session.awaitClosed)

const dialUs = (
  url: string,
  flags: Flags,
  connected: Deferred.Deferred<Session.Session>
): Effect.Effect<Link, never, Scope.Scope> =>
  Effect.gen(function*() {
    const go = yield* start({ dial: url, ...flags })
    return { session: yield* Deferred.await(connected).pipe(within(patience, "the session that Go dials")), go }
  })

/** The roles of a session with Go: each end dials. */
export const eachRole = [["we dialled", dialGo], ["Go dialled", listenForGo]] as const

/** Each role, with the dialect on and off. */
export const eachWay: ReadonlyArray<readonly [how: string, connect: Connect]> = eachRole.flatMap(([who, connect]) => [
  [who, connect],
  [`${who} without the dialect`, plainly(connect)]
])
