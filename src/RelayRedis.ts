/**
 * The directory of a relay in Redis.
 *
 * @since 0.2.0
 */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as Scripts from "./relay/redisScripts.js"
import {
  type Change,
  type Claim,
  DirectoryFailure,
  type Entry,
  type Node,
  RelayDirectory,
  type Ruling,
  type Service
} from "./RelayDirectory.js"

/**
 * The part of a Redis client that the directory uses, so that a program takes any client. Each promise should fail
 * within seconds while Redis is away.
 *
 * @since 0.2.0
 * @category models
 */
export interface RedisClient {
  /** Runs a Lua script. */
  readonly eval: (
    script: string,
    keys: ReadonlyArray<string>,
    args: ReadonlyArray<string>
  ) => PromiseLike<unknown>
  /**
   * Subscribes to a channel for as long as the client lives. Calls `onReady` at each subscription, also after a loss of
   * the connection, and `onMessage` for each message.
   */
  readonly subscribe: (channel: string, onMessage: (message: string) => void, onReady: () => void) => void
}

/**
 * @since 0.2.0
 * @category models
 */
export interface Options {
  /** The beginning of all keys and of the channel. Default `wsmux`. */
  readonly prefix?: string | undefined
}

/**
 * Makes a directory in one Redis, or in one with replicas. The keys are `PREFIX:node:ID`, which expire,
 * `PREFIX:nodes`, `PREFIX:name:NAME` and `PREFIX:budget:...`, which expire; the channel is `PREFIX:changes`. The
 * scripts touch several keys, which a Redis Cluster refuses.
 *
 * @since 0.2.0
 * @category constructors
 */
export const make = (
  client: RedisClient,
  { prefix = "wsmux" }: Options = {}
): Effect.Effect<Service, never, Scope.Scope> =>
  Effect.gen(function*() {
    const run = (script: string, key: string, ...args: ReadonlyArray<string>) =>
      Effect.tryPromise({
        try: () => Promise.resolve(client.eval(script, [`${prefix}:${key}`], [prefix, ...args])),
        catch: (cause) => new DirectoryFailure({ cause })
      })
    const claim = (claim: Claim, mode: "claim" | "weigh") => {
      const { agent, ageMillis, epoch, maxAgents, name, node, program = "" } = claim
      const numbers = [ageMillis, maxAgents].map((number) => String(Math.floor(number)))
      const args = [name, String(epoch), node, agent, program, ...numbers, mode]
      return Effect.map(run(Scripts.claim, `name:${name}`, ...args), (ruling) => String(ruling) as Ruling)
    }
    const listeners = new Set<(change: Change) => void>()
    const tell = (change: Change) => listeners.forEach((listener) => listener(change))
    client.subscribe(`${prefix}:changes`, (message) => tell(parse(message)), () => tell({}))
    yield* Effect.addFinalizer(() => Effect.sync(() => listeners.clear()))
    return {
      renew: ({ id, url }, ttlMillis) =>
        Effect.map(run(Scripts.renew, `node:${id}`, url, String(Math.ceil(ttlMillis)), id), (known) => known === 1),
      leave: (id) => Effect.asVoid(run(Scripts.leave, `node:${id}`)),
      claim: (given) => claim(given, "claim"),
      weigh: (given) => claim(given, "weigh"),
      release: ({ agent, name }) => Effect.asVoid(run(Scripts.release, `name:${name}`, name, agent)),
      find: (name) =>
        Effect.map(run(Scripts.find, `name:${name}`), (found) =>
          typeof found === "string" ? Option.some(JSON.parse(found) as Entry) : Option.none()),
      take: (budget, units, perSecond) =>
        Effect.map(run(Scripts.budget, `budget:${budget}`, String(units), String(perSecond), "take"), Number),
      owe: (budget, { teller, total, units }, perSecond) => {
        const args = [units, perSecond, "owe", teller, total].map(String)
        return Effect.map(run(Scripts.budget, `budget:${budget}`, ...args), Number)
      },
      nodes: Effect.map(run(Scripts.nodes, "nodes"), (found) =>
        JSON.parse(String(found)) as ReadonlyArray<Node>),
      changes: Stream.asyncPush<Change>((emit) =>
        Effect.acquireRelease(
          Effect.sync(() => {
            const listener = (change: Change) => void emit.single(change)
            listeners.add(listener)
            return listener
          }),
          (listener) => Effect.sync(() => listeners.delete(listener))
        ), { bufferSize: "unbounded" })
    }
  })

/** News that cannot be read count as missed. */
const parse = (message: string): Change => {
  try {
    const { epoch, name, nodes, superseded } = JSON.parse(message) as Change
    return { name: String(name), epoch: Number(epoch), nodes: nodes ?? [], superseded: superseded ?? [] }
  } catch {
    return {}
  }
}

/**
 * Provides a directory in Redis.
 *
 * @since 0.2.0
 * @category layers
 */
export const layer = (client: RedisClient, options?: Options): Layer.Layer<RelayDirectory> =>
  Layer.scoped(RelayDirectory, make(client, options))
