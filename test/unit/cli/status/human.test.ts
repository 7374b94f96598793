import { describe, expect, it } from "@effect/vitest"
import * as Human from "effect-wsmux/cli/status/human"

describe("Human", () => {
  it("Human.bytes rounds to two or more digits of the unit that fits", () => {
    const shown = [0, 1, 1023, 1024, 1536, 10_240, 1024 * 1024 - 1, 20 * 1024 ** 2, 5 * 1024 ** 6]
    expect(shown.map(Human.bytes)).toEqual([
      ...["0 B", "1 B", "1023 B", "1.0 KiB", "1.5 KiB", "10 KiB", "1.0 MiB", "20 MiB", "5120 PiB"]
    ])
  })

  it("Human.span names the two largest units, without a second one of 0", () => {
    const shown = [-5, 0, 999, 1000, 59_999, 60_000, 123_000, 3_600_000, 3_660_000, 100_000_000]
    expect(shown.map(Human.span)).toEqual([
      ...["0 s", "0 s", "0 s", "1 s", "59 s", "1 m", "2 m 3 s", "1 h", "1 h 1 m", "1 d 3 h"]
    ])
  })
})
