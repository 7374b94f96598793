import { describe, expect, it } from "@effect/vitest"
import * as FastCheck from "effect/FastCheck"
import { KeptMessages } from "../../../../src/internal/resume/keptMessages.js"
import { concat, pattern } from "../../../support/bytes.js"

/** The size of a block, at whose border messages are split. */
const block = 16 * 1024

const source = pattern(1 << 20)

const sizes = FastCheck.oneof(
  FastCheck.integer({ min: 1, max: 40 }),
  FastCheck.integer({ min: block - 3, max: block + 3 }),
  FastCheck.integer({ min: 1, max: 3 * block })
)

const steps = FastCheck.array(
  FastCheck.oneof(
    FastCheck.record({ do: FastCheck.constant("add" as const), size: sizes }),
    FastCheck.record({ do: FastCheck.constant("extend" as const), size: sizes }),
    FastCheck.record({
      do: FastCheck.constant("drop" as const),
      share: FastCheck.double({ min: 0, max: 1, noNaN: true })
    }),
    FastCheck.record({ do: FastCheck.constant("clear" as const) }),
    FastCheck.record({ do: FastCheck.constant("copy" as const) }),
    FastCheck.record({ do: FastCheck.constant("shrink" as const) })
  ),
  { maxLength: 60 }
)

const contentOf = (kept: KeptMessages) => Array.from(kept, (parts) => concat(parts))

const sizeOf = (messages: ReadonlyArray<Uint8Array>) => messages.reduce((sum, { length }) => sum + length, 0)

describe("KeptMessages", () => {
  it.prop("KeptMessages holds what a list of messages would hold after any steps", [steps], ([steps]) => {
    const kept = new KeptMessages()
    let model: Array<Uint8Array> = []
    let at = 0
    for (const step of steps) {
      if (step.do === "clear") {
        kept.clear()
        model = []
      } else if (step.do === "shrink" || step.do === "copy") {
        kept[step.do]()
      } else if (step.do === "drop") {
        const count = Math.floor(step.share * model.length)
        const dropped = model.splice(0, count)
        expect(kept.drop(count)).toBe(sizeOf(dropped))
      } else if (step.do === "add" || model.length > 0) {
        at = (at + 7) % 100_000
        const message = source.subarray(at, at + step.size)
        const parts = [message.subarray(0, 5), message.subarray(5)]
        expect(kept[step.do](parts)).toBe(message.length)
        if (step.do === "add") model.push(message)
        else model[model.length - 1] = concat([model[model.length - 1]!, message])
      }
      expect([kept.count, kept.bytes]).toEqual([model.length, sizeOf(model)])
    }
    expect(contentOf(kept).map((message, n) => Buffer.compare(message, model[n]!))).toEqual(model.map(() => 0))
  }, { fastCheck: { numRuns: 60 } })

  it("KeptMessages keeps the bytes of a message when its sender uses the buffer again", () => {
    const kept = new KeptMessages()
    const buffer = Uint8Array.of(1, 2, 3)
    kept.add([buffer])
    kept.copy()
    buffer.fill(9)
    expect(contentOf(kept)).toEqual([Uint8Array.of(1, 2, 3)])
  })

  it("KeptMessages repeats the same bytes when it is read twice", () => {
    const kept = new KeptMessages()
    for (const size of [3, block, 2 * block + 1]) kept.add([source.subarray(0, size)])
    expect(contentOf(kept)).toEqual(contentOf(kept))
    expect(contentOf(kept).map(({ length }) => length)).toEqual([3, block, 2 * block + 1])
  })

  it("KeptMessages drops and adds 100,000 messages one by one with bytes of the last ones only", () => {
    const kept = new KeptMessages()
    for (let n = 0; n < 100_000; n++) {
      kept.add([source.subarray(n, n + 20)])
      if (n >= 10) kept.drop(1)
    }
    expect([kept.count, kept.bytes]).toEqual([10, 200])
    expect(contentOf(kept)).toEqual(Array.from({ length: 10 }, (_, n) => source.subarray(99_990 + n, 100_010 + n)))
  })
})
