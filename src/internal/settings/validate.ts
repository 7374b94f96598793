import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schedule from "effect/Schedule"
import type { Settings } from "../../SessionConfig.js"
import { InvalidConfiguration } from "../../WsmuxError.js"

/** Replaces some of the settings. `undefined` replaces nothing. */
export const merge = <A extends object>(settings: A, given: { readonly [K in keyof A]?: A[K] | undefined }): A => {
  const defined = Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined))
  return { ...settings, ...defined }
}

/** Answers with the settings, or fails with `InvalidConfiguration` for the first invalid one. */
export const validate = (settings: Settings): Effect.Effect<Settings, InvalidConfiguration> => {
  for (const [setting, least, most] of sizes) {
    const value = settings[setting]
    if (value === undefined) continue
    if (!Number.isInteger(value) || value < least || value > most) {
      return invalid(setting, `${value} is not a whole number from ${least} to ${most}`)
    }
  }
  for (const setting of durations) {
    const value = settings[setting]
    if (setting === "keepAliveInterval" && Schedule.isSchedule(value)) continue
    const decoded = toDuration(value)
    if (decoded._tag === "None") {
      return invalid(setting, `${String(value)} is not a duration`)
    }
    if (setting === "keepAliveInterval" && Duration.equals(decoded.value, Duration.zero)) {
      return invalid(setting, "zero is too short; Duration.infinity turns the keep-alive off")
    }
  }
  return Effect.succeed(settings)
}

/** The size in bytes of the largest message that a peer may send under these settings: the limit for the transport. */
export const maxMessageSize = (settings: Settings): number =>
  Math.max(settings.streamBufferSize, settings.maxStreamBufferSize ?? 0, settings.maxPeerWindow) + frameOverhead

/** Fails with `InvalidConfiguration` when the transport admits smaller messages than these settings need. */
export const validateMessageSize = (
  settings: Settings,
  transport: { readonly maxMessageSize: number }
): Effect.Effect<void, InvalidConfiguration> => {
  const needed = maxMessageSize(settings)
  return needed > transport.maxMessageSize
    ? invalid(
      "maxMessageSize",
      `the transport lets in messages of ${transport.maxMessageSize} bytes; these settings need ${needed}`
    )
    : Effect.void
}

/** Decodes a duration. Effect itself takes negative numbers and NaN for zero. */
export const toDuration = (value: unknown): Option.Option<Duration.Duration> =>
  Option.filter(Duration.decodeUnknown(value), () => {
    if (typeof value === "string") return !value.startsWith("-")
    const nanos = Array.isArray(value) ? value[0] * 1e9 + value[1] : value
    return typeof nanos === "object" || nanos >= 0
  })

/** The header of a frame in bytes, which the limit leaves room for. Written out, because settings know no frames. */
const frameOverhead = 5

const maxUint32 = 0xffff_ffff

const sizes = [
  ["streamBufferSize", 1, maxUint32],
  ["maxStreamBufferSize", 1, maxUint32],
  ["maxWindowGrowth", 0, Number.MAX_SAFE_INTEGER],
  ["maxSessionBufferSize", 0, Number.MAX_SAFE_INTEGER],
  ["acceptBacklog", 0, maxUint32],
  ["maxStreams", 0, maxUint32],
  ["maxUnacknowledgedOpens", 1, maxUint32],
  ["maxPeerWindow", 0, maxUint32],
  ["initialSendCredit", 0, maxUint32],
  ["maxFrameSize", 1, maxUint32],
  ["discardLimit", 0, Number.MAX_SAFE_INTEGER]
] as const

const durations = [
  "keepAliveInterval",
  "streamAcceptDeadline",
  "backlogTimeout",
  "flushTimeout",
  "closeTimeout"
] as const

const invalid = (setting: string, detail: string) => Effect.fail(new InvalidConfiguration({ setting, detail }))
