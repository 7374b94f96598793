import { Random } from "../../support/random.js"
import { furthest, type Reached } from "../../support/withstanding.js"
import { withstand, type Withstood } from "./withstand.js"

/** How often programs took each branch, which the instrumented sources count. */
declare const __hits: Uint32Array

export interface Options {
  /** The fewest messages that hostile peers send to open sessions, in all programs. */
  readonly messages: number
  readonly seed: number
  /** A callback that gets the outcome so far, from time to time. */
  readonly progress?: (outcome: Outcome) => void
}

export interface Outcome {
  readonly messages: number
  readonly programs: number
  /** The number of programs that reached new branches or counts. */
  readonly corpus: number
  readonly branches: number
  /** The highest figures of all sessions. */
  readonly reached: Reached
}

/** The number of programs in one turn of the event loop. */
const perTurn = 20

/** The longest program, in bytes. */
const maxLength = 600

/** Runs mutations of programs that have reached new branches, and throws when a session fails its checks. */
export const fuzz = async ({ messages, progress, seed }: Options): Promise<Outcome> => {
  const random = new Random(seed)
  const corpus: Array<Uint8Array> = []
  const known = new Set<number>()
  let sent = 0
  let programs = 0
  let reached: Reached = { backlog: 0, unanswered: 0, streams: 0, held: 0 }
  const outcome = (): Outcome => ({
    messages: sent,
    programs,
    corpus: corpus.length,
    branches: new Set(Array.from(known, (feature) => feature >> 3)).size,
    reached
  })
  while (sent < messages) {
    const input = corpus.length < 4 || random.chance(0.05) ? fresh(random) : mutate(corpus, random)
    __hits.fill(0)
    const withstood = attempt(input)
    sent += withstood.messages
    reached = furthest(reached, withstood.reached)
    programs++
    const before = known.size
    for (const [branch, hits] of __hits.entries()) if (hits > 0) known.add(branch << 3 | scale(hits))
    if (known.size > before) corpus.push(input)
    if (programs % 1000 === 0) progress?.(outcome())
    if (programs % perTurn === 0) await new Promise((resolve) => setImmediate(resolve))
  }
  return outcome()
}

/** Runs one program, such as that of a failure. */
export const attempt = (input: Uint8Array): Withstood => {
  try {
    return withstand(input)
  } catch (cause) {
    throw new Error(`not withstood: WSMUX_FUZZ_PROGRAM=${Buffer.from(input).toString("hex")} npm run fuzz`, { cause })
  }
}

/** The class of a count: 1, 2, up to 4, and so on. A new class of a loop counts as new coverage. */
const scale = (hits: number): number => Math.min(7, Math.ceil(Math.log2(hits)))

const fresh = (random: Random): Uint8Array => Uint8Array.from({ length: random.int(30, 300) }, () => byte(random))

const byte = (random: Random): number => random.int(0, 255)

const mutate = (corpus: ReadonlyArray<Uint8Array>, random: Random): Uint8Array => {
  let bytes = Array.from(random.pick(corpus))
  for (let times = random.int(1, 6); times > 0; times--) {
    const at = 3 * random.int(1, Math.max(1, Math.floor(bytes.length / 3)))
    const steps = 3 * random.int(1, 10)
    const which = random.int(0, Math.max(0, bytes.length - 1))
    switch (random.int(0, 6)) {
      case 0:
      case 1:
        bytes[which] = byte(random)
        break
      case 2:
        bytes[which] = (bytes[which] ?? 0) + random.int(-2, 2) & 255
        break
      case 3:
        bytes.splice(at, 0, byte(random), byte(random), byte(random))
        break
      case 4:
        bytes.splice(at, steps)
        break
      case 5:
        bytes.splice(at, 0, ...bytes.slice(at, at + steps))
        break
      default:
        bytes = [...bytes.slice(0, at), ...random.pick(corpus).subarray(at)]
    }
  }
  return Uint8Array.from(bytes.slice(0, maxLength))
}
