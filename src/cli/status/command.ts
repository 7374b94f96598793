import * as Args from "@effect/cli/Args"
import * as Command from "@effect/cli/Command"
import * as Options from "@effect/cli/Options"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as Http from "node:http"
import * as Https from "node:https"
import * as Endpoint from "../endpoint.js"
import { parsed } from "../options.js"
import * as Relay from "./relay.js"
import { Status } from "./status.js"
import { render } from "./terminal.js"

const options = {
  address: Args.text({ name: "address" }).pipe(
    Args.withDescription("The host:port or URL of --admin; default 127.0.0.1:9090."),
    Args.withDefault("127.0.0.1:9090")
  ),
  json: Options.boolean("json").pipe(Options.withDescription("Print the data as JSON."))
}

/** The time in which a command must answer. */
const patience = 5000

/** Prints what a running command tells at its `--admin`. */
export const status = Command.make("status", options, ({ address, json }) =>
  Effect.gen(function*() {
    const page = yield* parsed("address", parse, "host:port or http://host:port, such as 127.0.0.1:9090")(address)
    const told = decode(yield* ask(page))
    if (Either.isLeft(told)) return yield* Effect.fail(new Error(`cannot ask ${page}: no wsmux answers there`))
    const status = told.right
    const text = () => status.command === "relay" ? Relay.render(status) : render(status)
    yield* Console.log(json ? JSON.stringify(status) : text())
  })).pipe(
    Command.withDescription("Print sessions, forwards and streams, or the nodes of a relay, of a command with --admin.")
  )

/** A later version may tell more. */
const decode = Schema.decodeEither(Schema.parseJson(Schema.Union(Status, Relay.RelayStatus)))

/** Parses the address of a status page. A name and a password have no use there. */
const parse = (text: string): Option.Option<URL> => {
  const given = Option.match(Endpoint.parse(text), {
    onNone: () => text,
    onSome: (endpoint) => `http://${Endpoint.format(endpoint)}`
  })
  if (!/^https?:\/\//i.test(given) || !URL.canParse(given)) return Option.none()
  const url = new URL(given)
  if (`${url.username}${url.password}${url.search}${url.hash}` !== "") return Option.none()
  url.pathname = url.pathname.replace(/\/?$/, "/")
  return Option.some(url)
}

/** `fetch` refuses some ports, such as 6667, as browsers do. */
const ask = (page: URL): Effect.Effect<string, Error> =>
  Effect.async<string, Error>((resume) => {
    const fail = (error: unknown) => resume(Effect.fail(new Error(`cannot ask ${page}: ${reasonOf(error)}`)))
    const { get } = page.protocol === "https:" ? Https : Http
    const request = get(new URL("status.json", page), { agent: false }, (answer) => {
      if (answer.statusCode !== 200) {
        fail(new Error(`the answer is ${answer.statusCode}`))
        return void request.destroy()
      }
      const parts: Array<Buffer> = []
      answer.on("data", (part: Buffer) => void parts.push(part))
      answer.on("error", fail)
      answer.on("end", () => resume(Effect.succeed(Buffer.concat(parts).toString())))
    })
    request.on("error", fail)
    return Effect.sync(() => void request.destroy())
  }).pipe(
    Effect.timeoutFail({
      duration: patience,
      onTimeout: () => new Error(`cannot ask ${page}: no answer within ${patience / 1000} s`)
    })
  )

/** An error of several addresses has a code, and no text. */
const reasonOf = (error: unknown): string => {
  const { code, message } = error as NodeJS.ErrnoException
  return message || code || String(error)
}
