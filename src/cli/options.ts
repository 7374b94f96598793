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
import { largestWindow } from "./session.js"

/** The options that several commands share. */

export const endpoint = (name: string, description: string): Options.Options<Endpoint.Endpoint> =>
  Options.text(name).pipe(
    Options.withPseudoName("host:port"),
    Options.withDescription(description),
    Options.filterMap(Endpoint.parse, `--${name}: expected host:port, such as 127.0.0.1:8080, [::1]:8080 or 8080`)
  )

/** An endpoint to connect to. No server listens at port 0. */
export const target = (name: string, description: string): Options.Options<Endpoint.Endpoint> =>
  endpoint(name, description).pipe(
    Options.filterMap(
      (endpoint) => endpoint.port > 0 ? Option.some(endpoint) : Option.none(),
      `--${name}: expected a port from 1 on`
    )
  )

export const bufferSize: Options.Options<number> = Options.text("buffer-size").pipe(
  Options.withPseudoName("size"),
  Options.withDescription(
    "First window of each stream in bytes, or with K or M; default 1M. A stream carries one window per round trip. " +
      "Windows below 4M grow to that size where the connection needs it."
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
  Options.withDescription("With --reconnect: the longest wait between two attempts; default 30s."),
  Options.filterMap(parseDuration, "--max-reconnect-interval: expected a duration such as 500ms, 30s or 5m"),
  Options.optional
)

/** The kernel counts whole seconds. For less than one second the kernel would use its default of hours. */
export const tcpKeepAlive: Options.Options<Duration.Duration> = Options.text("tcp-keep-alive").pipe(
  Options.withPseudoName("duration"),
  Options.withDescription(
    "Silence of a TCP connection before its peer is probed; default 30s, or off. " +
      "The command notices a peer that has vanished about 10s later."
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
        `${description} The list of processes shows this option until the command has started. ` +
          "Prefer --token-file or WSMUX_TOKEN."
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
  Options.withDescription("Header of the upgrade request. The option can be repeated."),
  Options.repeated,
  Options.mapEffect((given) => {
    const headers = new Map<string, string>()
    for (const header of given) {
      const match = /^([\w!#$%&'*+.^`|~-]+):[ \t]*([\x20-\x7e\t]*?)[ \t]*$/.exec(header)
      if (match === null) return usage("--header: expected name:value in ASCII, such as 'x-api-key: abc'")
      const name = match[1]!.toLowerCase()
      if (handshakeHeaders.test(name)) return usage(`--header: ${name} belongs to the WebSocket handshake`)
      if (headers.has(name)) return usage(`--header: ${name} is given twice`)
      headers.set(name, match[2]!)
    }
    return Effect.succeed(Object.fromEntries(headers))
  })
)

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
    Options.mapEffect((path) =>
      Effect.flatMap(FileSystem.FileSystem, (files) => files.readFileString(path)).pipe(
        Effect.map((text): TextFile => ({ path, text })),
        Effect.catchAll((error) => usage(`--${name}: ${path} ${unreadable(error)}`))
      )
    ),
    Options.optional
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

export const allowAnonymous: Options.Options<boolean> = Options.boolean("allow-anonymous").pipe(
  Options.withDescription("Listen beyond this machine, and accept every client without authentication.")
)

export const stats: Options.Options<Option.Option<Duration.Duration>> = Options.text("stats").pipe(
  Options.withPseudoName("duration"),
  Options.withDescription(
    "Print the counters of each session as a line of JSON at this interval and at its end, if they have changed."
  ),
  Options.filterMap(parseDuration, "--stats: expected a duration such as 500ms or 10s"),
  Options.optional
)

/** Fails with a fault of the command line that the parser cannot find. */
export const usage = (message: string): Effect.Effect<never, ValidationError.ValidationError> =>
  Effect.fail(ValidationError.invalidValue(HelpDoc.p(message)))

/** Fails for a listener that machines beyond this one can reach without authentication, unless the user allows that. */
export const refuseAnonymous = (
  listen: Endpoint.Endpoint,
  allowed: boolean,
  alternative: string
): Effect.Effect<void, ValidationError.ValidationError> =>
  allowed || Endpoint.isLoopback(listen)
    ? Effect.void
    : usage(`--listen: other machines can reach ${Endpoint.format(listen)}, so ${alternative}--allow-anonymous`)

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
