import * as Effect from "effect/Effect"
import { SessionConfig } from "../../SessionConfig.js"
import { type Budget, SharedLimits } from "../../SharedLimits.js"
import { defaultHighWaterMark } from "../../Transport.js"
import { maxMessageSize, unsafeSize } from "../settings/validate.js"

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

/** Fills in the defaults from the `SessionConfig` and the `SharedLimits` in the context. A wrong option is a defect. */
export const resolve = (options: Options): Effect.Effect<Settings> =>
  Effect.map(Effect.all([SessionConfig, SharedLimits]), ([config, { partialMessages }]) => ({
    partialMessages,
    highWaterMark: Math.max(unsafeSize("highWaterMark", options.highWaterMark ?? defaultHighWaterMark, 0), 1),
    maxMessageSize: unsafeSize("maxMessageSize", options.maxMessageSize ?? maxMessageSize(config), 1)
  }))
