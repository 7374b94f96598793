import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { Redis, type RedisOptions } from "ioredis"
import type { RedisClient } from "../RelayRedis.js"

/** How long a command may take: a request waits for it. */
const timeout = 2000

const again = (attempt: number): number => Math.min(attempt * 100, timeout)

const commands: RedisOptions = {
  commandTimeout: timeout,
  connectTimeout: timeout,
  enableOfflineQueue: false, // commands fail at once while Redis is away
  maxRetriesPerRequest: 0,
  retryStrategy: again
}

const subscription: RedisOptions = { connectTimeout: timeout, autoResubscribe: false, retryStrategy: again }

/** Connects to Redis, and goes on without it while it is away. Completes when the first attempt has ended. */
export const connect = (url: string): Effect.Effect<RedisClient, never, Scope.Scope> =>
  Effect.gen(function*() {
    const [client, subscriber] = yield* Effect.acquireRelease(
      Effect.sync(() => [new Redis(url, commands), new Redis(url, subscription)] as const),
      (clients) => Effect.sync(() => clients.forEach((client) => client.disconnect()))
    )
    for (const each of [client, subscriber]) each.on("error", () => {}) // each command fails, too
    yield* Effect.async<void>((resume) => {
      client.once("ready", () => resume(Effect.void))
      client.once("close", () => resume(Effect.void))
    })
    return {
      eval: (script, keys, args) => client.eval(script, keys.length, ...keys, ...args),
      subscribe: (channel, onMessage, onReady) => {
        subscriber.on("message", (_channel: string, message: string) => onMessage(message))
        const subscribe = () => subscriber.subscribe(channel).then(onReady, () => {}) // tried again when connected
        subscriber.on("ready", () => void subscribe())
        if (subscriber.status === "ready") void subscribe()
      }
    }
  })
