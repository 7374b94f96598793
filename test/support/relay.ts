import { format } from "effect-wsmux/Address"
import * as ByteStream from "effect-wsmux/ByteStream"
import * as NodeDuplex from "effect-wsmux/NodeDuplex"
import * as NodeTransport from "effect-wsmux/NodeTransport"
import * as ReconnectingSession from "effect-wsmux/ReconnectingSession"
import * as RelayServer from "effect-wsmux/RelayServer"
import * as Session from "effect-wsmux/Session"
import { Transport } from "effect-wsmux/Transport"
import * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"
import * as Http from "node:http"
import * as Https from "node:https"
import * as Net from "node:net"
import type * as Tls from "node:tls"
import { patience, within } from "./within.js"

/** The secret of relays in tests. */
export const secret = "a secret of the tests"

/** A relay at a free port, with its addresses. */
export const startRelay = (options: Partial<RelayServer.Options> = {}) =>
  Effect.map(RelayServer.make({ secrets: [secret], ...options }), (relay) => {
    const { hostname, port } = relay.address as { readonly hostname: string; readonly port: number }
    return { ...relay, port, hostname, ws: `ws://${format(relay.address)}/`, http: `http://${format(relay.address)}` }
  })

/** A token for an agent. Those that are made later in `at` seconds are newer. */
export const tokenOf = (name: string, { at = 0, by = secret }: { readonly at?: number; readonly by?: string } = {}) => {
  const issuedAt = Math.floor(Date.now() / 1000) - 100 + at
  return RelayServer.agentToken({ name, issuedAt, expiresAt: issuedAt + 3600 }, by)
}

export interface AgentOptions {
  readonly token?: string
  /** Which program this is. Without it the agent dials as Go's clients do. */
  readonly program?: string | undefined
  readonly dialect?: "auto" | "off"
  readonly tls?: Tls.ConnectionOptions
}

/** A token by which the user opens streams to the agents of a name. */
export const clientToken = (name: string, user = "ada", limits?: RelayServer.TokenLimits, by = secret) => {
  const issuedAt = Math.floor(Date.now() / 1000) - 10
  return RelayServer.clientToken({ name, user, issuedAt, expiresAt: issuedAt + 100, limits }, by)
}

/** The ways in which a client shows its token. Pages do so by a subprotocol. */
export const showings = {
  "a header": (token: string) => ({ headers: { authorization: `Bearer ${token}` } }),
  "a header beside the subprotocol": (token: string) => ({
    protocols: ["wsmux-relay"],
    headers: { authorization: `Bearer ${token}` }
  }),
  "a subprotocol": (token: string) => ({ protocols: ["wsmux-relay", `wsmux-token.${token}`] })
}

/** Dials a name as a client. */
export const dialClient = (ws: string, name: string, token: string, where: keyof typeof showings = "a header") =>
  Effect.gen(function*() {
    const transport = yield* NodeTransport.connect(`${ws}${name}`, showings[where](token))
    return yield* Effect.provideService(Session.makeClient({ dialect: "required" }), Transport, transport)
  })

/** Dials a relay as an agent. */
export const dialAgent = (ws: string, name: string, { dialect = "auto", program, tls, token }: AgentOptions = {}) =>
  Effect.gen(function*() {
    const shown = token ?? tokenOf(name)
    const transport = yield* NodeTransport.connect(ws, {
      tls,
      headers: program === undefined
        ? { authorization: `Bearer ${shown}`, "x-websocktunnel-id": name }
        : RelayServer.agentHeaders({ name, token: shown, program })
    })
    const settings = { streamBufferSize: 64 * 1024, dialect }
    const session = yield* Effect.provideService(Session.makeClient(settings), Transport, transport)
    return { session, url: transport.upgrade?.headers["x-websocktunnel-client-url"] }
  })

/** Dials a relay, and serves the requests that it sends with a server of Node. */
export const serveAgent = (
  ws: string,
  name: string,
  onRequest: Http.RequestListener,
  options: AgentOptions & { readonly server?: Http.Server } = {}
) =>
  Effect.gen(function*() {
    const agent = yield* dialAgent(ws, name, options)
    const server = options.server ?? Http.createServer()
    server.on("request", onRequest)
    yield* Effect.forkScoped(NodeDuplex.serve(agent.session, server))
    return { ...agent, server }
  })

/** Dials a relay, and answers each stream with these bytes. */
export const answeringAgent = (ws: string, name: string, answer: string) =>
  Effect.gen(function*() {
    const { session } = yield* dialAgent(ws, name, { program: "p" })
    yield* Effect.forkScoped(session.run((stream) =>
      Effect.zipRight(ByteStream.writeEnd(stream, Buffer.from(answer, "latin1")), ByteStream.readAll(stream))
    ))
  })

export interface Answer {
  readonly status: number
  readonly headers: Http.IncomingHttpHeaders
  readonly trailers: NodeJS.Dict<string>
  readonly body: string
}

/** Sends a request, and completes with the whole answer. */
export const ask = (url: string, options: Https.RequestOptions = {}, body?: string | Uint8Array) =>
  Effect.async<Answer, Error>((resume) => {
    const { request: send } = url.startsWith("https:") ? Https : Http
    const request = send(url, { agent: false, ...options }, (response) => {
      const chunks: Array<Buffer> = []
      response.on("data", (chunk) => chunks.push(chunk))
      response.on("error", (error) => resume(Effect.fail(error)))
      response.on("end", () =>
        resume(Effect.succeed({
          status: response.statusCode!,
          headers: response.headers,
          trailers: response.trailers,
          body: Buffer.concat(chunks).toString("latin1")
        })))
    })
    request.on("error", (error) => resume(Effect.fail(error)))
    request.end(body)
    return Effect.sync(() => void request.destroy())
  }).pipe(within(patience, `the answer of ${url}`))

/** Sends bytes to a port, and completes with all that the server sends until it closes the connection. */
export const sendRaw = (port: number, text: string) =>
  Effect.async<string>((resume) => {
    const chunks: Array<Buffer> = []
    const socket = Net.connect(port, "127.0.0.1", () => socket.write(text, "latin1"))
    socket.on("data", (chunk) => chunks.push(chunk))
    socket.on("error", () => {})
    socket.on("close", () => resume(Effect.succeed(Buffer.concat(chunks).toString("latin1"))))
    return Effect.sync(() => void socket.destroy())
  }).pipe(within(patience, "the end of a connection"))

/** Completes with the error by which a connection is refused. */
export const refusal = <A, E, R>(dial: Effect.Effect<A, E, R>) => Effect.flip(dial).pipe(within(patience, "a refusal"))

/** Serves the requests of a name, and dials the next of the relays when a session drains or is lost. */
export const redialling = (urls: ReadonlyArray<string>, name: string, onRequest: Http.RequestListener) =>
  Effect.gen(function*() {
    let dials = 0
    const headers = RelayServer.agentHeaders({ name, token: tokenOf(name), program: "p" })
    const session = yield* ReconnectingSession.make({
      transport: Effect.suspend(() =>
        // the port of a relay that was killed may belong to another process by now, which says nothing
        NodeTransport.connect(urls[dials++ % urls.length]!, { headers, openTimeout: "2 seconds" })
      ),
      schedule: Schedule.spaced("50 millis"),
      settings: { streamBufferSize: 64 * 1024 }
    })
    yield* Effect.forkScoped(NodeDuplex.serve(session, Http.createServer(onRequest)))
    return session
  })
