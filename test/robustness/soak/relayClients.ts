import { once } from "node:events"
import * as Http from "node:http"
import { setTimeout } from "node:timers/promises"
import { answering, type Memory, memory } from "../../support/answering.js"
import { random } from "./tasks.js"

export interface ClientsReport extends Memory {
  readonly answered: number
  /** Answers of the relay itself, by their status. */
  readonly statuses: Readonly<Record<string, number>>
  /** Connections that were lost: with their node, or behind the beginning of an answer. */
  readonly lost: number
  /** Requests that no node accepted. The client tries the next node. */
  readonly refused: number
  /** The longest wait for an answer or a failure in milliseconds, and the requests that run. */
  readonly slowest: number
  readonly running: number
  /** Requests that failed although nothing died any more when they began. */
  readonly failed: number
  readonly mismatches: ReadonlyArray<string>
}

export interface ClientsQuestion {
  /** `gentle`: nothing dies any more, so that each failure of a request that begins from now on is a mismatch. */
  readonly ask: "report" | "killing" | "gentle" | "finish"
  /** The node that dies next. */
  readonly node?: number
}

/** Each accepted request is answered, or fails, within so many milliseconds. */
const limit = 10_000

/** How often the clients ask whether a node takes requests, as a balancer does. */
const heartbeat = 200

interface Settings {
  readonly streams: number
  readonly agents: number
  readonly urls: ReadonlyArray<string>
  /** The milliseconds of the longest answers. */
  readonly longest: number
  readonly seed: number
}

/** Sends requests to names at all nodes, as a balancer spreads them, so many at a time. */
export const relayClients = ({ agents, longest, seed, streams, urls }: Settings): void => {
  const choose = random(seed)
  const isUp = urls.map(() => true)
  const killedAt = urls.map(() => -Infinity)
  const mismatches: Array<string> = []
  const statuses: Record<string, number> = {}
  const counts = { answered: 0, lost: 0, refused: 0, slowest: 0, running: 0, failed: 0 }
  let gentleSince = Infinity
  let isEnding = false

  /** The nodes in the order in which a balancer tries them. */
  const order = (): ReadonlyArray<number> => {
    const first = Math.floor(choose() * urls.length)
    const all = urls.map((_, i) => (first + i) % urls.length)
    return [...all.filter((i) => isUp[i]), ...all.filter((i) => !isUp[i])]
  }

  const send = async (): Promise<void> => {
    const name = `agent${Math.floor(choose() * agents)}`
    const slow = choose() < 0.8 ? Math.floor(longest * (0.25 + 0.75 * choose())) : undefined
    const body = slow === undefined ? Buffer.alloc(Math.floor(choose() * 50_000), name) : undefined
    for (const node of order()) {
      const began = performance.now()
      const isGentle = began >= gentleSince
      const path = slow === undefined ? `/${name}/echo` : `/${name}/slow/${slow}`
      const outcome = await exchange(`${urls[node]}${path}`, body)
      const answerMillis = outcome.headMillis - began
      if (outcome.kind === "refused") {
        counts.refused++
        isUp[node] = false
        continue
      }
      counts.slowest = Math.max(counts.slowest, answerMillis)
      const millis = `${Math.round(performance.now() - began)} ms, of which ${
        Math.round(answerMillis)
      } to its beginning`
      const told = `${path} at node ${node}: ${outcome.text} after ${millis}`
      if (answerMillis > limit || performance.now() - began > limit + (slow ?? 0)) mismatches.push(`late: ${told}`)
      if (outcome.kind === "answered" && outcome.status === 200) {
        const isWhole = outcome.agent === name && (body === undefined ? outcome.isEnded : outcome.body.equals(body))
        if (isWhole) counts.answered++
        else mismatches.push(`wrong: ${told}`)
        return
      }
      if (isGentle) counts.failed++
      if (outcome.kind === "answered") {
        statuses[outcome.status] = (statuses[outcome.status] ?? 0) + 1
        if (isGentle || ![502, 503, 504].includes(outcome.status)) mismatches.push(`refused: ${told}`)
      } else {
        counts.lost++
        const isExplained = outcome.hasBegun || performance.now() - killedAt[node]! < limit
        if (isGentle || !isExplained) mismatches.push(`lost: ${told}`)
      }
      await setTimeout(1000 * choose()) // as `retry-after` asks, and not all at once
      return
    }
    await setTimeout(100) // no node is up
  }

  const loop = async (): Promise<void> => {
    while (!isEnding) {
      counts.running++
      await send()
      counts.running--
    }
  }

  const watch = async (node: number): Promise<void> => {
    while (!isEnding) {
      const outcome = await exchange(`${urls[node]}/__heartbeat__`)
      isUp[node] = outcome.kind === "answered" && outcome.status === 200
      await setTimeout(heartbeat)
    }
  }

  urls.forEach((_, node) => void watch(node))
  // not all at once
  for (let i = 0; i < streams; i++) void setTimeout(i).then(loop)

  answering(async ({ ask, node }: ClientsQuestion) => {
    if (ask === "killing") killedAt[node!] = performance.now()
    if (ask === "gentle") gentleSince = Math.min(gentleSince, performance.now())
    if (ask === "finish") {
      isEnding = true
      for (let i = 0; counts.running > 0 && i < 400; i++) await setTimeout(50)
    }
    const used = ask === "report" || ask === "finish" ? await memory() : undefined
    return { ...used, ...counts, statuses, mismatches: mismatches.splice(0) }
  })
}

interface Outcome {
  readonly kind: "answered" | "lost" | "refused"
  readonly status: number
  readonly agent: string
  readonly body: Buffer
  /** Whether the body has its last byte. */
  readonly isEnded: boolean
  readonly hasBegun: boolean
  /** When the answer began, or the request failed. */
  readonly headMillis: number
  readonly text: string
}

/** Sends one request over a connection of its own. */
const exchange = async (url: string, body?: Buffer): Promise<Outcome> => {
  const none = { status: 0, agent: "", body: Buffer.alloc(0), isEnded: false, hasBegun: false }
  let headMillis = 0
  let answer: Http.IncomingMessage | undefined
  const chunks: Array<Buffer> = []
  try {
    const request = Http.request(url, { agent: false, method: body === undefined ? "GET" : "POST" })
    request.on("error", () => {}) // a later one than the first
    request.end(body)
    answer = (await once(request, "response"))[0] as Http.IncomingMessage
    headMillis = performance.now()
    for await (const chunk of answer) chunks.push(chunk as Buffer)
    const status = answer.statusCode!
    const all = Buffer.concat(chunks)
    const text = `${status} ${status === 200 ? `${all.length} bytes` : all.toString("latin1").trim()}`
    const agent = String(answer.headers["x-agent"])
    return { kind: "answered", status, agent, body: all, isEnded: all.at(-1) === 33, hasBegun: true, headMillis, text }
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException
    const text = `${code ?? message}${answer === undefined ? "" : " in the answer"}`
    const kind = code === "ECONNREFUSED" ? "refused" : "lost"
    return { ...none, kind, hasBegun: answer !== undefined, headMillis: headMillis || performance.now(), text }
  }
}
