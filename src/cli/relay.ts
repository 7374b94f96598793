import * as Command from "@effect/cli/Command"
import * as Options from "@effect/cli/Options"
import * as Config from "effect/Config"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Runtime from "effect/Runtime"
import { createWriteStream, type WriteStream } from "node:fs"
import { format } from "../Address.js"
import * as AgentName from "../internal/text/agentName.js"
import * as RelayRedis from "../RelayRedis.js"
import * as RelayServer from "../RelayServer.js"
import * as Endpoint from "./endpoint.js"
import * as Environment from "./environment.js"
import * as Hangup from "./hangup.js"
import * as Shared from "./options.js"
import * as Redis from "./redis.js"
import { formatSpan } from "./span.js"
import * as Admin from "./status/admin.js"
import * as Page from "./status/page.js"
import * as Status from "./status/relay.js"
import * as Samples from "./status/samples.js"
import * as Tls from "./tls.js"

/** A whole number from 1 on. The help of `Options.integer` would leave out the description. */
const whole = (name: string, unit: string, description: string) =>
  Options.text(name).pipe(
    Options.withPseudoName(unit),
    Options.withDescription(description),
    Options.filterMap(
      (text) => /^\d{1,15}$/.test(text) && Number(text) >= 1 ? Option.some(Number(text)) : Option.none(),
      `--${name}: expected a whole number of ${unit} from 1 on`
    )
  )

const limit = (name: string, unit: string, description: string, byDefault: number) =>
  Options.withDefault(whole(name, unit, `${description}; default ${byDefault}.`), byDefault)

/** A limit with a default that a token does not have. */
const limitOfName = (name: string, unit: string, description: string, byDefault: number) =>
  Options.optional(whole(name, unit, `${description}; default ${byDefault}.`))

const defaultMaxStreams = 1000

/** A limit that is off by default. */
const perSecond = (name: string, unit: string, description: string) =>
  Options.map(Options.optional(whole(name, unit, `${description}; default unlimited.`)), Option.getOrUndefined)

/** A URL with one of these schemes. */
const url = (name: string, schemes: ReadonlyArray<string>, description: string) =>
  Options.text(name).pipe(
    Options.withPseudoName("url"),
    Options.withDescription(description),
    Options.mapEffect(
      Shared.parsed(`--${name}`, urlOf(schemes), schemes.map((scheme) => `${scheme}://host:port`).join(" or "))
    ),
    Options.filterMap(
      (text) => /[?#]|^[^/]*\/\/[^/]*@/.test(text) ? Option.none() : Option.some(text),
      `--${name}: expected a URL without user, password, query and fragment, since others are told it`
    ),
    Options.optional
  )

/** Whether a text is the name of a host, of labels of letters, digits and hyphens. */
const isDomain = (text: string): boolean =>
  text.length <= 253 && /^[a-z\d]([a-z\d-]{0,61}[a-z\d])?(\.[a-z\d]([a-z\d-]{0,61}[a-z\d])?)*$/i.test(text)

const urlOf = (schemes: ReadonlyArray<string>) => (text: string): Option.Option<string> =>
  URL.canParse(text) && schemes.some((scheme) => text.startsWith(`${scheme}://`)) ? Option.some(text) : Option.none()

const options = {
  listen: Options.optional(
    Shared.endpoint("listen", "Address to accept agents and requests at. Port 0 takes a free port.")
  ),
  secrets: Shared.textFile(
    "secret-file",
    "File with the secret of tokens in its line; two lines while one replaces it."
  ),
  tokenFor: Options.text("token-for").pipe(
    Options.withPseudoName("name"),
    Options.withDescription(
      "With --secret-file: print a token for the agent of NAME, or for a client of USER@NAME, for 30 days, and exit. " +
        "--max-streams, --requests-per-second and --bytes-per-second then limit the client."
    ),
    Options.optional
  ),
  domain: Options.text("domain").pipe(
    Options.withDescription("Domain below which each name is a host, beside the path /NAME."),
    Options.filterMap(
      (text) => isDomain(text) ? Option.some(text) : Option.none(),
      "--domain: expected the name of a host, such as relay.example"
    ),
    Options.optional
  ),
  publicUrl: url(
    "public-url",
    ["http", "https"],
    "Beginning of the URLs that agents are told; default the address of the relay."
  ),
  audience: Options.text("audience").pipe(
    Options.withDescription("Audience that tokens of agents may name; default none."),
    Options.optional
  ),
  answerTimeout: Shared.timeSpan("answer-timeout", "How long an agent may be silent before it answers", "30s"),
  directory: Options.redacted("directory").pipe(
    Options.withPseudoName("url"),
    Options.withDescription(
      "Redis by which several relays find each other's agents, as redis://host:6379. Also: WSMUX_DIRECTORY."
    ),
    Options.optional
  ),
  nodeSecret: Shared.textFile("node-secret-file", "With --directory: file with the secret that all relays share."),
  nodeUrl: url(
    "node-url",
    ["ws", "wss"],
    "With --directory: URL at which other relays dial this one; default its address."
  ),
  accessLog: Options.text("access-log").pipe(
    Options.withPseudoName("file"),
    Options.withDescription(
      "File for a line of JSON for each request; - is the standard output. SIGHUP opens it again."
    ),
    Options.optional
  ),
  maxAgents: limit("max-agents", "connections", "Agents, clients and relays that may be connected at once", 20_000),
  maxAgentsPerName: limit(
    "max-agents-per-name",
    "agents",
    "Agents that may share one name, at all relays together",
    64
  ),
  maxStreams: limitOfName(
    "max-streams",
    "requests",
    "Requests that may run through one name at once",
    defaultMaxStreams
  ),
  maxNodeStreams: limit("max-node-streams", "streams", "Streams that peers may have open at this relay", 20_000),
  requestsPerSecond: perSecond(
    "requests-per-second",
    "requests",
    "Requests for one name in a second, at all relays together"
  ),
  bytesPerSecond: perSecond("bytes-per-second", "bytes", "Bytes for one name in a second, at all relays together"),
  admin: Options.withDescription(Shared.admin, "Show a page over all nodes, /metrics and /healthz at this address."),
  allowAnonymous: Shared.allowAnonymous,
  tlsCert: Shared.textFile("tls-cert", "Certificate chain (PEM) to listen with TLS."),
  tlsKey: Shared.textFile("tls-key", "Private key (PEM) of the certificate."),
  grace: Shared.graceOf("How long requests may go on after SIGTERM, SIGINT or SIGHUP; default 10s, or 0.", "10s")
}

/** Relays HTTP requests to agents that dial in. */
export const relay = Command.make("relay", options, (given) =>
  Effect.scoped(Effect.gen(function*() {
    const secrets = yield* secretsOf(given.secrets)
    if (Option.isSome(given.tokenFor)) return yield* printToken(given.tokenFor.value, secrets[0]!, given)
    if (Option.isNone(given.listen)) return yield* Shared.usage("--listen, --token-for: expected one of them")
    const tls = yield* Tls.keyPair("--tls-cert, --tls-key", given.tlsCert, given.tlsKey)
    const cluster = yield* clusterOf(given)
    const log = yield* accessLogOf(given.accessLog)
    const server = yield* RelayServer.make({
      cluster,
      onServed: log,
      limits: {
        maxAgents: given.maxAgents,
        maxAgentsPerName: given.maxAgentsPerName,
        maxStreams: given.maxNodeStreams,
        maxStreamsPerName: Option.getOrElse(given.maxStreams, () => defaultMaxStreams),
        requestsPerSecond: given.requestsPerSecond,
        bytesPerSecond: given.bytesPerSecond
      },
      ...given.listen.value,
      secrets,
      domain: Option.getOrUndefined(given.domain),
      publicUrl: Option.getOrUndefined(given.publicUrl),
      audience: Option.getOrUndefined(given.audience),
      answerTimeout: given.answerTimeout,
      tls: Option.getOrUndefined(tls)
    }).pipe(
      Effect.catchTag("InvalidConfiguration", ({ detail, message, setting }) => {
        const option = optionsOfSettings[setting]
        return Shared.usage(option === undefined ? message : `${option}: ${detail}`)
      })
    )
    const scheme = Option.isNone(tls) ? "ws" : "wss"
    const ownUrl = `${scheme}://${format(server.address)}`
    yield* Console.log(`listening on ${ownUrl}, agents are reached at ${reachedAt(server)}`)
    // several relays of one machine need no other address
    if (cluster !== undefined && cluster.url === undefined && Endpoint.isLoopback(given.listen.value)) {
      yield* Effect.logWarning(`only relays of this machine can dial ${ownUrl}; --node-url names another address`)
    }
    if (Option.isSome(given.admin)) {
      yield* Shared.refuseAnonymous("--admin", given.admin.value, given.allowAnonymous, "give ")
      const bound = yield* Admin.serve(given.admin.value, sourceOf(server, ownUrl))
      yield* Effect.logInfo(`status page: http://${Endpoint.format(bound)}/`)
    }
    return yield* Effect.onInterrupt(Effect.never, () =>
      Effect.zipRight(
        Effect.logInfo(`taking no more agents: requests end within ${formatSpan(given.grace)}`),
        server.drain({ grace: given.grace })
      ))
  }))).pipe(
    Command.withDescription("Let agents dial in, and relay HTTP requests and WebSockets for /NAME to them.")
  )

/** The options whose values only the server judges. */
const optionsOfSettings: Readonly<Record<string, string>> = {
  secrets: "--secret-file",
  "cluster.secret": "--node-secret-file",
  "cluster.url": "--node-url",
  audience: "--audience"
}

/** Tells where agents are reached. No client can dial an address such as 0.0.0.0. */
const reachedAt = ({ urlOf }: RelayServer.Service): string => {
  // a name with capitals is no host below a domain
  const url = urlOf("any-name").replace(/(?<=^\w+:\/\/)any-name(?=\.)|any-name$/, "NAME")
  const everywhere = /(?<=^https?:\/\/)(0\.0\.0\.0|\[::\])(?=:\d+\/NAME$)/
  return everywhere.test(url)
    ? `${url.replace(everywhere, "ADDRESS")}, at each address of this machine (--public-url names one)`
    : url
}

/** What a balancer and a monitoring system ask for. */
const sourceOf = (server: RelayServer.Service, address: string): Admin.Source => ({
  page: Page.relay,
  status: Status.of(server, address),
  readiness: Effect.map(
    server.snapshot,
    ({ isDraining }) => isDraining ? { ready: false, text: "draining" } : { ready: true, text: "ready" }
  ),
  samples: Effect.zipWith(
    Samples.read,
    server.snapshot,
    (samples, { agents, bytesIn, bytesOut, names, requests, running }) => [
      ...samples,
      sample("gauge", "agents", "Agents that are connected.", agents),
      sample("gauge", "names", "Names with an agent at this node.", names),
      sample("gauge", "requests_running", "Requests that run.", running),
      sample("counter", "requests_total", "Requests that were served or refused.", requests),
      sample("counter", "request_bytes_total", "Bytes of bodies from clients.", bytesIn),
      sample("counter", "answer_bytes_total", "Bytes of bodies to clients.", bytesOut)
    ]
  )
})

const sample = (type: "counter" | "gauge", name: string, help: string, value: number): Samples.Sample => ({
  type,
  name: `wsmux_relay_${name}`,
  help,
  labels: {},
  value
})

const secretsOf = (file: Option.Option<Shared.TextFile>) => {
  if (Option.isNone(file)) return Shared.usage("--secret-file: expected, such as one made by openssl rand -hex 32")
  const secrets = file.value.text.split(/\r?\n/).filter((line) => line !== "")
  return secrets.length === 1 || secrets.length === 2
    ? Effect.succeed(secrets)
    : Shared.usage(`--secret-file: expected one or two lines in ${file.value.path}`)
}

const environmentDirectory = Effect.orDie(Config.option(Config.redacted(Environment.directory)))

/** The nodes find each other by Redis. */
const clusterOf = ({ directory: given, nodeSecret, nodeUrl }: {
  readonly directory: Option.Option<Redacted.Redacted>
  readonly nodeSecret: Option.Option<Shared.TextFile>
  readonly nodeUrl: Option.Option<string>
}) =>
  Effect.gen(function*() {
    const directory = Option.isSome(given) ? given : yield* environmentDirectory
    const name = Option.isSome(given) ? "--directory" : Environment.directory
    if (Option.isNone(directory)) {
      const alone = Option.isSome(nodeUrl) ? "--node-url" : Option.isSome(nodeSecret) ? "--node-secret-file" : undefined
      return alone === undefined ? undefined : yield* Shared.usage(`${alone}: expected --directory beside it`)
    }
    if (Option.isNone(nodeSecret)) return yield* Shared.usage(`${name}: expected --node-secret-file beside it`)
    const url = Redacted.value(directory.value)
    yield* Shared.parsed(name, urlOf(["redis", "rediss"]), "redis://host:port")(url)
    if (!/^\/?\d{0,9}$/.test(new URL(url).pathname)) {
      return yield* Shared.usage(
        `${name}: expected the number of a database behind the port, as redis://host:port/0`
      )
    }
    return {
      directory: yield* RelayRedis.make(yield* Redis.connect(url)),
      secret: nodeSecret.value.text.trim(),
      url: Option.getOrUndefined(nodeUrl)
    }
  })

/** Writes a line for each request. The file is opened to append, and again at SIGHUP, so that it may be moved away. */
const accessLogOf = (file: Option.Option<string>) =>
  Effect.gen(function*() {
    if (Option.isNone(file)) return undefined
    const path = file.value
    const lineOf = (request: RelayServer.ServedRequest) => `${JSON.stringify(request)}\n`
    if (path === "-") return (request: RelayServer.ServedRequest) => void process.stdout.write(lineOf(request))
    const runtime = yield* Effect.runtime<never>()
    const warn = (message: string) =>
      void Runtime.runFork(runtime)(Effect.logWarning(`--access-log: ${message}; SIGHUP opens the file again`))
    let output = yield* Effect.catchAll(opened(path, warn), ({ message }) => Shared.usage(`--access-log: ${message}`))
    yield* Effect.addFinalizer(() => closed(output))
    const reopen = Effect.flatMap(opened(path, warn), (next) => {
      const last = output
      output = next
      return closed(last)
    })
    yield* Hangup.handle(Effect.catchAll(reopen, ({ message }) => Effect.sync(() => warn(message))))
    // Node destroys a stream at its first error
    return (request: RelayServer.ServedRequest) => void (output.destroyed || output.write(lineOf(request)))
  })

/** Opens a file. Calls `onError` at an error of a later write. */
const opened = (path: string, onError: (message: string) => void) =>
  Effect.async<WriteStream, Error>((resume) => {
    const output = createWriteStream(path, { flags: "a", mode: 0o640 })
    const fail = (error: Error) => resume(Effect.fail(error))
    output.once("error", fail)
    output.once("open", () => {
      output.off("error", fail).on("error", ({ message }) => onError(message))
      resume(Effect.succeed(output))
    })
  })

const closed = (output: WriteStream) =>
  Effect.async<void>((resume) => {
    output.end(() => resume(Effect.void))
  })

const limitOptions = {
  maxStreams: "--max-streams",
  requestsPerSecond: "--requests-per-second",
  bytesPerSecond: "--bytes-per-second"
} as const

/** A day less than websocktunnel allows, for clocks that differ. */
const validSeconds = 30 * 24 * 3600

/** Prints the token of an agent, or that of a client for `user@name` with the limits that are given. */
const printToken = (owner: string, secret: string, { audience, bytesPerSecond, maxStreams, requestsPerSecond }: {
  readonly audience: Option.Option<string>
  readonly maxStreams: Option.Option<number>
  readonly requestsPerSecond: number | undefined
  readonly bytesPerSecond: number | undefined
}) => {
  const [, user, name = ""] = /^(?:(.+)@)?([^@]+)$/.exec(owner) ?? []
  if (!AgentName.isName(name)) {
    return Shared.usage(`--token-for: expected NAME or USER@NAME, with a name of ${AgentName.characters}`)
  }
  const limits = { maxStreams: Option.getOrUndefined(maxStreams), requestsPerSecond, bytesPerSecond }
  const limit = (["maxStreams", "requestsPerSecond", "bytesPerSecond"] as const).find((key) => limits[key])
  if (user === undefined && limit !== undefined) {
    return Shared.usage(`${limitOptions[limit]}: expected --token-for USER@NAME, as tokens of agents have no limit`)
  }
  const issuedAt = Math.floor(Date.now() / 1000)
  const times = { issuedAt, expiresAt: issuedAt + validSeconds }
  return Console.log(
    user === undefined
      ? RelayServer.agentToken({ name, ...times, audience: Option.getOrUndefined(audience) }, secret)
      : RelayServer.clientToken({ name, ...times, user, limits: limit === undefined ? undefined : limits }, secret)
  )
}
