import * as Effect from "effect/Effect"
import type * as Http from "node:http"
import { isName } from "../internal/text/agentName.js"
import { nameHeader } from "../internal/text/relayHeaders.js"
import type { Ruling } from "../RelayDirectory.js"
import type { Rejection } from "../TransportServer.js"
import { parse, pathOf } from "./address.js"
import type { Rates } from "./limits.js"
import type { Names } from "./names.js"
import { clientAudience, type Settings } from "./settings.js"
import * as Token from "./token.js"

/** The other end of a session with the relay. */
export type Principal =
  | {
    readonly kind: "agent"
    readonly name: string
    readonly epoch: number
    readonly program: string | undefined
  }
  | {
    readonly kind: "client"
    readonly name: string
    readonly user: string
    /** A text that no other token has, and the limits of the token. */
    readonly token: string
    readonly limits: TokenLimits
  }
  | { readonly kind: "node"; readonly id: string }

/** The limits of the clients with one token. */
export interface TokenLimits extends Rates {
  readonly maxStreams: number
}

/** The header by which an agent of this package tells which program it is. Its streams have labels. */
export const programHeader = "wsmux-relay-agent"

/** The header by which another node tells its id. */
export const nodeHeader = "wsmux-relay-node"

/**
 * The subprotocol that makes an upgrade request for a name one of a client that opens streams, as a bearer token of
 * clients does. Other upgrade requests go to the agent. A page can choose subprotocols, and no headers.
 */
export const clientProtocol = "wsmux-relay"

/** The subprotocol by which a page shows its token. */
const tokenProtocol = /^wsmux-token\.([\w.-]+)$/

/** Whether an upgrade request is for the relay itself. */
export const isForRelay = ({ headers, url }: Http.IncomingMessage): boolean =>
  (pathOf(url) === "/" && (headers[nameHeader] !== undefined || headers[nodeHeader] !== undefined)) ||
  protocolsOf(headers).includes(clientProtocol) ||
  Token.isFor(Token.unverified(bearer(headers)) ?? {}, clientAudience)

const protocolsOf = (headers: Http.IncomingHttpHeaders): ReadonlyArray<string> =>
  (headers["sec-websocket-protocol"] ?? "").split(",").map((protocol) => protocol.trim())

/** What the other nodes know of those who dial. */
export interface Peers {
  /** Whether the token is one of another node. */
  readonly admitsNode: (token: string, id: string, now: number) => boolean
  /** Tells what the directory thinks of an agent. */
  readonly weigh: (
    agent: { readonly epoch: number; readonly name: string; readonly program: string | undefined }
  ) => Effect.Effect<Ruling>
}

/** Tells who asks for a session with the relay, or refuses. */
export const admit = (
  request: Http.IncomingMessage,
  settings: Settings,
  names: Names,
  peers: Peers,
  now: number
): Effect.Effect<Principal, Rejection> => {
  const { headers, url } = request
  const protocols = protocolsOf(headers)
  if (pathOf(url) === "/" && headers[nodeHeader] !== undefined) {
    const id = String(headers[nodeHeader])
    return peers.admitsNode(bearer(headers), id, now) ? Effect.succeed({ kind: "node", id }) : unauthorized
  }
  if (pathOf(url) === "/" && headers[nameHeader] !== undefined) return admitAgent(headers, settings, names, peers, now)
  const asked = parse(request, settings.domain)
  if (asked === undefined) return Effect.fail({ status: 404 })
  // `ws` answers with the first protocol, which must not be the token
  if (protocols.includes(clientProtocol) && protocols[0] !== clientProtocol) {
    return Effect.fail({ status: 400, message: `${clientProtocol} must be the first subprotocol` })
  }
  const shown = protocols.map((protocol) => tokenProtocol.exec(protocol)?.[1]).find((token) => token !== undefined)
  const token = shown ?? bearer(headers)
  const claims = Token.verify(token, settings.secrets, now)
  if (claims === undefined || !Token.isFor(claims, clientAudience)) return unauthorized
  const { limits, sub, tid } = claims
  const allowed = Array.isArray(tid) ? tid : [tid]
  if (!allowed.includes(asked.name)) return Effect.fail({ status: 403, message: "the token is for another name" })
  return Effect.succeed({
    kind: "client",
    name: asked.name,
    user: typeof sub === "string" ? sub.slice(0, 256) : "",
    token: token.slice(token.lastIndexOf(".") + 1), // its signature
    limits: limitsOf(limits)
  })
}

/** Returns the limits that a token names. */
const limitsOf = (claim: unknown): TokenLimits => {
  const given = (typeof claim === "object" && claim !== null ? claim : {}) as Readonly<Record<string, unknown>>
  const positive = (value: unknown): number => typeof value === "number" && value > 0 ? value : Infinity
  return {
    maxStreams: positive(given.maxStreams),
    requestsPerSecond: positive(given.requestsPerSecond),
    bytesPerSecond: positive(given.bytesPerSecond)
  }
}

/** The checks and answers of websocktunnel, whose clients give up at 4xx and dial again at other failures. */
const admitAgent = (
  headers: Http.IncomingHttpHeaders,
  { audience, limits, secrets }: Settings,
  names: Names,
  { weigh }: Peers,
  now: number
): Effect.Effect<Principal, Rejection> => {
  const name = String(headers[nameHeader])
  const token = bearer(headers)
  if (!isName(name) || token === "") return Effect.fail({ status: 400 })
  const claims = Token.verify(token, secrets, now)
  if (claims === undefined || claims.tid !== name || !isAgentAudience(claims, audience) || isTooLong(claims)) {
    return unauthorized
  }
  // the directory knows an agent that does not tell its program by an empty one
  const program = String(headers[programHeader] ?? "").slice(0, 128) || undefined
  const agent = { name, epoch: Token.madeAt(claims), program }
  if (agent.epoch < (names.epochOf(name) ?? 0)) return Effect.fail(superseded)
  if (names.countBeside(agent) >= limits.maxAgentsPerName) return Effect.fail(full)
  return Effect.flatMap(weigh(agent), (ruling) => {
    if (ruling === "admitted") return Effect.succeed({ kind: "agent", ...agent } as const)
    return Effect.fail(ruling === "full" ? full : superseded)
  })
}

const superseded: Rejection = { status: 409, message: "an agent with a newer token has the name" }

const full: Rejection = { status: 503, message: "the name has too many agents", headers: { "retry-after": "10" } }

/** As Go's check: a token that names an audience needs the one of this relay. */
const isAgentAudience = (claims: Token.Claims, audience: string | undefined): boolean =>
  claims.aud === undefined || (audience !== undefined && Token.isFor(claims, audience))

/** A token of websocktunnel is valid for at most 31 days. */
const isTooLong = ({ exp, nbf }: Token.Claims): boolean => Number(exp) - Number(nbf) > 31 * 24 * 3600

const bearer = ({ authorization }: Http.IncomingHttpHeaders): string =>
  /^Bearer ([\x21-\x7e]+)$/i.exec(authorization ?? "")?.[1] ?? ""

const unauthorized = Effect.fail<Rejection>({ status: 401, headers: { "www-authenticate": "Bearer" } })
