import * as Args from "@effect/cli/Args"
import * as Command from "@effect/cli/Command"
import * as Options from "@effect/cli/Options"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { lookup } from "node:dns/promises"
import * as Place from "./forwards/place.js"
import { usage } from "./options.js"
import type { Decision, Target } from "./policy/policy.js"
import { make } from "./rules/users.js"
import { read } from "./rules/watched.js"

const options = {
  rules: Options.text("rules").pipe(Options.withPseudoName("file"), Options.withDescription("The rules file.")),
  remote: Options.boolean("remote").pipe(Options.withDescription("Ask where the user may listen, instead of connect.")),
  user: Args.text({ name: "user" }).pipe(Args.withDescription("A user of the file, or jwt:NAME.")),
  target: Args.text({ name: "target" }).pipe(Args.withDescription("host:port, udp:host:port, or a path."))
}

/** Tells whether a server with this rules file would let a user connect. */
export const check = Command.make("check", options, ({ remote, rules, target, user }) =>
  Effect.gen(function*() {
    const users = make((yield* read(rules)).file)
    const asked = yield* targetOf(target, remote)
    const report = (shown: string, decision: Decision) =>
      Effect.as(
        Console.log(`${shown}: ${decision._tag === "Allowed" ? "allowed" : decision.reason}`),
        decision._tag === "Allowed"
      )
    const first = yield* report(target, users.decide(user, asked))
    if (!first || asked._tag !== "Host") return yield* verdict(first)
    // a server judges each address of a name
    const addresses = yield* Effect.tryPromise(() => lookup(asked.host, { all: true })).pipe(
      Effect.mapError(() => new Error(`${asked.host}: the name cannot be resolved here`))
    )
    const judged = yield* Effect.forEach(addresses, ({ address }) =>
      report(`  ${address}`, users.decide(user, { ...asked, _tag: "Address", name: asked.host, address })))
    return yield* verdict(judged.includes(true))
  })).pipe(Command.withDescription("Tell what a user of a rules file may do. The exit code is 0 if it is allowed."))

const verdict = (isAllowed: boolean) => isAllowed ? Effect.void : Effect.fail(new Error("the server would refuse it"))

const targetOf = (text: string, isListener: boolean) => {
  if (text.startsWith("/")) {
    return Effect.succeed<Target>({ _tag: isListener ? "ListenPath" : "Path", path: text })
  }
  const [, protocol = "tcp", rest = ""] = /^(?:(udp|tcp):(?=.*:))?(.*)$/.exec(text) ?? []
  const parts = Place.split(rest)
  const host = parts.length === 2 ? Place.parseHost(parts[0]!) : Option.none()
  const port = parts.length === 2 ? Place.parsePort(parts[1]!, 1) : Option.none()
  return Option.match(Option.all([host, port]), {
    onNone: () => usage("target: expected host:port, udp:host:port, or a path"),
    onSome: ([host, port]) =>
      Effect.succeed<Target>({
        _tag: isListener ? "Listen" : "Host",
        protocol: protocol as "tcp" | "udp",
        host,
        port
      })
  })
}
