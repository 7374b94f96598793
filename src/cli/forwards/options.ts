import * as Args from "@effect/cli/Args"
import * as Options from "@effect/cli/Options"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { redacted } from "../../Address.js"
import { plainText } from "../../internal/text/plainText.js"
import * as Endpoint from "../endpoint.js"
import * as Habits from "../habits.js"
import { parsed, usage } from "../options.js"
import * as Rule from "../policy/rule.js"
import * as Place from "./place.js"
import * as Spec from "./spec.js"

/** An option that can be repeated. `short` is the letter by which ssh knows it. */
const repeated = <A>(
  { description, expected, name, parse, pseudo, short }: {
    readonly name: string
    readonly short?: string
    readonly pseudo: string
    readonly description: string
    readonly expected: string
    readonly parse: (text: string) => Option.Option<A>
  }
): Options.Options<ReadonlyArray<A>> => {
  const option = Options.text(name).pipe(Options.withPseudoName(pseudo), Options.withDescription(description))
  return (short === undefined ? option : Options.withAlias(option, short)).pipe(
    Options.repeated,
    Options.mapEffect((texts) => parseAll(short === undefined ? `--${name}` : `-${short}`, expected, parse, texts))
  )
}

const parseAll = <A>(
  name: string,
  expected: string,
  parse: (text: string) => Option.Option<A>,
  texts: ReadonlyArray<string>
) =>
  Effect.forEach(
    texts,
    (text) => Option.getOrElse(Option.map(parse(text), Effect.succeed), () => wrong(name, expected, text))
  )

const wrong = (name: string, expected: string, text: string) => {
  const shown = plainText(redacted(text)).slice(0, 80) // the text may be an address
  const fault = Place.fault(text)
  const habit = Habits.ofForward(name, text)
  return usage(`${name}: ${fault === undefined ? `expected ${expected}, not` : `${fault} in`} '${shown}'${habit}`)
}

const twoPlaces =
  "[bind:]port:host:port, or a path of a unix socket for either side, such as 8080:db:80 or 8080:/run/db"

export const local = repeated({
  name: "local",
  short: "L",
  pseudo: "[bind:]port:host:port",
  description: "Accept here, connect from the server. Also: unix sockets by path, udp:53:dns:53.",
  expected: twoPlaces,
  parse: (text) => Spec.parse("local", text)
})

export const remote = repeated({
  name: "remote",
  short: "R",
  pseudo: "[bind:]port:host:port",
  description: "Accept at the server, and connect from here. Without host:port: as a proxy.",
  expected: `${twoPlaces}, or [bind:]port`,
  parse: (text) => Spec.parse("remote", text)
})

export const dynamic = repeated({
  name: "dynamic",
  short: "D",
  pseudo: "[bind:]port",
  description: "Accept SOCKS5 and HTTP proxy requests here, and connect from the server.",
  expected: "[bind:]port, such as 1080",
  parse: (text) => Spec.parseProxy("local", text)
})

export const stdio: Options.Options<Option.Option<Place.Place>> = Options.text("stdio").pipe(
  Options.withAlias("W"),
  Options.withPseudoName("host:port"),
  Options.withDescription("Connect standard input and output, for ssh -o ProxyCommand."),
  Options.mapEffect((text) =>
    Option.getOrElse(Option.map(Spec.parseTarget(text), Effect.succeed), () => wrong("-W", "host:port or a path", text))
  ),
  Options.optional
)

/** chisel's remotes, which follow the URL. */
export const remotes = Args.text({ name: "remote" }).pipe(
  Args.withDescription("Forwards as chisel writes them: 5432:db:5432, R:8080:web:80, socks."),
  Args.repeated,
  Args.mapEffect((texts) =>
    Effect.mapError(
      parseAll("<remote>", "a forward such as 5432:db:5432, R:8080:web:80 or socks", Spec.parseRemote, texts),
      ({ error }) => error
    )
  )
)

export const allow = repeated({
  name: "allow",
  pseudo: "host:ports",
  description: "Where clients may connect to: names, *.names, addresses, blocks, *; a port, a range, *; a path; udp:.",
  expected: "host:port, such as db:5432, *.example.com:443, 10.0.0.0/8:8000-8999, *:*, udp:1.1.1.1:53 or /run/db.sock",
  parse: Rule.parse
})

export const allowRemote = repeated({
  name: "allow-remote",
  pseudo: "[bind:]ports",
  description: "Where clients may listen by -R. * means ports from 1024 on, and a bind of * every interface.",
  expected: "[bind:]port, such as 8080, 8000-8999, *, 0.0.0.0:80, udp:53 or /run/app/*",
  parse: Rule.parseListen
})

/** The target of streams without a label: `host:port`, or the path of a unix socket. */
export const target = (description: string): Options.Options<Option.Option<Place.Place>> =>
  Options.text("target").pipe(
    Options.withPseudoName("host:port"),
    Options.withDescription(description),
    Options.mapEffect(parsed("--target", placeOf, Endpoint.expected)),
    Options.filterMap(
      (place) => place._tag === "Path" || place.port > 0 ? Option.some(place) : Option.none(),
      "--target: expected a port from 1 on"
    ),
    Options.optional
  )

const placeOf = (text: string): Option.Option<Place.Place> =>
  text.startsWith("/")
    ? Place.parsePath(text)
    : Option.map(Endpoint.parse(text), ({ host, port }) => Place.port(host, port))

export const proxyProtocol = (description: string): Options.Options<boolean> =>
  Options.boolean("proxy-protocol").pipe(Options.withDescription(description))
