import * as HelpDoc from "@effect/cli/HelpDoc"
import * as Options from "@effect/cli/Options"
import * as ValidationError from "@effect/cli/ValidationError"
import * as Config from "effect/Config"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Endpoint from "./endpoint.js"

/** The options that several commands share. */

export const endpoint = (name: string, description: string): Options.Options<Endpoint.Endpoint> =>
  Options.text(name).pipe(
    Options.withPseudoName("host:port"),
    Options.withDescription(description),
    Options.filterMap(Endpoint.parse, `--${name} wants host:port, such as 127.0.0.1:8080 or [::1]:8080`)
  )

/** Where to connect to: nobody can listen at port 0. */
export const target = (name: string, description: string): Options.Options<Endpoint.Endpoint> =>
  endpoint(name, description).pipe(
    Options.filterMap(
      (endpoint) => endpoint.port > 0 ? Option.some(endpoint) : Option.none(),
      `--${name} wants a port from 1 on`
    )
  )

export const bufferSize: Options.Options<number> = Options.text("buffer-size").pipe(
  Options.withPseudoName("size"),
  Options.withDescription(
    "Window of each stream, 256KiB unless told otherwise: bytes, or with KiB or MiB. Use the same on both ends; throughput is window / round trip."
  ),
  Options.withDefault("256KiB"),
  Options.filterMap(parseSize, "--buffer-size wants a size from 1 to 1024MiB, such as 65536, 256KiB or 4MiB")
)

export const keepAlive: Options.Options<Duration.Duration> = Options.text("keep-alive").pipe(
  Options.withPseudoName("duration"),
  Options.withDescription(
    "How often the peer is pinged and how long it may be silent, 10s unless told otherwise; off for never."
  ),
  Options.withDefault("10s"),
  Options.filterMap(
    (text) => text === "off" ? Option.some(Duration.infinity) : parseDuration(text),
    "--keep-alive wants a duration such as 500ms, 10s or 1m, or off"
  )
)

export const token = (description: string): Options.Options<Option.Option<Redacted.Redacted>> =>
  Options.redacted("token").pipe(
    Options.withDescription(description),
    Options.withFallbackConfig(Config.redacted("WSMUX_TOKEN")),
    Options.optional,
    Options.mapEffect((token) =>
      Option.isSome(token) && !/^[\x21-\x7e]+$/.test(Redacted.value(token.value))
        ? usage("the token must be one or more visible ASCII characters")
        : Effect.succeed(token)
    )
  )

export const file = (name: string, description: string): Options.Options<Option.Option<string>> =>
  Options.file(name, { exists: "yes" }).pipe(Options.withDescription(description), Options.optional)

export const allowAnonymous: Options.Options<boolean> = Options.boolean("allow-anonymous").pipe(
  Options.withDescription("Listen beyond this machine although nobody has to authenticate.")
)

export const stats: Options.Options<Option.Option<Duration.Duration>> = Options.text("stats").pipe(
  Options.withPseudoName("duration"),
  Options.withDescription(
    "Print each session's counters as a line of JSON this often and at its end, when they have changed."
  ),
  Options.filterMap(parseDuration, "--stats wants a duration such as 500ms or 10s"),
  Options.optional
)

/** A fault of the command line that its parser cannot see. */
export const usage = (message: string): Effect.Effect<never, ValidationError.ValidationError> =>
  Effect.fail(ValidationError.invalidValue(HelpDoc.p(message)))

/** What listens beyond this machine, and lets everybody in, must be asked for by name. */
export const refuseStrangers = (
  listen: Endpoint.Endpoint,
  allowed: boolean,
  alternative: string
): Effect.Effect<void, ValidationError.ValidationError> =>
  allowed || Endpoint.isLoopback(listen)
    ? Effect.void
    : usage(`${Endpoint.format(listen)} can be reached by others: ${alternative}--allow-anonymous to let everybody in`)

function parseSize(text: string): Option.Option<number> {
  const match = /^(\d+)(KiB|MiB)?$/i.exec(text)
  if (match === null) return Option.none()
  const unit = { kib: 1024, mib: 1024 * 1024 }[match[2]?.toLowerCase() ?? ""] ?? 1
  const size = Number(match[1]) * unit
  return size >= 1 && size <= 1024 * 1024 * 1024 ? Option.some(size) : Option.none()
}

function parseDuration(text: string): Option.Option<Duration.Duration> {
  const match = /^(\d+(?:\.\d+)?)(ms|s|m|h)$/.exec(text)
  if (match === null) return Option.none()
  const unit = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 }[match[2] as "ms" | "s" | "m" | "h"]
  const millis = Number(match[1]) * unit
  return millis >= 1 ? Option.some(Duration.millis(millis)) : Option.none()
}
