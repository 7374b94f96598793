import * as Args from "@effect/cli/Args"
import * as Command from "@effect/cli/Command"
import * as Options from "@effect/cli/Options"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { lookup } from "node:dns/promises"
import { plainText } from "../internal/text/plainText.js"
import * as Place from "./forwards/place.js"
import { nearestTo } from "./nearest.js"
import { parsed, usage } from "./options.js"
import type { Decision, Target } from "./policy/policy.js"
import type { RulesFile } from "./rules/file.js"
import { make } from "./rules/users.js"
import { read } from "./rules/watched.js"

const options = {
  rules: Options.text("rules").pipe(Options.withPseudoName("file"), Options.withDescription("The rules file.")),
  remote: Options.boolean("remote").pipe(Options.withDescription("Ask where the user may listen, instead of connect.")),
  user: Args.text({ name: "user" }).pipe(Args.withDescription("A user of the file, or jwt:NAME.")),
  target: Args.text({ name: "target" }).pipe(
    Args.withDescription("host:port, udp:host:port, or a path. With --remote [bind:]port, as -R takes it.")
  )
}

/** Tells whether a server with this rules file would let a user connect. */
export const check = Command.make("check", options, ({ remote, rules, target, user }) =>
  Effect.gen(function*() {
    const { file } = yield* read(rules)
    const users = make(file)
    const asked = yield* targetOf(target, remote)
    yield* known(rules, file, user)
    const report = (shown: string, decision: Decision) =>
      Effect.as(
        Console.log(`${shown}: ${decision._tag === "Allowed" ? "allowed" : decision.reason}`),
        decision._tag === "Allowed"
      )
    const first = users.decide(user, asked)
    if (first._tag === "Refused" || asked._tag !== "Host") return yield* Effect.flatMap(report(target, first), verdict)
    // a server judges each address of a name, so without addresses nothing is allowed yet
    const addresses = yield* Effect.tryPromise(() => lookup(asked.host, { all: true })).pipe(
      Effect.mapError(() =>
        new Error(`${asked.host}: a rule fits, but the name cannot be resolved here, so its addresses are not judged`)
      )
    )
    yield* report(target, first)
    const judged = yield* Effect.forEach(addresses, ({ address }) =>
      report(`  ${address}`, users.decide(user, { ...asked, _tag: "Address", name: asked.host, address })))
    return yield* verdict(judged.includes(true))
  })).pipe(Command.withDescription("Tell what a user of a rules file may do. The exit code is 0 if it is allowed."))

const verdict = (isAllowed: boolean) => isAllowed ? Effect.void : Effect.fail(new Error("the server would refuse it"))

/** Fails for a user whom the file cannot know. */
const known = (path: string, { jwt, users }: RulesFile, user: string) => {
  if (user.startsWith("jwt:")) return jwt === undefined ? usage(`user: ${path} has no jwt`) : Effect.void
  if (Object.hasOwn(users, user)) return Effect.void
  const nearest = nearestTo(user, Object.keys(users))
  const advice = nearest === undefined ? jwt && ", so give jwt:NAME for one by JWT" : `; did you mean '${nearest}'?`
  return usage(`user: ${path} has no user '${plainText(user).slice(0, 64)}'${advice ?? ""}`)
}

const targetOf = (text: string, isListener: boolean) => {
  if (text.startsWith("/")) {
    return Effect.succeed<Target>({ _tag: isListener ? "ListenPath" : "Path", path: text })
  }
  const pattern = isListener ? /^(?:(udp|tcp):)?(.*)$/ : /^(?:(udp|tcp):(?=.*:))?(.*)$/
  const [, protocol = "tcp", rest = ""] = pattern.exec(text) ?? []
  const parse = (text: string): Option.Option<Target> => {
    const parts = Place.split(text)
    const place = isListener ? Place.parseListener(parts) : Place.parseTarget(parts)
    return Option.flatMap(place, (place) =>
      place._tag === "Path" ? Option.none() : Option.some({
        _tag: isListener ? "Listen" : "Host",
        protocol: protocol as "tcp" | "udp",
        host: place.host,
        port: place.port
      }))
  }
  const expected = isListener ? "[bind:]port or udp:[bind:]port" : "host:port, udp:host:port"
  return parsed("target", parse, `${expected}, or a path`)(rest)
}
