import * as NodeTransport from "effect-wsmux/NodeTransport"
import * as NodeTransportServer from "effect-wsmux/NodeTransportServer"
import * as Session from "effect-wsmux/Session"
import type * as SessionConfig from "effect-wsmux/SessionConfig"
import { Transport } from "effect-wsmux/Transport"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Predicate from "effect/Predicate"
import type * as Scope from "effect/Scope"
import * as Released from "../../fixtures/released/wsmux-0.1.0.js"
import { FaultProxy } from "../../robustness/faults/proxy.js"
import { firstOf } from "../../support/transports.js"
import type { Flags, GoProcess } from "./goPeer.js"
import type { Link, Options } from "./links.js"
import { requestHttp, serveHttp } from "./peerHttp.js"
import { loads, type Service, services } from "./traffic.js"

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

/**
 * Connects two versions over a real WebSocket. The peer of the session obeys the flags of the Go program. The peer runs
 * in the process of the test, so a signal that freezes or kills it stops or cuts its connection instead.
 */
export const connectTo = (ours: keyof typeof versions, role: Role, theirs: keyof typeof versions) =>
(
  { faults = false, maxMessageSize, rate, ...options }: Options = {},
  flags: Flags = {}
): Effect.Effect<Link & { readonly peer: Session.Session }, unknown, Scope.Scope> =>
  Effect.gen(function*() {
    const [client, server] = role === "client" ? [ours, theirs] : [theirs, ours]
    const sizes = [{ maxMessageSize }, { maxMessageSize: largestMessage }]
    const [dialling, accepting] = role === "client" ? sizes : sizes.reverse()
    const listening = yield* versions[server].listen(accepting)
    const accepted = yield* firstOf(listening)
    const { port } = listening.address as { readonly port: number }
    const proxy = faults || rate !== undefined
      ? yield* FaultProxy.make(port, rate === undefined ? {} : { rate })
      : undefined
    const dialled = yield* versions[client].dial(`ws://127.0.0.1:${proxy?.port ?? port}`, dialling)
    const taken = yield* accepted
    const [near, far] = role === "client" ? [dialled, taken] : [taken, dialled]
    const session = yield* versions[ours].make(role, near, options)
    const peer = yield* versions[theirs].make(role === "client" ? "server" : "client", far, {
      streamBufferSize: flags.buffer,
      keepAliveInterval: millisOf(flags.keepalive),
      streamAcceptDeadline: millisOf(flags["accept-deadline"])
    })
    const go = {
      ...yield* obey(peer, flags),
      signal: (signal: NodeJS.Signals) => Effect.sync(() => send(proxy!, signal))
    }
    return { session, peer, go: go as GoProcess }
  })

/** Serves and opens streams as the flags say. */
const obey = (peer: Session.Session, { serve = "none", ...flags }: Flags) =>
  Effect.gen(function*() {
    if (serve === "http") yield* Effect.forkScoped(serveHttp(peer))
    else if (serve === "hold") yield* Effect.forkScoped(peer.run(() => Effect.never))
    else if (serve !== "none") yield* Effect.forkScoped(peer.run(services[serve]))
    const load = flags.open === undefined || flags.open === "none"
      ? Fiber.never
      : yield* Effect.forkScoped(Effect.tap(run(peer, flags), flags.close === true ? peer.close : Effect.void))
    return {
      next: (kind: string) => kind === "result" ? Fiber.join(load) : Effect.as(peer.awaitClosed, { event: kind })
    }
  })

/** Runs the load for the time that the flags tell, in rounds, and tells of the streams as the Go program does. */
const run = (
  peer: Session.Session,
  { bytes = 0, open, streams = 1, ...flags }: Flags
) =>
  Effect.gen(function*() {
    const one = (seed: number): Effect.Effect<unknown, unknown> =>
      open === "http"
        ? requestHttp(peer, bytes, seed)
        : Effect.scoped(Effect.flatMap(peer.open(), (stream) => loads[open as Service](stream, bytes, seed)))
    const seeds = Array.from({ length: streams }, (_, i) => i + 1)
    const since = performance.now()
    const errors: Array<string> = []
    let rounds = 0
    do {
      if (rounds++ > 0) yield* Effect.sleep(pause)
      const exits = yield* Effect.forEach(seeds, (seed) => Effect.exit(one(seed)), { concurrency: "unbounded" })
      exits.forEach((exit, i) => Exit.isFailure(exit) && errors.push(`stream ${i}: ${describe(exit.cause)}`))
    } while (errors.length === 0 && performance.now() - since < (millisOf(flags["repeat-for"]) ?? 0))
    const failed = errors.length
    return {
      event: "result",
      streams: streams * rounds,
      bytes: (streams * rounds - failed) * bytes,
      ok: failed === 0,
      failed,
      errors,
      seconds: (performance.now() - since) / 1000,
      rounds
    }
  })

/** The largest message that a peer lets in, since a Go peer has no limit. */
const largestMessage = 64 * 1024 * 1024

/** The pause between two rounds in milliseconds. */
const pause = 100

const describe = (cause: Cause.Cause<unknown>): string => {
  const error = Cause.squash(cause)
  return Predicate.isTagged(error, "AcceptTimeout") ? "open: accept timed out" : String(error)
}

const send = (proxy: FaultProxy, signal: NodeJS.Signals): void => {
  if (signal === "SIGKILL") proxy.lose("reset")
  else if (signal === "SIGSTOP") proxy.stall("up", "down")
  else proxy.resume()
}

/** The milliseconds of a duration of Go, such as `600ms`. */
const millisOf = (duration: string | undefined): number | undefined => {
  const [, count, unit] = /^(\d+)(ms|s)$/.exec(duration ?? "") ?? []
  return count === undefined ? undefined : Number(count) * (unit === "s" ? 1000 : 1)
}

/** How many frames of its peer a session has ignored. The count has another name in version 0.1.0. */
export const ignoredBy = (session: Session.Session): Effect.Effect<number> =>
  Effect.map(
    session.snapshot,
    ({ counters }) => "ignored" in counters ? Number(counters.ignored) : counters.ignoredFrames
  )
