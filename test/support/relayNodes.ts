import * as RelayDirectory from "effect-wsmux/RelayDirectory"
import type * as RelayServer from "effect-wsmux/RelayServer"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Logger from "effect/Logger"
import * as Option from "effect/Option"
import * as Scope from "effect/Scope"
import type * as Http from "node:http"
import { startRelay } from "./relay.js"
import { eventually } from "./transports.js"

/** The secret by which nodes of tests know each other. */
export const nodeSecret = "the secret of the nodes"

export const saying = (text: string): Http.RequestListener => (_request, response) => response.end(text)

interface NodesOptions {
  readonly wrap?: (directory: RelayDirectory.Service) => RelayDirectory.Service
  readonly ttl?: Duration.DurationInput
  readonly options?: Partial<RelayServer.Options>
}

/** Nodes that share a directory. Each has a scope of its own, which ends it as a crash does. */
export const startNodes = (
  count: number,
  { options, ttl = 600, wrap = (directory) => directory }: NodesOptions = {}
) =>
  Effect.gen(function*() {
    const directory = yield* RelayDirectory.makeMemory
    const nodes = yield* Effect.forEach(Array.from({ length: count }), (_, index) =>
      Effect.gen(function*() {
        const scope = yield* Effect.acquireRelease(Scope.make(), (scope) => Scope.close(scope, Exit.void))
        const relay = yield* Scope.extend(
          startRelay({
            holdTimeout: "3 seconds",
            ...options,
            cluster: { directory: wrap(directory), secret: nodeSecret, id: `node${index}`, ttl }
          }),
          scope
        )
        return { ...relay, crash: Scope.close(scope, Exit.void) }
      }))
    return { directory, nodes, first: nodes[0]!, second: nodes[1]! }
  })

/** Waits until the directory knows so many nodes of a name. */
export const known = (directory: RelayDirectory.Service, name: string, count = 1) =>
  eventually(() => Option.getOrUndefined(Effect.runSync(directory.find(name)))?.nodes.length === count)

/** Runs an effect, and completes with the messages that were logged meanwhile. */
export const logged = <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<ReadonlyArray<string>, E, R> =>
  Effect.suspend(() => {
    const lines: Array<string> = []
    const logger = Logger.make(({ message }) => void lines.push(String(message)))
    return Effect.as(Effect.provide(effect, Logger.replace(Logger.defaultLogger, logger)), lines)
  })
