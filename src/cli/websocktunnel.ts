import * as Options from "@effect/cli/Options"
import * as Console from "effect/Console"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Runtime from "effect/Runtime"
import * as AgentName from "../internal/text/agentName.js"
import { plainText } from "../internal/text/plainText.js"
import { nameHeader, urlHeader } from "../internal/text/relayHeaders.js"
import * as TcpTunnel from "../TcpTunnel.js"
import { ConnectFailure } from "../WsmuxError.js"
import * as Dialling from "./dialling.js"
import { forwarding } from "./forward.js"
import * as Forwards from "./forwards/options.js"
import * as Place from "./forwards/place.js"
import type { Wanted } from "./forwards/wanted.js"
import { usage } from "./options.js"
import * as RareWarning from "./rareWarning.js"
import * as Tcp from "./tcp.js"

/** The id of a tunnel of Taskcluster's websocktunnel. */
export const id: Options.Options<Option.Option<string>> = Options.text("websocktunnel").pipe(
  Options.withPseudoName("id"),
  Options.withDescription("Join a Go websocktunnel by this id, and serve --target at its public URL."),
  Options.filterMap(
    (text) => AgentName.isName(text) ? Option.some(text) : Option.none(),
    `--websocktunnel: expected an id of ${AgentName.characters}`
  ),
  Options.optional
)

export const target = Forwards.target("With --websocktunnel: the HTTP service that gets the requests.")

interface Given extends Dialling.Given {
  readonly tcpKeepAlive: Duration.Duration
  readonly target: Option.Option<Place.Place>
  readonly listen: Option.Option<unknown>
  readonly stdio: Option.Option<unknown>
  readonly local: ReadonlyArray<unknown>
  readonly remote: ReadonlyArray<unknown>
  readonly dynamic: ReadonlyArray<unknown>
  readonly remotes: ReadonlyArray<unknown>
}

/**
 * Returns how to dial the proxy. Prints the public URL when the first dial has told it, and again when another one
 * tells another. The proxy is of Go, and resumes nothing.
 */
export const dialOf = (given: Given, id: string) =>
  Effect.gen(function*() {
    if (given.headers[nameHeader] !== undefined) return yield* usage(`--header: --websocktunnel gives ${nameHeader}`)
    const headers = { ...given.headers, [nameHeader]: id }
    const { dial, reached } = yield* Dialling.dialOf({ ...given, headers, resume: Duration.zero })
    let shown = ""
    const told = Effect.tap(dial, ({ upgrade }) => {
      const url = upgrade?.headers[urlHeader]
      if (typeof url !== "string") {
        const cause = new Error(`the server is no websocktunnel: its answer has no ${urlHeader}`)
        return new ConnectFailure({ url: reached(), reason: "Unreachable", cause })
      }
      if (url === shown) return Effect.void
      shown = url
      return Console.log(plainText(url))
    })
    return { dial: told, reached } satisfies Dialling.Dialling
  })

/** Returns how each session serves the streams of the proxy: each carries one HTTP request to the target. */
export const wanted = ({ target, tcpKeepAlive, ...others }: Given) =>
  Effect.gen(function*() {
    const { dynamic, listen, local, remote, remotes, stdio } = others
    if ([...local, ...remote, ...dynamic, ...remotes, ...Option.toArray(listen), ...Option.toArray(stdio)].length > 0) {
      return yield* usage("--websocktunnel: expected no other forward beside it")
    }
    if (Option.isNone(target)) return yield* usage("--websocktunnel: expected --target beside it")
    const scope = yield* Effect.scope
    const fork = Runtime.runFork(yield* Effect.runtime<never>())
    const warn = RareWarning.make()
    const options = {
      ...yield* forwarding,
      connect: () => Tcp.dial(target.value, tcpKeepAlive),
      onUnreachable: ({ detail }: { readonly detail: string }) =>
        void fork(warn(() => `cannot reach ${Place.format(target.value)}: ${detail}`))
    }
    return {
      stdio: Option.none(),
      prepare: (session) => Effect.asVoid(Effect.forkIn(Effect.ignore(TcpTunnel.serve(session, options)), scope)),
      listeners: () =>
        Effect.succeed({
          listen: Effect.void,
          awaitEmpty: Effect.void,
          change: () => usage("--websocktunnel: its options change at a restart only")
        })
    } satisfies Wanted
  })
