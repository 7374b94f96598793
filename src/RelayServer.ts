/**
 * A relay for programs behind firewalls: agents dial in and take a name, and requests for `/NAME/...` go to them as
 * streams. The relay takes the place of Taskcluster's websocktunnel, whose clients can be its agents.
 *
 * `src/relay/README.md` in the repository describes the relay as a whole.
 *
 * @since 0.2.0
 */
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import type * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Redacted from "effect/Redacted"
import type * as Scope from "effect/Scope"
import type * as Tls from "node:tls"
import type { Address } from "./Address.js"
import * as internal from "./relay/server.js"
import { clientAudience } from "./relay/settings.js"
import * as Token from "./relay/token.js"
import type * as RelayDirectory from "./RelayDirectory.js"
import type { InvalidConfiguration, ListenFailure } from "./WsmuxError.js"

/**
 * The options of a relay.
 *
 * @since 0.2.0
 * @category models
 */
export interface Options {
  /** The port to listen on; 0 for any free one. Default 0. */
  readonly port?: number | undefined
  /** The address to listen on. Default `127.0.0.1`, which other machines cannot reach. */
  readonly host?: string | undefined
  /** The certificate, the key and other settings to listen with TLS. */
  readonly tls?: (Tls.SecureContextOptions & Tls.TlsOptions) | undefined
  /** The secrets that may have signed tokens, of 16 characters or more. With two, one can be replaced at a time. */
  readonly secrets: ReadonlyArray<string | Redacted.Redacted>
  /** The audience that tokens of agents may name. Default none: they must name no audience. */
  readonly audience?: string | undefined
  /** The domain below which each name is a host: `NAME.domain`. The path `/NAME` works for other hosts. */
  readonly domain?: string | undefined
  /**
   * The beginning of the URLs that agents are told. Default: the domain, or the address of the relay. An agent of a
   * relay at an address such as 0.0.0.0 is told the address that it has dialled.
   */
  readonly publicUrl?: string | undefined
  /** How long an agent may be silent before it answers; then the client gets 504. Default 30 s. */
  readonly answerTimeout?: Duration.DurationInput | undefined
  /** How long a client may take no byte of an answer. Default 1 minute. */
  readonly stallTimeout?: Duration.DurationInput | undefined
  /** How long a request waits for an agent that has just left, and may dial again. Default 5 s. */
  readonly holdTimeout?: Duration.DurationInput | undefined
  /** The times that a client of the front has for its part. */
  readonly timeouts?: Timeouts | undefined
  readonly limits?: Limits | undefined
  /** The other nodes of the relay. Default: this node is the only one. */
  readonly cluster?: Cluster | undefined
  /** Runs when a request has been served, for an access log. */
  readonly onServed?: ((request: ServedRequest) => void) | undefined
}

/**
 * Joins a node with others: each node answers for every name.
 *
 * @since 0.2.0
 * @category models
 */
export interface Cluster {
  /** The directory that all nodes share. */
  readonly directory: RelayDirectory.Service
  /** The secret by which nodes know each other, of 16 characters or more. Tokens need others. */
  readonly secret: string | Redacted.Redacted
  /** The URL at which other nodes dial this one. Default: the address of the relay, unless it is such as 0.0.0.0. */
  readonly url?: string | undefined
  /** The id of the node. Default a random one. */
  readonly id?: string | undefined
  /**
   * How long the directory knows a node that has died, and how long a node uses what an absent directory said before.
   * Default 15 s.
   */
  readonly ttl?: Duration.DurationInput | undefined
}

/**
 * A request that the relay has served, and the status of its answer. A client that went before it had an answer counts
 * as 499. The path has no query, which may hold secrets.
 *
 * @since 0.2.0
 * @category models
 */
export interface ServedRequest {
  readonly time: string
  readonly name: string
  readonly method: string
  readonly path: string
  readonly status: number
  readonly bytesIn: number
  readonly bytesOut: number
  /** Whether the answer was sent to its end. */
  readonly isWhole: boolean
  readonly millis: number
  readonly remote: string
}

/**
 * What a node holds at the moment, and has served so far.
 *
 * @since 0.2.0
 * @category models
 */
export interface Snapshot {
  readonly agents: number
  readonly names: number
  /** The requests that run. */
  readonly running: number
  readonly requests: number
  readonly bytesIn: number
  readonly bytesOut: number
  /** Milliseconds since the epoch. */
  readonly startedAt: number
  readonly isDraining: boolean
}

/**
 * A name at one node: its agents, and the requests and streams that run through them.
 *
 * @since 0.2.0
 * @category models
 */
export interface NameSnapshot {
  readonly name: string
  readonly agents: number
  readonly streams: number
}

/**
 * The report of a node of the relay.
 *
 * @since 0.2.0
 * @category models
 */
export interface NodeReport extends RelayDirectory.Node {
  /** Undefined where the node did not answer within 2 s. */
  readonly snapshot: Snapshot | undefined
  /** The names with the most streams, at most 100. */
  readonly busiest: ReadonlyArray<NameSnapshot>
}

/**
 * The reports of all nodes of the relay.
 *
 * @since 0.2.0
 * @category models
 */
export interface NodeReports {
  /** The node that was asked comes first. */
  readonly nodes: ReadonlyArray<NodeReport>
  /** Whether the directory did not answer. Then the nodes are those that it told last. */
  readonly isDirectoryAway: boolean
}

/**
 * The times that a client of the HTTP front has for its part. A slower one gets 408.
 *
 * @since 0.2.0
 * @category models
 */
export interface Timeouts {
  /** For the headers of a request. Default 10 s. */
  readonly headers?: Duration.DurationInput | undefined
  /** For a whole request. Default 5 minutes. */
  readonly request?: Duration.DurationInput | undefined
  /** Between two requests on one connection. Default 65 s, more than the minute of most balancers. */
  readonly keepAlive?: Duration.DurationInput | undefined
}

/**
 * The limits of a node, and of each name. Nodes that share a directory share the limits of names. While the directory
 * is away, the limits of names hold at each node.
 *
 * @since 0.2.0
 * @category models
 */
export interface Limits {
  /** The sessions of this node: those of agents, clients and other nodes. Default 20,000. */
  readonly maxAgents?: number | undefined
  /** The agents that share one name. Default 64. */
  readonly maxAgentsPerName?: number | undefined
  /** The streams that peers may have open at this node. Default 20,000. */
  readonly maxStreams?: number | undefined
  /** The requests and streams that run through the agents of one name. A further one gets 503. Default 1,000. */
  readonly maxStreamsPerName?: number | undefined
  /** The requests of one name in a second, and in a burst. A further one gets 429. Default unlimited. */
  readonly requestsPerSecond?: number | undefined
  /** The bytes of one name in a second. While a name is above, its requests get 429. Default unlimited. */
  readonly bytesPerSecond?: number | undefined
}

/**
 * The options of `drain`.
 *
 * @since 0.2.0
 * @category models
 */
export interface DrainOptions {
  /** How long requests that run may go on. Default 30 s. */
  readonly grace?: Duration.DurationInput | undefined
}

/**
 * A relay that listens.
 *
 * @since 0.2.0
 * @category models
 */
export interface Service {
  readonly address: Address
  /** Returns the URL at which the agent of a name is reached. */
  readonly urlOf: (name: string) => string
  readonly snapshot: Effect.Effect<Snapshot>
  /** Asks all nodes that the directory knows, at once. Completes within 4 s. */
  readonly nodes: Effect.Effect<NodeReports>
  /**
   * Tells the agents to dial another node, and takes no new ones. Requests go on, and wait for agents that move.
   * Completes when the agents have gone and the requests that ran are answered, or the grace has passed. The scope of
   * the relay closes the rest.
   */
  readonly drain: (options?: DrainOptions) => Effect.Effect<void>
}

/**
 * @since 0.2.0
 * @category context
 */
export class RelayServer extends Context.Tag("effect-wsmux/RelayServer")<RelayServer, Service>() {}

/**
 * Listens, and relays requests until the scope closes.
 *
 * - An agent dials `/` with the header `x-websocktunnel-id: NAME` and a bearer token. The answer tells the public URL
 *   in `x-websocktunnel-client-url`. Go's clients do so. Agents of this package add `agentHeaders`.
 * - A request for `/NAME/path` goes to the agent as `/path`, and so does an upgrade. Each has a stream of its own. A
 *   client that goes is a reset at the agent.
 * - The client gets 404 for an unknown name, 502 when the agent fails, 503 when the agent is away or has too many
 *   requests, and 504 when the agent is silent.
 * - The newest token of a name rules: its agent takes the place of those with older tokens.
 *
 * Fails with `InvalidConfiguration`, or with `ListenFailure`.
 *
 * @example
 * ```ts
 * import * as RelayServer from "effect-wsmux/RelayServer"
 * import * as Config from "effect/Config"
 * import * as Effect from "effect/Effect"
 *
 * export const main = Effect.scoped(Effect.gen(function*() {
 *   const secret = yield* Config.redacted("RELAY_SECRET")
 *   const relay = yield* RelayServer.make({ port: 8080, secrets: [secret] })
 *   yield* Effect.log(`agents are reached at ${relay.urlOf("NAME")}`)
 *   return yield* Effect.never
 * }))
 * ```
 *
 * @since 0.2.0
 * @category constructors
 */
export const make = (
  options: Options
): Effect.Effect<Service, InvalidConfiguration | ListenFailure, Scope.Scope> => internal.make(options)

/**
 * Provides a relay that listens.
 *
 * @since 0.2.0
 * @category layers
 */
export const layer = (options: Options): Layer.Layer<RelayServer, InvalidConfiguration | ListenFailure> =>
  Layer.scoped(RelayServer, make(options))

/**
 * The claims of a token. Times are in seconds.
 *
 * @since 0.2.0
 * @category models
 */
export interface TokenOptions {
  /** The name for which the token is. */
  readonly name: string
  readonly issuedAt: number
  readonly expiresAt: number
  /** The audience that the relay expects of agents. */
  readonly audience?: string | undefined
}

/**
 * Returns a token for an agent, as websocktunnel demands: HS256, with `tid`, `iat`, `nbf` and `exp`. A token is valid
 * for at most 31 days. Of two agents, the one with the newer token has the name.
 *
 * @since 0.2.0
 * @category tokens
 */
export const agentToken = ({ audience, expiresAt, issuedAt, name }: TokenOptions, secret: string): string =>
  Token.sign({
    tid: name,
    iat: issuedAt,
    nbf: issuedAt,
    exp: expiresAt,
    ...(audience === undefined ? {} : { aud: audience })
  }, secret)

/**
 * The limits of all clients with one token, beside those of the name.
 *
 * @since 0.2.0
 * @category models
 */
export interface TokenLimits {
  /** The streams that run through one node. A further one is refused. */
  readonly maxStreams?: number | undefined
  /** The streams that are opened in a second, and in a burst. */
  readonly requestsPerSecond?: number | undefined
  /** The bytes in a second. While the token is above, its streams are refused. */
  readonly bytesPerSecond?: number | undefined
}

/**
 * The claims of a token for a client.
 *
 * @since 0.2.0
 * @category models
 */
export interface ClientTokenOptions extends Omit<TokenOptions, "audience"> {
  readonly user: string
  readonly limits?: TokenLimits | undefined
}

/**
 * Returns a token for a client that opens streams to the agents of a name. The agents are told the user in the
 * metadata `relay-user`. A client dials `/NAME` with the token as bearer. A page can choose no headers: it dials with
 * the subprotocols `wsmux-relay` and `wsmux-token.TOKEN`.
 *
 * @since 0.2.0
 * @category tokens
 */
export const clientToken = (
  { expiresAt, issuedAt, limits, name, user }: ClientTokenOptions,
  secret: string
): string =>
  Token.sign({
    aud: clientAudience,
    tid: name,
    sub: user,
    iat: issuedAt,
    nbf: issuedAt,
    exp: expiresAt,
    ...(limits === undefined ? {} : { limits })
  }, secret)

/**
 * Returns the headers with which an agent of this package dials the relay. Agents with the same token and different
 * `program`s share the load of the name. A `program` that dials again takes the place of its earlier connection. The
 * streams of requests have the label `http`.
 *
 * @since 0.2.0
 * @category agents
 */
export const agentHeaders = (agent: {
  readonly name: string
  readonly token: string
  /** Which program this is, such as a random text of the process. */
  readonly program: string
}): Readonly<Record<string, string>> => ({
  authorization: `Bearer ${agent.token}`,
  "x-websocktunnel-id": agent.name,
  "wsmux-relay-agent": agent.program
})
