import { describe, expect, it } from "@effect/vitest"
import { maxMessageSize, merge, validate } from "effect-wsmux/internal/settings/validate"
import { defaults, type PartialSettings, type Settings, websocktunnel } from "effect-wsmux/SessionConfig"
import { InvalidConfiguration } from "effect-wsmux/WsmuxError"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"
import * as Record from "../../../../src/internal/wire/record.js"

/** Settings whose values have the wrong types. */
const illTyped = (settings: Record<string, unknown>) => settings as PartialSettings

describe("settings", () => {
  it("merge replaces the given settings, and none by undefined", () => {
    const closeCallback = () => Effect.void
    const options = { log: true, streamBufferSize: 9, closeCallback, initialSendCredit: 0, acceptBacklog: undefined }
    expect(merge(defaults, options)).toEqual({
      ...defaults,
      log: true,
      streamBufferSize: 9,
      closeCallback,
      initialSendCredit: 0
    })
  })

  it.effect("websocktunnel gives windows of 4 MiB without growth when it is merged with growing ones", () =>
    Effect.gen(function*() {
      const growing = { ...defaults, streamBufferSize: 1024, maxStreamBufferSize: 64 * 1024 * 1024 }
      const settings = yield* validate(merge(growing, websocktunnel))
      const size = 4 * 1024 * 1024
      expect(settings).toMatchObject({ streamBufferSize: size, maxStreamBufferSize: size, initialSendCredit: size })
      expect(maxMessageSize(settings)).toBe(size + 5)
    }))

  it("maxMessageSize is the largest window and its frame header", () => {
    const sizeFor = (options: PartialSettings) => maxMessageSize(merge(defaults, { dialect: "off", ...options }))
    expect([
      sizeFor({}),
      sizeFor({ streamBufferSize: 100, maxPeerWindow: 0 }),
      sizeFor({ streamBufferSize: 100, maxPeerWindow: 101 }),
      sizeFor({ streamBufferSize: 100, maxPeerWindow: 101, maxStreamBufferSize: 102 })
    ]).toEqual([4 * 1024 * 1024 + 5, 105, 106, 107])
  })

  it("maxMessageSize has room for each record when the dialect is not off", () => {
    const introduction = Record.encodeIntroduction("x".repeat(Record.maxLabel), {
      a: "x".repeat(Record.maxMetadata - 4)
    })
    const longest = Record.encodeOpen(1, 1, introduction).byteLength
    for (const dialect of ["auto", "required"] as const) {
      const sizeFor = (options: PartialSettings) =>
        maxMessageSize(merge(defaults, { dialect, maxPeerWindow: 0, ...options }))
      expect([sizeFor({}), sizeFor({ streamBufferSize: longest })]).toEqual([longest, longest + 5])
    }
  })

  it.effect("validate names dialect when its value is none of the three", () =>
    Effect.gen(function*() {
      for (const dialect of ["auto", "off", "required"] as const) {
        expect((yield* validate({ ...defaults, dialect })).dialect).toBe(dialect)
      }
      for (const dialect of ["on", "", true, undefined, null]) {
        const invalid = new InvalidConfiguration({
          setting: "dialect",
          detail: `${String(dialect)} is none of auto, off, required`
        })
        expect(yield* Effect.flip(validate({ ...defaults, ...illTyped({ dialect }) } as Settings))).toEqual(invalid)
      }
    }))

  const max = 0xffff_ffff
  const sizes: ReadonlyArray<readonly [setting: keyof Settings, least: number, most: number]> = [
    ["streamBufferSize", 1, max],
    ["acceptBacklog", 0, max],
    ["maxStreams", 0, max],
    ["maxUnacknowledgedOpens", 1, max],
    ["maxPeerWindow", 0, max],
    ["initialSendCredit", 0, max],
    ["maxFrameSize", 1, max],
    ["maxStreamBufferSize", 1, max],
    ["maxWindowGrowth", 0, Number.MAX_SAFE_INTEGER],
    ["maxSessionBufferSize", 0, Number.MAX_SAFE_INTEGER],
    ["discardLimit", 0, Number.MAX_SAFE_INTEGER]
  ]
  for (const [setting, least, most] of sizes) {
    it.effect(`validate names ${setting} when its value is out of range`, () =>
      Effect.gen(function*() {
        const check = (value: number) => validate({ ...defaults, [setting]: value })
        for (const value of [least, most]) expect((yield* check(value))[setting]).toBe(value)
        for (const value of [least - 1, most + 1, least + 0.5, -1, NaN, Infinity]) {
          const detail = `${value} is not a whole number from ${least} to ${most}`
          expect(yield* Effect.flip(check(value))).toEqual(new InvalidConfiguration({ setting, detail }))
        }
      }))
  }

  const durations = [
    "keepAliveInterval",
    "streamAcceptDeadline",
    "backlogTimeout",
    "flushTimeout",
    "closeTimeout"
  ] as const
  for (const setting of durations) {
    it.effect(`validate names ${setting} when its value is out of range`, () =>
      Effect.gen(function*() {
        const check = (value: unknown) => validate(merge(defaults, illTyped({ [setting]: value })))
        for (const value of [1, "2 minutes", Duration.infinity]) expect((yield* check(value))[setting]).toBe(value)
        for (const value of ["soon", {}, true, NaN, -1, "-1 seconds", -1n, [-1, 0], [NaN, 0], [0, -1]]) {
          const detail = `${String(value)} is not a duration`
          expect(yield* Effect.flip(check(value))).toEqual(new InvalidConfiguration({ setting, detail }))
        }
      }))
  }

  it.effect("validate refuses a Schedule for keepAliveInterval when it has no delay", () =>
    Effect.gen(function*() {
      const check = (keepAliveInterval: Schedule.Schedule<unknown>) => validate({ ...defaults, keepAliveInterval })
      for (const schedule of [Schedule.forever, Schedule.recurs(3), Schedule.spaced(0), Schedule.fixed(0)]) {
        expect(yield* Effect.flip(check(schedule))).toEqual(
          new InvalidConfiguration({
            setting: "keepAliveInterval",
            detail: "the schedule has no delay; Schedule.spaced has one"
          })
        )
      }
      const jittered = Schedule.jittered(Schedule.fixed("10 seconds"))
      for (const schedule of [jittered, Schedule.exponential("1 second"), Schedule.stop]) {
        expect((yield* check(schedule)).keepAliveInterval).toBe(schedule)
      }
    }))

  it.effect("validate admits a Schedule for keepAliveInterval alone", () =>
    Effect.gen(function*() {
      const schedule = Schedule.spaced("1 second")
      expect((yield* validate({ ...defaults, keepAliveInterval: schedule })).keepAliveInterval).toBe(schedule)
      for (const setting of durations.slice(1)) {
        const failure = yield* Effect.flip(validate(merge(defaults, illTyped({ [setting]: schedule }))))
        expect(failure).toMatchObject({ setting, detail: expect.stringMatching(/ is not a duration$/) })
      }
    }))

  it.effect("validate refuses a keep-alive interval of zero, and admits other waits of zero", () =>
    Effect.gen(function*() {
      const none = { streamAcceptDeadline: 0, flushTimeout: 0, closeTimeout: 0 }
      expect(yield* validate({ ...defaults, ...none })).toEqual({ ...defaults, ...none })
      for (const keepAliveInterval of [0, Duration.zero, "0 seconds"] as const) {
        expect(yield* Effect.flip(validate({ ...defaults, keepAliveInterval }))).toEqual(
          new InvalidConfiguration({
            setting: "keepAliveInterval",
            detail: "zero is too short; Duration.infinity turns the keep-alive off"
          })
        )
      }
    }))
})
