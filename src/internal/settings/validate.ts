import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schedule from "effect/Schedule"
import * as ScheduleIntervals from "effect/ScheduleIntervals"
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
  if (!dialects.includes(settings.dialect)) {
    return invalid("dialect", `${String(settings.dialect)} is none of ${dialects.join(", ")}`)
  }
  const { keepAliveInterval } = settings
  return Schedule.isSchedule(keepAliveInterval)
    ? Effect.flatMap(
      firstDelay(keepAliveInterval),
      (millis) =>
        millis <= 0
          ? invalid("keepAliveInterval", "the schedule has no delay; Schedule.spaced has one")
          : Effect.succeed(settings)
    )
    : Effect.succeed(settings)
}

/** The milliseconds until the second tick of a schedule. Infinite for a schedule without a second tick. */
const firstDelay = (schedule: Schedule.Schedule<unknown>): Effect.Effect<number> =>
  Effect.flatMap(
    Clock.currentTimeMillis,
    (now) =>
      Effect.map(schedule.step(now, undefined, schedule.initial), ([, , decision]) =>
        decision._tag === "Done" ? Infinity : ScheduleIntervals.start(decision.intervals) - now)
  )

/** The size in bytes of the largest message that a peer may send under these settings: the limit for the transport. */
export const maxMessageSize = (settings: Settings): number =>
  frameOverhead + Math.max(
    settings.streamBufferSize,
    settings.maxStreamBufferSize ?? 0,
    settings.maxPeerWindow,
    settings.dialect === "off" ? 0 : longestRecord
  )

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

/**
 * Returns a size of the options, a whole number or Infinity. Throws `InvalidConfiguration` at another value: a
 * defect of the program, because the errors of most operations tell of the peer and the network.
 */
export const unsafeSize = (setting: string, value: number, least: 0 | 1): number => {
  if ((Number.isInteger(value) || value === Infinity) && value >= least) return value
  throw new InvalidConfiguration({ setting, detail: `${value} is not a whole number from ${least} on` })
}

/** Returns a duration of the options. Throws `InvalidConfiguration` as `unsafeSize` does. */
export const unsafeDuration = (setting: string, value: Duration.DurationInput): Duration.Duration =>
  Option.getOrThrowWith(
    toDuration(value),
    () => new InvalidConfiguration({ setting, detail: `${String(value)} is not a duration` })
  )

/** Decodes a duration of the options where the errors have a place for `InvalidConfiguration`. */
export const duration = (
  setting: string,
  value: Duration.DurationInput
): Effect.Effect<Duration.Duration, InvalidConfiguration> =>
  Effect.try({ try: () => unsafeDuration(setting, value), catch: (error) => error as InvalidConfiguration })

/** The header of a frame in bytes, which the limit leaves room for. Written out, because settings know no frames. */
const frameOverhead = 5

/** The longest record of the dialect in bytes: an OPEN with the longest label and metadata (`wire/record.ts`). */
const longestRecord = 1 + 12 + 256 + 4096

const maxUint32 = 0xffff_ffff

const dialects: ReadonlyArray<unknown> = ["auto", "off", "required"] satisfies ReadonlyArray<Settings["dialect"]>

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
