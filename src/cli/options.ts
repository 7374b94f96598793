import * as HelpDoc from "@effect/cli/HelpDoc"
import * as Options from "@effect/cli/Options"
import * as ValidationError from "@effect/cli/ValidationError"
import type { PlatformError } from "@effect/platform/Error"
import * as FileSystem from "@effect/platform/FileSystem"
import * as Config from "effect/Config"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Endpoint from "./endpoint.js"
import * as Environment from "./environment.js"
import * as Place from "./forwards/place.js"
import { firstCeiling } from "./redial.js"
import { largestWindow } from "./session.js"

/** The options that several commands share. */

export const endpoint = (name: string, description: string): Options.Options<Endpoint.Endpoint> =>
  Options.text(name).pipe(
    Options.withPseudoName("host:port"),
    Options.withDescription(description),
    Options.mapEffect(parsed(`--${name}`, Endpoint.parse, Endpoint.expected))
  )

export const bufferSize: Options.Options<number> = Options.text("buffer-size").pipe(
  Options.withPseudoName("size"),
  Options.withDescription(
    "First window of each stream, such as 64K; default 1M. Windows grow up to 4M."
  ),
  Options.withDefault("1M"),
  Options.filterMap(parseSize, "--buffer-size: expected a size from 1 to 64M, such as 65536, 256K or 4MiB")
)

export const workers: Options.Options<number> = Options.text("workers").pipe(
  Options.withPseudoName("number"),
  Options.withDescription(
    "Processes that share the port; default 1. Each session has one of them. A process that dies is replaced."
  ),
  Options.withDefault("1"),
  Options.filterMap(
    (text) => /^0*[1-9]\d{0,2}$/.test(text) && Number(text) <= 256 ? Option.some(Number(text)) : Option.none(),
    "--workers: expected a whole number from 1 to 256"
  )
)

/** A duration above zero with a default. */
export const timeSpan = (name: string, description: string, byDefault: string): Options.Options<Duration.Duration> =>
  Options.text(name).pipe(
    Options.withPseudoName("duration"),
    Options.withDescription(`${description}; default ${byDefault}.`),
    Options.withDefault(byDefault),
    Options.filterMap(parseDuration, `--${name}: expected a duration such as 500ms, 30s or 5m`)
  )

export const graceOf = (description: string, byDefault: string): Options.Options<Duration.Duration> =>
  Options.text("grace").pipe(
    Options.withPseudoName("duration"),
    Options.withDescription(description),
    Options.withDefault(byDefault),
    Options.filterMap(
      (text) => text === "0" ? Option.some(Duration.zero) : parseDuration(text),
      "--grace: expected a duration such as 500ms or 10s, or 0"
    )
  )

/** The default is less than the 10 s after which Docker kills a process that it has asked to end. */
export const grace: Options.Options<Duration.Duration> = graceOf(
  "How long connections may go on after SIGTERM, SIGINT or SIGHUP; default 5s, or 0. The port is free meanwhile. A " +
    "second signal ends the command at once.",
  "5s"
)

/** With a shorter interval a busy machine or a long way would take a living peer for a dead peer. */
const minKeepAlive = Duration.millis(500)

export const keepAlive: Options.Options<Duration.Duration> = Options.text("keep-alive").pipe(
  Options.withPseudoName("duration"),
  Options.withDescription(
    "Interval of pings, and the longest silence of the peer; default 10s, or off."
  ),
  Options.withDefault("10s"),
  Options.filterMap(parseDurationOrOff, "--keep-alive: expected a duration such as 500ms, 10s or 1m, or off"),
  Options.filterMap(
    (interval) => Duration.lessThan(interval, minKeepAlive) ? Option.none() : Option.some(interval),
    "--keep-alive: expected 500ms or more, so that a living peer can answer in time"
  )
)

export const maxReconnectInterval: Options.Options<Option.Option<Duration.Duration>> = Options.text(
  "max-reconnect-interval"
).pipe(
  Options.withPseudoName("duration"),
  Options.withDescription("With --reconnect: the longest wait between attempts, from 500ms; default 30s."),
  Options.filterMap(parseDuration, "--max-reconnect-interval: expected a duration such as 500ms, 30s or 5m"),
  // below the first ceiling no wait would grow, and a server that is away would be dialled without a pause
  Options.filterMap(
    (longest) => Duration.toMillis(longest) < firstCeiling ? Option.none() : Option.some(longest),
    `--max-reconnect-interval: expected ${firstCeiling}ms or more, so that attempts do not flood the server`
  ),
  Options.optional
)

/** The kernel counts whole seconds. For less than one second the kernel would use its default of hours. */
export const tcpKeepAlive: Options.Options<Duration.Duration> = Options.text("tcp-keep-alive").pipe(
  Options.withPseudoName("duration"),
  Options.withDescription(
    "Silence of a TCP connection before its peer is probed; default 30s, or off."
  ),
  Options.withDefault("30s"),
  Options.filterMap(parseDurationOrOff, "--tcp-keep-alive: expected a duration such as 1s, 30s or 2m, or off"),
  Options.filterMap(
    (delay) => isTcpKeepAlive(delay) ? Option.some(delay) : Option.none(),
    "--tcp-keep-alive: expected 1s to 9h, or off"
  )
)

/** The token from the option, the file or the environment, in this order. */
export const token = (description: string): Options.Options<Option.Option<Redacted.Redacted>> =>
  Options.all({
    given: Options.redacted("token").pipe(
      Options.withDescription(
        `${description} Prefer --token-file: processes may see this one.`
      ),
      Options.optional
    ),
    inFile: textFile("token-file", "File with the token in its only line. Also: WSMUX_TOKEN.")
  }).pipe(
    Options.mapEffect(({ given, inFile }) =>
      Effect.gen(function*() {
        if (Option.isSome(given) && Option.isSome(inFile)) {
          return yield* usage("--token, --token-file: give one of them")
        }
        const token = given.pipe(
          Option.orElse(() => Option.map(inFile, ({ text }) => Redacted.make(text.replace(/\r?\n$/, "")))),
          Option.getOrElse(() => undefined)
        ) ?? (yield* environmentToken)
        const source = Option.isSome(given) ? "--token" : Option.isSome(inFile) ? "--token-file" : Environment.token
        if (token !== undefined && !/^[\x21-\x7e]+$/.test(Redacted.value(token))) {
          return yield* usage(`${source}: the token must be one or more visible ASCII characters`)
        }
        return Option.fromNullable(token)
      })
    )
  )

const environmentToken = Effect.orDie(Config.withDefault(Config.redacted(Environment.token), undefined))

/** Headers of the upgrade request. Their values may be secret, so no message shows them. */
export const headers: Options.Options<Readonly<Record<string, string>>> = Options.text("header").pipe(
  Options.withPseudoName("name:value"),
  Options.withDescription("Header of the upgrade request, or @file with one in each line. Repeatable."),
  Options.repeated,
  Options.mapEffect((given) => Effect.map(Effect.forEach(given, headersIn), (headers) => headers.flat())),
  Options.mapEffect((given) => {
    const headers = new Map<string, string>()
    for (const { fault, text } of given) {
      const match = /^([\w!#$%&'*+.^`|~-]+):[ \t]*([\x20-\x7e\t]*?)[ \t]*$/.exec(text)
      if (match === null) return usage(`--header: ${fault}`)
      const name = match[1]!.toLowerCase()
      if (handshakeHeaders.test(name)) return usage(`--header: ${name} belongs to the WebSocket handshake`)
      if (headers.has(name)) return usage(`--header: ${name} is given twice`)
      headers.set(name, match[2]!)
    }
    return Effect.succeed(Object.fromEntries(headers))
  })
)

/** The headers of one option: its text, or the lines of its file. The list of processes shows no content of files. */
const headersIn = (text: string) => {
  if (!text.startsWith("@")) {
    return Effect.succeed([{ text, fault: "expected name:value in ASCII, such as 'x-api-key: abc'" }])
  }
  const path = text.slice(1)
  return Effect.map(
    readFile("header", path),
    ({ text }) =>
      text.split(/\r?\n/).flatMap((line, i) =>
        line === "" ? [] : [{ text: line, fault: `${path}:${i + 1}: expected name:value in ASCII` }]
      )
  )
}

const handshakeHeaders = /^(connection|upgrade|content-length|transfer-encoding|sec-websocket-.*)$/

/** A file that an option names, with its content. */
export interface TextFile {
  readonly path: string
  readonly text: string
}

export const textFile = (name: string, description: string): Options.Options<Option.Option<TextFile>> =>
  Options.text(name).pipe(
    Options.withPseudoName("file"),
    Options.withDescription(description),
    Options.mapEffect((path) => readFile(name, path)),
    Options.optional
  )

export const expectedPath = "expected the path of a file"

/** Reads a file that an option names. */
const readFile = (name: string, path: string) =>
  path === "" ?
    usage(`--${name}: ${expectedPath}`) :
    Effect.flatMap(FileSystem.FileSystem, (files) => files.readFileString(path)).pipe(
      Effect.map((text): TextFile => ({ path, text })),
      Effect.catchAll((error) => usage(`--${name}: ${path} ${unreadable(error)}`))
    )

/** Describes why a file or directory cannot be read. */
const unreadable = (error: PlatformError): string => {
  const code = (error.cause as NodeJS.ErrnoException | undefined)?.code
  switch (code) {
    case "ENOENT":
      return "does not exist"
    case "EISDIR":
      return "is a directory"
    case "ENOTDIR":
      return "is not a directory"
    case "EACCES":
      return "cannot be read: permission denied"
    default:
      return `cannot be read: ${code ?? error.message}`
  }
}

export const directory = (name: string, description: string): Options.Options<Option.Option<string>> =>
  Options.text(name).pipe(
    Options.withPseudoName("directory"),
    Options.withDescription(description),
    Options.mapEffect((path) =>
      Effect.flatMap(FileSystem.FileSystem, (files) => files.readDirectory(path)).pipe(
        Effect.as(path),
        Effect.catchAll((error) => usage(`--${name}: ${path} ${unreadable(error)}`))
      )
    ),
    Options.optional
  )

export const rules: Options.Options<Option.Option<string>> = Options.text("rules").pipe(
  Options.withPseudoName("file"),
  Options.withDescription(
    "YAML file with users and what each may do, instead of --token and --allow. The command reads it again when it " +
      "changes and at SIGHUP."
  ),
  Options.optional
)

/** How long a session may go on without a WebSocket. Zero for never. */
export const resume: Options.Options<Duration.Duration> = Options.text("resume").pipe(
  Options.withPseudoName("duration"),
  Options.withDescription(
    "How long connections outlive a lost WebSocket; default 2m, or off."
  ),
  Options.withDefault("2m"),
  Options.filterMap(parseDurationOrOff, "--resume: expected a duration such as 30s or 2m, or off"),
  Options.map((grace) => Duration.isFinite(grace) ? grace : Duration.zero)
)

export const idle: Options.Options<Option.Option<Duration.Duration>> = Options.text("idle").pipe(
  Options.withPseudoName("duration"),
  Options.withDescription("Also leave a WebSocket idle for this time, such as 60s, and tell whether it is cut."),
  Options.filterMap(parseDuration, "--idle: expected a duration such as 60s or 5m"),
  Options.optional
)

export const allowAnonymous: Options.Options<boolean> = Options.boolean("allow-anonymous").pipe(
  Options.withDescription("Listen beyond this machine, and accept every client without authentication.")
)

/** `config/args.ts` reads the file before the parser runs. */
export const config: Options.Options<Option.Option<string>> = Options.text("config").pipe(
  Options.withPseudoName("file"),
  Options.withDescription("YAML file with options by their long names. The command line wins."),
  Options.optional
)

export const admin: Options.Options<Option.Option<Endpoint.Endpoint>> = endpoint(
  "admin",
  "Show a status page, /metrics and /healthz at this address."
).pipe(Options.optional)

export const stats: Options.Options<Option.Option<Duration.Duration>> = Options.text("stats").pipe(
  Options.withPseudoName("duration"),
  Options.withDescription(
    "Print the counters of each session as JSON, at this interval and at its end."
  ),
  Options.filterMap(parseDuration, "--stats: expected a duration such as 500ms or 10s"),
  Options.optional
)

/** Fails with a fault of the command line that the parser cannot find. */
export const usage = (message: string): Effect.Effect<never, ValidationError.ValidationError> =>
  Effect.fail(ValidationError.invalidValue(HelpDoc.p(message)))

/** Returns how to parse a place or an address. The fault tells of a number beyond its limit, else what is expected. */
export function parsed<A>(name: string, parse: (text: string) => Option.Option<A>, expected: string) {
  return (text: string): Effect.Effect<A, ValidationError.ValidationError> =>
    Option.match(parse(text), {
      onNone: () => usage(`${name}: ${Place.fault(text) ?? `expected ${expected}`}`),
      onSome: Effect.succeed
    })
}

/** Fails for a listener that machines beyond this one can reach without authentication, unless the user allows that. */
export const refuseAnonymous = (
  option: string,
  listen: Endpoint.Endpoint,
  allowed: boolean,
  alternative: string
): Effect.Effect<void, ValidationError.ValidationError> =>
  allowed || Endpoint.isLoopback(listen)
    ? Effect.void
    : usage(`${option}: other machines can reach ${Endpoint.format(listen)}, so ${alternative}--allow-anonymous`)

function parseSize(text: string): Option.Option<number> {
  const match = /^(\d+)(?:([KM])(?:iB)?)?$/i.exec(text)
  if (match === null) return Option.none()
  const unit = { k: 1024, m: 1024 * 1024 }[match[2]?.toLowerCase() ?? ""] ?? 1
  const size = Number(match[1]) * unit
  return size >= 1 && size <= largestWindow ? Option.some(size) : Option.none()
}

function parseDurationOrOff(text: string): Option.Option<Duration.Duration> {
  return text === "off" ? Option.some(Duration.infinity) : parseDuration(text)
}

function isTcpKeepAlive(delay: Duration.Duration): boolean {
  const seconds = Duration.toSeconds(delay)
  return seconds === Infinity || (seconds >= 1 && seconds <= 32_400) // Linux takes at most 32,767 s
}

function parseDuration(text: string): Option.Option<Duration.Duration> {
  const match = /^(\d+(?:\.\d+)?)(ms|s|m|h)$/.exec(text)
  if (match === null) return Option.none()
  const unit = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 }[match[2] as "ms" | "s" | "m" | "h"]
  const millis = Number(match[1]) * unit
  return millis >= 1 ? Option.some(Duration.millis(millis)) : Option.none()
}
