import * as Address from "effect-wsmux/Address"
import * as NodeTransport from "effect-wsmux/NodeTransport"
import * as NodeTransportServer from "effect-wsmux/NodeTransportServer"
import * as Session from "effect-wsmux/Session"
import type * as SessionConfig from "effect-wsmux/SessionConfig"
import { Transport } from "effect-wsmux/Transport"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import type * as Scope from "effect/Scope"
import * as Released from "../../fixtures/released/wsmux-0.1.0.js"
import { firstOf } from "../../support/transports.js"
import type { Flags, GoProcess } from "./goPeer.js"
import type { Link } from "./links.js"
import { openMany, type Service, services } from "./traffic.js"

/** An end of a session: how it listens, dials and makes its session. */
interface Version {
  readonly listen: typeof NodeTransportServer.make
  readonly dial: typeof NodeTransport.connect
  readonly make: (
    role: Role,
    transport: Transport,
    options: SessionConfig.PartialSettings
  ) => Effect.Effect<Session.Session, unknown, Scope.Scope>
}

type Role = "client" | "server"

const speaking = (dialect: SessionConfig.Settings["dialect"] | undefined): Version => ({
  listen: NodeTransportServer.make,
  dial: NodeTransport.connect,
  make: (role, transport, options) =>
    Effect.provideService(
      (role === "client" ? Session.makeClient : Session.makeServer)({ ...options, dialect }),
      Transport,
      transport
    )
})

/** The versions of this package, and its settings, that meet each other. */
export const versions = {
  native: speaking(undefined),
  required: speaking("required"),
  plain: speaking("off"),
  "0.1.0": {
    listen: Released.WsTransportServer.make,
    dial: Released.WsTransport.connect,
    make: (role, transport, options) =>
      Effect.provideService(
        (role === "client" ? Released.Session.makeClient : Released.Session.makeServer)(options),
        Released.Transport,
        transport
      )
  }
} satisfies Readonly<Record<string, Version>>

/** Connects two versions over a real WebSocket. The peer of the session obeys the flags of the Go program. */
export const connectTo = (ours: keyof typeof versions, role: Role, theirs: keyof typeof versions) =>
(
  options: SessionConfig.PartialSettings = {},
  { buffer, bytes = 0, open = "none", serve = "none", streams = 1 }: Flags = {}
): Effect.Effect<Link & { readonly peer: Session.Session }, unknown, Scope.Scope> =>
  Effect.gen(function*() {
    const [client, server] = role === "client" ? [ours, theirs] : [theirs, ours]
    const listening = yield* versions[server].listen()
    const accepted = yield* firstOf(listening)
    const dialled = yield* versions[client].dial(`ws://${Address.format(listening.address)}`)
    const taken = yield* accepted
    const [near, far] = role === "client" ? [dialled, taken] : [taken, dialled]
    const session = yield* versions[ours].make(role, near, options)
    const peer = yield* versions[theirs].make(role === "client" ? "server" : "client", far, {
      streamBufferSize: buffer
    })
    if (isService(serve)) yield* Effect.forkScoped(peer.run(services[serve]))
    const load = isService(open) ? yield* Effect.forkScoped(openMany(peer, open, streams, bytes)) : Fiber.never
    const result = { event: "result", streams, bytes: streams * bytes, ok: true, failed: 0, errors: [], rounds: 1 }
    const next = () => Effect.as(Effect.orDie(Fiber.join(load)), { ...result, seconds: 0 })
    return { session, peer, go: { next, signal: () => Effect.void } as unknown as GoProcess }
  })

/** How many frames of its peer a session has ignored. The count has another name in version 0.1.0. */
export const ignoredBy = (session: Session.Session): Effect.Effect<number> =>
  Effect.map(
    session.snapshot,
    ({ counters }) => "ignored" in counters ? Number(counters.ignored) : counters.ignoredFrames
  )

const isService = (service: string): service is Service => Object.hasOwn(services, service)
