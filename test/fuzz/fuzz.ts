import * as Effect from "effect/Effect"
import * as TestContext from "effect/TestContext"
import { withstand } from "./withstand.js"

/** How often each branch was taken, as the instrumented sources count. */
declare const __hits: Uint32Array

export interface Options {
  /** How many messages hostile peers send at least, in all. */
  readonly messages: number
  readonly seed: number
  /** Told now and then. */
  readonly progress?: (outcome: Outcome) => void
}

export interface Outcome {
  readonly messages: number
  readonly programs: number
  /** Programs that did something that none had done before them. */
  readonly corpus: number
  readonly branches: number
}

/** How long one program may take, in milliseconds of real time: the clock of the program stands still. */
const patience = 30_000

const maxLength = 600

/** Runs programs that grow out of those which have reached something new, until one is not withstood. */
export const fuzz = async ({ messages, progress, seed }: Options): Promise<Outcome> => {
  const random = makeRandom(seed)
  const corpus: Array<Uint8Array> = []
  const known = new Set<number>()
  let sent = 0
  let programs = 0
  const outcome = (): Outcome => ({
    messages: sent,
    programs,
    corpus: corpus.length,
    branches: new Set(Array.from(known, (feature) => feature >> 3)).size
  })
  while (sent < messages) {
    const input = corpus.length < 4 || random(20) === 0 ? fresh(random) : mutate(corpus, random)
    __hits.fill(0)
    sent += await attempt(input)
    programs++
    const before = known.size
    for (const [branch, hits] of __hits.entries()) if (hits > 0) known.add(branch << 3 | scale(hits))
    if (known.size > before) corpus.push(input)
    if (programs % 1000 === 0) progress?.(outcome())
  }
  return outcome()
}

/** Runs one program, as it is told by a failure. */
export const attempt = async (input: Uint8Array): Promise<number> => {
  let timer: NodeJS.Timeout | undefined
  const tooLong = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error("it hangs")), patience)
  })
  try {
    return await Promise.race([Effect.runPromise(Effect.provide(withstand(input), TestContext.TestContext)), tooLong])
  } catch (cause) {
    throw new Error(`not withstood: WSMUX_FUZZ_PROGRAM=${Buffer.from(input).toString("hex")} npm run fuzz`, { cause })
  } finally {
    clearTimeout(timer)
  }
}

type Random = (below: number) => number

/** Mulberry32: the same numbers for the same seed. */
const makeRandom = (seed: number): Random => {
  let state = seed >>> 0
  return (below) => {
    state = state + 0x6d2b79f5 >>> 0
    let x = Math.imul(state ^ state >>> 15, state | 1)
    x ^= x + Math.imul(x ^ x >>> 7, x | 61)
    return ((x ^ x >>> 14) >>> 0) % below
  }
}

/** Once, twice, up to four times, and so on: another number of rounds of a loop is something new, too. */
const scale = (hits: number): number => Math.min(7, Math.ceil(Math.log2(hits)))

const fresh = (random: Random): Uint8Array => Uint8Array.from({ length: 30 + random(270) }, () => random(256))

const mutate = (corpus: ReadonlyArray<Uint8Array>, random: Random): Uint8Array => {
  const any = () => corpus[random(corpus.length)]!
  let bytes = Array.from(any())
  for (let times = 1 + random(6); times > 0; times--) {
    const at = 3 * random(Math.ceil(bytes.length / 3)) + 2
    const steps = 3 * (1 + random(10))
    switch (random(7)) {
      case 0:
      case 1:
        bytes[random(bytes.length)] = random(256)
        break
      case 2: {
        const which = random(bytes.length)
        bytes[which] = bytes[which]! + random(5) - 2 & 255
        break
      }
      case 3:
        bytes.splice(at, 0, random(256), random(256), random(256))
        break
      case 4:
        bytes.splice(at, steps)
        break
      case 5:
        bytes.splice(at, 0, ...bytes.slice(at, at + steps))
        break
      default:
        bytes = [...bytes.slice(0, at), ...any().subarray(at)]
    }
  }
  return Uint8Array.from(bytes.slice(0, maxLength))
}
