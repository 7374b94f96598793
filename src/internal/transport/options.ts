import * as Effect from "effect/Effect"
import { SessionConfig } from "../../SessionConfig.js"
import { type Budget, SharedLimits } from "../../SharedLimits.js"
import { defaultHighWaterMark } from "../../Transport.js"
import { maxMessageSize } from "../settings/validate.js"

/** The options that every transport over a WebSocket has. */
interface Options {
  readonly highWaterMark?: number | undefined
  readonly maxMessageSize?: number | undefined
}

/** The options with their defaults. */
export interface Settings {
  /** At least 1: a transport with an empty buffer is writable. */
  readonly highWaterMark: number
  readonly maxMessageSize: number
  /** The limit in bytes on the unfinished messages of all connections. */
  readonly partialMessages: Budget
}

/** Fills in the defaults from the `SessionConfig` and the `SharedLimits` in the context. */
export const resolve = (options: Options): Effect.Effect<Settings> =>
  Effect.map(Effect.all([SessionConfig, SharedLimits]), ([config, { partialMessages }]) => ({
    partialMessages,
    highWaterMark: Math.max(options.highWaterMark ?? defaultHighWaterMark, 1),
    maxMessageSize: options.maxMessageSize ?? maxMessageSize(config)
  }))
