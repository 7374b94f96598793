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
    subscriber.on("error", () => {}) // the other client meets the same fault
    const fault = faultOf(client)
    yield* Effect.async<void>((resume) => {
      client.once("ready", () => resume(Effect.void))
      client.once("close", () => resume(Effect.void))
    })
    return {
      eval: (script, keys, args) => {
        // with a wrong number of the database, Redis would serve another one
        if (client.status === "ready" && fault() !== undefined) return Promise.reject(new Error(fault()))
        return client.eval(script, keys.length, ...keys, ...args).catch((error: unknown) => {
          throw client.status !== "ready" && fault() !== undefined ? new Error(fault()) : error
        })
      },
      subscribe: (channel, onMessage, onReady) => {
        subscriber.on("message", (_channel: string, message: string) => onMessage(message))
        const subscribe = () => subscriber.subscribe(channel).then(onReady, () => {}) // tried again when connected
        subscriber.on("ready", () => void subscribe())
        if (subscriber.status === "ready") void subscribe()
      }
    }
  })

/**
 * Returns what tells why Redis is away, such as a wrong password: the commands tell only that there is no connection.
 * The first error of an attempt is the cause of the others.
 */
const faultOf = (client: Redis): () => string | undefined => {
  let fault: string | undefined
  let hasFailed = false
  const begin = () => void (hasFailed = false)
  client.on("connect", begin).on("close", begin)
  client.on("error", (error: NodeJS.ErrnoException) => {
    if (!hasFailed) fault = error.message || error.code || error.name // of several addresses there is a code alone
    hasFailed = true
  })
  client.on("ready", () => {
    if (!hasFailed) fault = undefined
  })
  return () => fault
}
