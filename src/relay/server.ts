import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import type * as Scope from "effect/Scope"
import { randomUUID } from "node:crypto"
import * as Http from "node:http"
import { format } from "../Address.js"
import { merge } from "../internal/settings/validate.js"
import { relayHeader, urlHeader } from "../internal/text/relayHeaders.js"
import { shortestSecret } from "../internal/text/shortestSecret.js"
import { addressOf } from "../internal/transport/node/listen.js"
import * as NodeTransportServer from "../NodeTransportServer.js"
import type * as RelayServer from "../RelayServer.js"
import type { Session } from "../Session.js"
import * as SessionServer from "../SessionServer.js"
import * as SharedLimits from "../SharedLimits.js"
import { InvalidConfiguration, type ListenFailure } from "../WsmuxError.js"
import { isHost, isUnspecified, pathOf } from "./address.js"
import { serveAgent } from "./agents.js"
import { serveClient } from "./clients.js"
import { drain } from "./drain.js"
import * as Front from "./front.js"
import * as Gate from "./gate.js"
import { Limits } from "./limits.js"
import { listen } from "./listen.js"
import { Membership } from "./membership.js"
import { type Agent, Names } from "./names.js"
import * as Nodes from "./nodes.js"
import * as Report from "./report.js"
import { Sessions } from "./sessions.js"
import { clientAudience, type Cluster, millis, type Settings } from "./settings.js"
import { ignoreUpgrade, isForHttp2 } from "./upgrade.js"
import { type OtherNodes, Ways } from "./ways.js"

/** Makes the relay: see `RelayServer.make`. */
export const make = (
  options: RelayServer.Options
): Effect.Effect<RelayServer.Service, InvalidConfiguration | ListenFailure, Scope.Scope> =>
  Effect.gen(function*() {
    const settings = yield* resolve(options)
    const clock = yield* Effect.clock
    const now = () => Number(clock.unsafeCurrentTimeNanos()) / 1e6
    const holdMillis = millis(settings.holdTimeout)
    const { cluster } = settings
    const id = cluster?.id ?? "single"
    const names = new Names(2 * holdMillis, id) // a request that has waited finds the name known
    // The nodes know the address of this one, and the requests at that address need the nodes.
    let others: OtherNodes = { open: () => Effect.succeedNone }
    const ways = new Ways(
      names,
      { open: (name, purpose) => others.open(name, purpose) },
      holdMillis,
      settings.limits.maxStreamsPerName,
      now
    )
    const limits = new Limits(now, settings.cluster?.directory)
    let isDraining = false
    const counters = { requests: 0, bytesIn: 0, bytesOut: 0 }
    const front = yield* Front.make(ways, {
      domain: settings.domain,
      timeouts: { answerMillis: millis(settings.answerTimeout), stallMillis: millis(settings.stallTimeout) },
      isDraining: () => isDraining,
      limits,
      rates: settings.limits,
      onServed: (request, served) => {
        counters.requests++
        counters.bytesIn += served.in
        counters.bytesOut += served.out
        options.onServed?.(recordOf(request, served, clock.unsafeCurrentTimeMillis()))
      },
      now
    })

    // Sessions come from a server without a port, to which the front hands their upgrade requests.
    const gate = new Http.Server()
    const server: Http.Server = yield* listen(options, {
      onRequest: (request, response) =>
        heartbeat.test(request.url ?? "")
          ? void response.writeHead(isDraining ? 503 : 200).end()
          : front.onRequest(request, response),
      onUpgrade: (request, socket, head) => {
        if (isForHttp2(request)) ignoreUpgrade(server, request, socket, head)
        else if (Gate.isForRelay(request)) gate.emit("upgrade", request, socket, head)
        else front.onUpgrade(request, socket, head)
      }
    })
    yield* Effect.addFinalizer(() => Effect.sync(front.lose)) // before the server ends its connections
    const address = addressOf(server)
    const secure = options.tls === undefined ? "" : "s"
    const ownUrl = `http${secure}://${format(address)}`
    const publicUrl = publicUrlOf(settings, ownUrl)
    /** An agent of a relay that listens at every address is told the one that it has dialled. */
    const urlFor = ({ headers }: Http.IncomingMessage, name: string) =>
      isUnspecified(ownUrl) && settings.domain === undefined &&
        /^[\w.-]+(:\d+)?$|^\[[\da-f:.]+\](:\d+)?$/i.test(headers.host ?? "")
        ? publicUrlOf(settings, `http${secure}://${headers.host}`)(name)
        : publicUrl(name)

    const node = { id, url: cluster?.url ?? `ws${secure}://${format(address)}/` }
    if (cluster !== undefined && (!URL.canParse(node.url) || isUnspecified(node.url))) {
      const given = cluster.url === undefined ? "beside an address such as 0.0.0.0" : `not ${cluster.url}`
      const detail = `expected the URL at which other nodes reach this one, ${given}`
      return yield* new InvalidConfiguration({ setting: "cluster.url", detail })
    }
    const startedAt = clock.unsafeCurrentTimeMillis()
    const snapshot = (): RelayServer.Snapshot => ({
      ...names.size,
      running: front.running().length,
      ...counters,
      startedAt,
      isDraining
    })
    const told = Effect.sync(() => ({ snapshot: snapshot(), busiest: Report.busiest(names) }))
    let allNodes = Report.gather({ node, own: told, others: undefined })
    const membership = cluster && new Membership(cluster.directory, node, names, settings.limits.maxAgentsPerName, now)
    if (cluster !== undefined && membership !== undefined) {
      const nodes = yield* Nodes.make({
        ...cluster,
        node,
        now,
        memoryMillis: 2 * holdMillis,
        onFound: (name, entry) => void (names.epochOf(name) === entry.epoch && names.setOwners(name, entry.nodes)),
        session: sessionSettings(settings)
      })
      others = nodes
      allNodes = Report.gather({ node, own: told, others: { directory: cluster.directory, ask: nodes.ask } })
      yield* membership.start(cluster.ttlMillis, ({ name }) => nodes.forget(name))
    }

    const peers: Gate.Peers = {
      admitsNode: (token, id, seconds) =>
        cluster !== undefined && Nodes.admit(cluster.secret, node, token, id, seconds),
      weigh: (agent) => membership?.weigh(agent) ?? Effect.succeed("admitted")
    }
    const transports = yield* NodeTransportServer.make<never, Gate.Principal>({
      server: gate,
      allowedOrigins: "*", // a page shows a token of its own, and no cookie lets it in
      maxConnections: settings.limits.maxAgents,
      authorize: (request) =>
        Effect.flatMap(Clock.currentTimeMillis, (time) => Gate.admit(request, settings, names, peers, time / 1000)),
      answerHeaders: (request, principal): Record<string, string> => {
        switch (principal.kind) {
          case "agent":
            return { [urlHeader]: urlFor(request, principal.name) }
          case "client":
            return { [relayHeader]: principal.name }
          case "node":
            return {}
        }
      }
    })
    const sessions = yield* SessionServer.fromTransportServer(transports, sessionSettings(settings))
    const owner = {
      names,
      now,
      claim: (agent: Agent) => membership?.claim(agent) ?? Effect.void,
      release: (agent: Agent) => membership?.release(agent) ?? Effect.void
    }
    const open = new Sessions()
    const clientLimits = { limits, ofName: settings.limits, streams: new Map<string, number>() }
    const serve = (session: Session<Gate.Principal>): Effect.Effect<unknown, unknown, Scope.Scope> => {
      const { principal } = session
      switch (principal.kind) {
        case "agent":
          return serveAgent(session, principal, owner)
        case "client":
          return serveClient(session, principal, ways, clientLimits)
        case "node":
          return Nodes.serve(session, ways, Effect.map(told, Report.encode))
      }
    }
    yield* Effect.forkScoped(
      sessions.run((session) => Effect.zipRight(open.add(session, session.principal), serve(session)))
    )

    return {
      address,
      urlOf: publicUrl,
      snapshot: Effect.sync(snapshot),
      nodes: allNodes,
      drain: ({ grace }: RelayServer.DrainOptions = {}) =>
        Effect.suspend(() => {
          isDraining = true
          return drain({
            sessions: open,
            drainSessions: sessions.drain,
            leave: membership?.leave ?? Effect.void,
            server,
            running: front.running,
            awaitNoRequest: front.awaitEmpty
          }, grace ?? Duration.seconds(30))
        })
    }
  }).pipe(
    Effect.provide(SharedLimits.layer({
      maxConnections: options.limits?.maxAgents ?? defaultLimits.maxAgents,
      maxStreams: options.limits?.maxStreams ?? defaultLimits.maxStreams
    }))
  )

/** The requests by which a balancer asks websocktunnel whether it lives. */
const heartbeat = /^\/__(lb)?heartbeat__$/

const defaultLimits = {
  maxAgents: 20_000,
  maxAgentsPerName: 64,
  maxStreams: 20_000,
  maxStreamsPerName: 1000,
  requestsPerSecond: Infinity,
  bytesPerSecond: Infinity
}

const resolve = (options: RelayServer.Options): Effect.Effect<Settings, InvalidConfiguration> =>
  Effect.suspend(() => {
    const invalid = (setting: string, detail: string) => Effect.fail(new InvalidConfiguration({ setting, detail }))
    const secrets = options.secrets.map(textOf)
    const { audience, cluster } = options
    if (secrets.length === 0 || secrets.some(isShort)) {
      return invalid("secrets", `expected one or more secrets of at least ${shortestSecret} characters`)
    }
    if (cluster !== undefined && (isShort(textOf(cluster.secret)) || secrets.includes(textOf(cluster.secret)))) {
      return invalid("cluster.secret", `expected another secret of at least ${shortestSecret} characters`)
    }
    if (audience === clientAudience) return invalid("audience", `${clientAudience} is that of clients`)
    return Effect.succeed({
      secrets,
      audience,
      domain: options.domain?.toLowerCase(),
      publicUrl: options.publicUrl?.replace(/\/$/, ""),
      answerTimeout: options.answerTimeout ?? Duration.seconds(30),
      stallTimeout: options.stallTimeout ?? Duration.minutes(1),
      holdTimeout: options.holdTimeout ?? Duration.seconds(5),
      limits: merge(defaultLimits, options.limits ?? {}),
      cluster: cluster && {
        directory: cluster.directory,
        id: cluster.id ?? randomUUID(),
        url: cluster.url,
        secret: textOf(cluster.secret),
        ttlMillis: millis(cluster.ttl ?? Duration.seconds(15))
      } satisfies Cluster
    })
  })

const textOf = (secret: string | Redacted.Redacted): string =>
  Redacted.isRedacted(secret) ? Redacted.value(secret) : secret

const isShort = (secret: string): boolean => secret.length < shortestSecret

/** The settings of all sessions. Windows grow to those of websocktunnel, whose clients believe in their own. */
const sessionSettings = ({ answerTimeout, limits }: Settings) => ({
  streamBufferSize: 256 * 1024,
  maxStreamBufferSize: 4 * 1024 * 1024,
  maxPeerWindow: 4 * 1024 * 1024,
  maxStreams: limits.maxStreams,
  keepAliveInterval: Duration.seconds(20), // as websocktunnel
  streamAcceptDeadline: answerTimeout,
  discardLimit: 256 * 1024 // an agent without resets learns of a client that has gone when its credit ends
})

const publicUrlOf = ({ domain, publicUrl }: Settings, ownUrl: string) => (name: string): string => {
  if (publicUrl !== undefined) return `${publicUrl}/${name}`
  if (domain === undefined) return `${ownUrl}/${name}`
  const url = new URL(ownUrl)
  const port = url.port === "" ? "" : `:${url.port}`
  return isHost(name) ? `${url.protocol}//${name}.${domain}${port}` : `${url.protocol}//${domain}${port}/${name}`
}

/** A line of an access log. The query is left out, since it may hold secrets. */
const recordOf = (request: Http.IncomingMessage, served: Front.Served, time: number): RelayServer.ServedRequest => ({
  time: new Date(time).toISOString(),
  name: served.name ?? "",
  method: request.method ?? "",
  path: pathOf(request.url),
  status: served.status,
  bytesIn: served.in,
  bytesOut: served.out,
  isWhole: served.isWhole,
  millis: Math.round(served.millis),
  remote: request.socket.remoteAddress ?? ""
})
