import * as Args from "@effect/cli/Args"
import * as Command from "@effect/cli/Command"
import * as Options from "@effect/cli/Options"
import * as Console from "effect/Console"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { portFault } from "../internal/text/portFault.js"
import * as NodeTransport from "../NodeTransport.js"
import * as Dialling from "./dialling.js"
import * as Answer from "./doctor/answer.js"
import { tls } from "./doctor/certificate.js"
import { type Finding, format, median, ok } from "./doctor/finding.js"
import { idle } from "./doctor/idle.js"
import * as Network from "./doctor/network.js"
import * as Peer from "./doctor/peer.js"
import * as Rates from "./doctor/rates.js"
import * as Habits from "./habits.js"
import * as Shared from "./options.js"

const options = {
  url: Args.text({ name: "url" }).pipe(Args.withDescription("URL of a server: ws://host:port or wss://host:port.")),
  ...Dialling.wayOptions,
  idle: Shared.idle,
  json: Options.boolean("json").pipe(Options.withDescription("Print each finding as a line of JSON."))
}

interface Given extends Dialling.GivenWay {
  readonly url: string
  readonly idle: Option.Option<Duration.Duration>
  readonly json: boolean
}

/** Looks at each step of the way to a server, and tells what is wrong with it. */
export const doctor = Command.make("doctor", options, (given) =>
  Effect.gen(function*() {
    if (!/^wss?:\/\/[^/]/.test(given.url) || given.url.includes("#") || !URL.canParse(given.url)) {
      const expected = `expected ws://host:port or wss://host:port${Habits.ofUrl(given.url)}`
      return yield* Shared.usage(`url: ${portFault(given.url) ?? expected}`)
    }
    const way = yield* Dialling.wayOf(given, given.url)
    const failed: Array<string> = []
    const say = (finding: Finding) => {
      if (finding.verdict === "fail") failed.push(finding.check)
      return Console.log(given.json ? JSON.stringify(finding) : format(finding))
    }
    yield* Effect.ignore(examine(given, way, say))
    if (failed.length > 0) return yield* Effect.fail(new Error(`doctor: ${failed.join(", ")} failed`))
  })).pipe(
    Command.withDescription("Tell what is wrong on the way to a server. The exit code is 0 unless a check fails.")
  )

/** Checks each step, and stops at the first that makes the others impossible. */
const examine = (given: Given, way: Dialling.Way, say: (finding: Finding) => Effect.Effect<void>) =>
  Effect.gen(function*() {
    const url = new URL(given.url)
    const pass = (finding: Finding) =>
      Effect.flatMap(say(finding), () => finding.verdict === "fail" ? Effect.fail("over" as const) : Effect.void)
    yield* say(Network.proxyFinding(given.url, way.proxy, Option.isSome(given.proxy)))
    const { host, port } = Network.endpointOf(way.proxy ?? url)
    const { addresses, finding } = yield* Network.names(host, way.proxy === undefined ? "the server" : "the proxy")
    yield* pass(finding)
    const reached = yield* Network.tcp(addresses, port)
    yield* pass(reached.finding)
    if (url.protocol === "wss:") yield* pass(yield* tls(url, way, Option.isSome(given.tlsCa)))
    const dial = NodeTransport.connect(given.url, way)
    const line = yield* Effect.matchEffect(dial, {
      onFailure: (failure) =>
        Effect.zipRight(
          Effect.flatMap(Answer.refusal(failure, url, way, Option.isSome(given.token)), say),
          Effect.fail("over" as const)
        ),
      onSuccess: Peer.listen
    })
    yield* say(ok("upgrade", "101, a WebSocket"))
    const times = yield* Peer.roundTrips(line)
    const { finding: found, peer } = yield* Peer.identify(line, times)
    yield* say(Peer.roundTripFinding(times, reached.time))
    const measured = peer === "native"
      ? yield* Rates.measure(dial, median(times), Peer.relayOf(line.transport))
      : [found, ...(peer === "go" ? Rates.unmeasured(false) : [])]
    yield* Effect.forEach(measured, say)
    if (Option.isSome(given.idle)) {
      yield* say(
        yield* Effect.scoped(
          Effect.flatMap(Effect.flatMap(dial, Peer.listen), (fresh) => idle(fresh, Option.getOrThrow(given.idle)))
        )
      )
    }
    yield* say(yield* Answer.clock(url, way))
  }).pipe(Effect.scoped)
