import * as Args from "@effect/cli/Args"
import * as Command from "@effect/cli/Command"
import * as Console from "effect/Console"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Schedule from "effect/Schedule"
import { randomUUID } from "node:crypto"
import * as AgentName from "../internal/text/agentName.js"
import { urlHeader } from "../internal/text/relayHeaders.js"
import * as ReconnectingSession from "../ReconnectingSession.js"
import * as RelayServer from "../RelayServer.js"
import * as TcpTunnel from "../TcpTunnel.js"
import { ConnectFailure } from "../WsmuxError.js"
import * as Dialling from "./dialling.js"
import { Holders } from "./forwards/away.js"
import * as Forwards from "./forwards/options.js"
import * as Targets from "./forwards/targets.js"
import * as Shared from "./options.js"
import { ofRules } from "./policy/policy.js"
import * as Rule from "./policy/rule.js"
import * as Proxy from "./proxy.js"
import * as RareWarning from "./rareWarning.js"
import { attend, settings } from "./session.js"

const options = {
  url: Args.text({ name: "url" }).pipe(Args.withDescription("URL of wsmux relay: ws://host:port or wss://host:port.")),
  name: Args.text({ name: "name" }).pipe(Args.withDescription("The name under which the relay reaches this agent.")),
  target: Forwards.target("Address or unix socket of the service that gets the requests."),
  allow: Forwards.allow,
  bufferSize: Shared.bufferSize,
  keepAlive: Shared.keepAlive,
  tcpKeepAlive: Shared.tcpKeepAlive,
  ...Dialling.options
}

/** Dials a relay, and connects the streams of its name to the target. */
export const agent = Command.make("agent", options, (given) =>
  Effect.scoped(Effect.gen(function*() {
    if (!AgentName.isName(given.name)) {
      return yield* Shared.usage(`name: expected at most 256 ${AgentName.characters}`)
    }
    if (Option.isNone(given.target) && given.allow.length === 0) {
      return yield* Shared.usage("--target, --allow: expected one of them")
    }
    if (Option.isNone(given.token)) return yield* Shared.usage("--token-file: expected the token of the name")
    const { name } = given
    const token = Redacted.value(given.token.value)
    const headers = { ...given.headers, ...RelayServer.agentHeaders({ name, token, program: randomUUID() }) }
    // The relay keeps no session for an agent: the next connection may come to another node.
    const { dial } = yield* Dialling.dialOf({ ...given, headers, token: Option.none(), resume: Duration.zero })
    const policy = ofRules({
      connect: [...given.allow, ...Option.toArray(Option.map(given.target, Rule.only))],
      listen: []
    })
    const warn = RareWarning.make()
    const session = yield* ReconnectingSession.make({
      transport: Effect.tap(dial, ({ upgrade }) => Console.log(`reached at ${String(upgrade?.headers[urlHeader])}`)),
      onConnect: (session) =>
        Effect.gen(function*() {
          const targets = yield* Targets.make({
            session,
            policy,
            user: undefined,
            isCurrent: () => true,
            isAuthenticated: false, // the clients of a relay are strangers
            target: given.target,
            keepAlive: given.tcpKeepAlive,
            proxyProtocol: false,
            holders: new Holders(), // the policy allows no listener
            patience: Duration.infinity,
            warn
          })
          yield* Effect.forkScoped(Effect.ignore(TcpTunnel.serve(session, targets)))
        }),
      schedule: Schedule.tapInput(
        ReconnectingSession.defaultSchedule,
        (loss: { readonly message: string }) => Effect.logWarning(`${Proxy.messageOf(loss)}; dialling again`)
      )
    })
    const { cause, defect } = yield* attend(session.awaitClosed, session, Effect.void)
    if (cause instanceof ConnectFailure) {
      return yield* Effect.fail(new Error(Dialling.explain(cause, given)))
    }
    return yield* Effect.fail(cause ?? defect)
  })).pipe(Effect.provide(settings(given)))).pipe(
    Command.withDescription("Dial a relay, and connect the requests for a name to a target here.")
  )
