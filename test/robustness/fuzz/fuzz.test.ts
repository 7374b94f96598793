import { expect, it } from "@effect/vitest"
import { pathToFileURL } from "node:url"
import { count } from "../../support/count.js"
import { extent } from "../../support/extent.js"
import { tight } from "../../support/withstanding.js"
import { buildFuzzer } from "./build.js"
import type * as Fuzz from "./fuzz.js"
import { known } from "./known.js"

const { WSMUX_FUZZ_PROGRAM } = process.env
const messages = count("WSMUX_FUZZ_MESSAGES", extent(25_000, 15_000))
const fuzzer = buildFuzzer().then((path) => import(pathToFileURL(path).href) as Promise<typeof Fuzz>)
const seed = count("WSMUX_FUZZ_SEED", 1, 0)

it("session neither throws, hangs nor exceeds its bounds when coverage leads peer and user", async () => {
  const { attempt, fuzz } = await fuzzer
  // Buffer.from would stop at the first character that is not hexadecimal
  expect(WSMUX_FUZZ_PROGRAM ?? "00", "WSMUX_FUZZ_PROGRAM").toMatch(/^([\da-f]{2})+$/i)
  if (WSMUX_FUZZ_PROGRAM !== undefined) return void attempt(Buffer.from(WSMUX_FUZZ_PROGRAM, "hex"))
  const outcome = await fuzz({ messages, seed, progress: (soFar) => console.log(JSON.stringify(soFar)) })
  console.log(`fuzzed with seed ${seed}: ${JSON.stringify(outcome)}`)
  expect(outcome.messages).toBeGreaterThanOrEqual(messages)
  expect(outcome.corpus).toBeGreaterThan(50) // fewer would mean that coverage had led nowhere
  const { backlog, held, streams, unanswered } = outcome.reached // less would mean that no program came near a bound
  expect([backlog, unanswered]).toEqual([tight.acceptBacklog, tight.maxUnacknowledgedOpens])
  expect(streams).toBeGreaterThan(tight.maxStreams)
  expect(held).toBeGreaterThanOrEqual(tight.maxPeerWindow)
}, 120_000 + 5 * messages)

it.each(Object.entries(known))("a session withstands a program that fuzzing found: %s", async (_, program) => {
  const { attempt } = await fuzzer
  attempt(Buffer.from(program, "hex"))
})
