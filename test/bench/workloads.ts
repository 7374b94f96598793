import { setTimeout } from "node:timers/promises"
import { content, single, type Source, Tally, tallyOf, verify } from "./content.js"
import { adapters } from "./entrants.js"
import type { Memory } from "./memory.js"
import type { Sizes } from "./options.js"
import type { Client, Role, Roles, Service } from "./peers/peer.js"
import { type Bar, bestOther, type Measured, type Sample } from "./results.js"
import { percentile } from "./statistics.js"

/** Both processes of a run, for the client. */
export interface Probe {
  /** The memory of this process and of the server. */
  readonly memory: () => Promise<{ readonly client: Memory; readonly server: Memory }>
}

export interface Workload extends Measured {
  readonly title: (sizes: Sizes) => string
  /** Whether a bare socket can run the workload. */
  readonly bare: boolean
  readonly role: (sizes: Sizes) => Roles
  /** A small part of the work, which runs again and again before the clock starts. */
  readonly warmUp?: ((client: Client, sizes: Sizes) => Promise<unknown>) | undefined
  readonly measure: (client: Client, sizes: Sizes, probe: Probe) => Promise<Sample>
  /** Whether a proxy delays each direction. */
  readonly delayed?: boolean
}

const kib = 1 << 10
const mib = 1 << 20

const ahead = (metric: string): Bar => ({ metric, against: bestOther, atLeast: 1 })

const sink = (): Service => {
  const tally = new Tally()
  return { take: tally.add, answer: () => single(tally.encode()) }
}

/** Answers with as many bytes as the request asks for. */
const source = (size: number) => (): Service => {
  const request: Array<Uint8Array> = []
  return {
    take: (chunk) => request.push(chunk),
    answer: () => content(Buffer.concat(request).readDoubleLE(), size)
  }
}

const every = (role: Role): Roles => () => role

/** Runs some work, and answers with its seconds. */
const clock = async (work: () => Promise<unknown>): Promise<number> => {
  const start = performance.now()
  await work()
  return (performance.now() - start) / 1000
}

/** Sends to a sink, and checks the digest of the sink after the clock has stopped. */
const upload = async (client: Client, request: Source): Promise<() => void> => {
  const answer: Array<Uint8Array> = []
  await client.exchange(request, (chunk) => answer.push(chunk))
  return () => verify("the upload", Buffer.concat(answer), tallyOf(request))
}

const uploadRate = async (client: Client, bytes: number, size: number): Promise<Sample> => {
  let check = () => {}
  const seconds = await clock(async () => {
    check = await upload(client, content(bytes, size))
  })
  check()
  return { "MB/s": bytes / seconds / 1e6 }
}

/** Sends this many bytes on each of many streams at once, or one after the other on a bare socket. */
const uploads = async (client: Client, sizes: Sizes, bytes: number): Promise<Sample> => {
  const size = sizes["chunk-kib"] * kib
  if (!client.multiplexes) return uploadRate(client, sizes.streams * bytes, size)
  let checks: ReadonlyArray<() => void> = []
  const seconds = await clock(async () => {
    checks = await Promise.all(Array.from({ length: sizes.streams }, () => upload(client, content(bytes, size))))
  })
  for (const check of checks) check()
  return { "MB/s": sizes.streams * bytes / seconds / 1e6 }
}

const download = async (client: Client, bytes: number): Promise<Tally> => {
  const request = Buffer.alloc(8)
  request.writeDoubleLE(bytes)
  const tally = new Tally()
  await client.exchange(single(request), tally.add)
  return tally
}

/** Runs tasks with a number of workers. */
const share = async (workers: number, tasks: number, task: () => Promise<unknown>): Promise<void> => {
  let left = tasks
  const worker = async () => {
    while (left-- > 0) await task()
  }
  await Promise.all(Array.from({ length: workers }, worker))
}

const ping = Buffer.from(content(64, 64)[Symbol.iterator]().next().value!)

const pings = async (client: Client, more: (times: ReadonlyArray<number>) => boolean): Promise<Array<number>> => {
  const times: Array<number> = []
  await client.pingPong(ping, (ms) => {
    times.push(ms * 1000)
    return more(times)
  })
  return times
}

const bulk: Pick<Workload, "bare" | "role" | "warmUp" | "measure"> = {
  bare: true,
  role: () => every(sink),
  warmUp: (client, sizes) => upload(client, content(8 * mib, sizes["chunk-kib"] * kib)),
  measure: (client, sizes) => uploadRate(client, sizes["bulk-mib"] * mib, sizes["chunk-kib"] * kib)
}

const bulkBack: Pick<Workload, "metrics" | "bare" | "role" | "warmUp" | "measure"> = {
  metrics: { "MB/s": "more" },
  bare: true,
  role: (sizes) => every(source(sizes["chunk-kib"] * kib)),
  warmUp: (client) => download(client, 8 * mib),
  measure: async (client, sizes) => {
    const bytes = sizes["bulk-mib"] * mib
    let got = new Tally()
    const seconds = await clock(async () => {
      got = await download(client, bytes)
    })
    verify("the download", got.encode(), tallyOf(content(bytes, sizes["chunk-kib"] * kib)))
    return { "MB/s": bytes / seconds / 1e6 }
  }
}

/** An adapter costs a few percent at most. */
const adapted: ReadonlyArray<Bar> = Object.keys(adapters).map((of) => ({
  metric: "MB/s",
  of,
  against: "ours",
  atLeast: 0.95
}))

const echoed = async (client: Client): Promise<void> => {
  const request = content(kib, kib)
  const back = new Tally()
  await client.exchange(request, back.add)
  verify("the echo", back.encode(), tallyOf(request))
}

export const workloads: ReadonlyArray<Workload> = [
  {
    ...bulk,
    id: "W0",
    title: (sizes) => `the first ${sizes["first-mib"]} MiB of two fresh processes, as W1`,
    metrics: { "MB/s": "more" },
    bars: [],
    warmUp: undefined,
    measure: (client, sizes) => uploadRate(client, sizes["first-mib"] * mib, sizes["chunk-kib"] * kib)
  },
  {
    ...bulk,
    id: "W1",
    title: (sizes) => `1 stream, ${sizes["bulk-mib"]} MiB client to server, writes of ${sizes["chunk-kib"]} KiB`,
    metrics: { "MB/s": "more" },
    bars: [{ metric: "MB/s", against: "ws", atLeast: 0.95, withBufferutil: 0.85 }, ahead("MB/s")]
  },
  {
    ...bulkBack,
    id: "W1r",
    title: () => "the same, server to client",
    bars: [{ metric: "MB/s", against: "ws", atLeast: 0.75 }, ahead("MB/s")]
  },
  {
    ...bulk,
    id: "W2",
    title: (sizes) => `${sizes.streams} streams of ${sizes["stream-kib"]} KiB at once, client to server`,
    metrics: { "MB/s": "more" },
    bars: [{ metric: "MB/s", against: "ws", atLeast: 0.9, withBufferutil: 0.85 }, ahead("MB/s")],
    warmUp: (client, sizes) => uploads(client, sizes, Math.ceil(64 * mib / sizes.streams)),
    measure: (client, sizes) => uploads(client, sizes, sizes["stream-kib"] * kib)
  },
  {
    id: "W3",
    title: (sizes) => `${sizes["round-trips"]} round trips of 64 bytes on one stream`,
    metrics: { "round trips/s": "more", "p50 µs": "less", "p99 µs": "less" },
    bars: [
      { metric: "round trips/s", against: "ws", atLeast: 0.92 },
      { metric: "p99 µs", against: "ws", atMost: 1.6 },
      ahead("round trips/s")
    ],
    bare: true,
    role: () => every("echo"),
    warmUp: (client) => pings(client, (times) => times.length < 500),
    measure: async (client, sizes) => {
      let times: ReadonlyArray<number> = []
      const seconds = await clock(async () => {
        times = await pings(client, (times) => times.length < sizes["round-trips"])
      })
      return {
        "round trips/s": times.length / seconds,
        "p50 µs": percentile(times, 0.5),
        "p99 µs": percentile(times, 0.99)
      }
    }
  },
  {
    id: "W4",
    title: (sizes) =>
      `${sizes["short-streams"]} streams by ${sizes.workers} workers: open, 1 KiB, end, the echo to its end, close`,
    metrics: { "streams/s": "more" },
    bars: [{ metric: "streams/s", of: "ours-whole", against: bestOther, atLeast: 0.9 }],
    bare: false,
    role: () => every("echo"),
    warmUp: (client, sizes) => share(sizes.workers, 2 * sizes.workers, () => echoed(client)),
    measure: async (client, sizes) => ({
      "streams/s": sizes["short-streams"] /
        await clock(() => share(sizes.workers, sizes["short-streams"], () => echoed(client)))
    })
  },
  {
    id: "W5",
    title: (sizes) => `${sizes["idle-streams"]} idle established streams, bytes of each (nursery held at 1 MiB)`,
    metrics: {
      "client resident bytes": "less",
      "server resident bytes": "less",
      "client heap bytes": "less",
      "server heap bytes": "less"
    },
    bars: [
      { metric: "client resident bytes", atMost: 3000 },
      { metric: "server resident bytes", atMost: 3000 },
      { metric: "client resident bytes", against: bestOther, atMost: 1 },
      { metric: "server resident bytes", against: bestOther, atMost: 1 }
    ],
    bare: false,
    role: () => "hold",
    measure: async (client, sizes, probe) => {
      // the engine compiles code and grows tables before the measurement
      await share(sizes.workers, 2 * sizes.workers, client.hold)
      await setTimeout(200)
      const before = await probe.memory()
      const streams = sizes["idle-streams"]
      await share(sizes.workers, streams, client.hold)
      const after = await probe.memory()
      const each = (side: "client" | "server", what: "resident" | "heap") =>
        (after[side][what] - before[side][what]) / streams
      return {
        "client resident bytes": each("client", "resident"),
        "server resident bytes": each("server", "resident"),
        "client heap bytes": each("client", "heap"),
        "server heap bytes": each("server", "heap")
      }
    }
  },
  {
    ...bulk,
    id: "W6",
    title: (sizes) => `1 stream, ${sizes["small-mib"]} MiB client to server, writes of 1 KiB`,
    metrics: { "MB/s": "more" },
    bars: [
      { metric: "MB/s", of: "ours-plain", against: "ws", atLeast: 2 },
      { metric: "MB/s", of: "ours-plain", against: bestOther, atLeast: 1 }
    ],
    warmUp: (client) => upload(client, content(2 * mib, kib)),
    measure: (client, sizes) => uploadRate(client, sizes["small-mib"] * mib, kib)
  },
  {
    id: "W7",
    title: (sizes) => `round trips of 64 bytes beside a saturating stream for ${sizes["mixed-ms"]} ms`,
    metrics: { "p50 µs": "less", "p99 µs": "less", "bulk MB/s": "more" },
    bars: [
      { metric: "p50 µs", against: "ws", atMost: 0.05 },
      { metric: "p99 µs", against: "ws", atMost: 0.25 },
      { metric: "bulk MB/s", against: "ws", atLeast: 0.8 },
      { metric: "p50 µs", against: bestOther, atMost: 1 },
      { metric: "p99 µs", against: bestOther, atMost: 1 },
      ahead("bulk MB/s")
    ],
    bare: true,
    // the bulk stream opens first
    role: () => (nth) => nth % 2 === 0 ? sink : "echo",
    warmUp: (client, sizes) => beside(client, sizes, 100),
    measure: (client, sizes) => beside(client, sizes, sizes["mixed-ms"])
  },
  {
    ...bulk,
    id: "W8",
    title: (sizes) => `W1 with Go wsmux, ${sizes["bulk-mib"]} MiB, window 64 KiB`,
    metrics: { "MB/s": "more" },
    bars: [
      { metric: "MB/s", of: "ours to Go", against: "Go to Go", atLeast: 1.2 },
      { metric: "MB/s", of: "Go to ours", against: "Go to Go", atLeast: 1.2 }
    ]
  },
  {
    ...bulk,
    id: "W9",
    delayed: true,
    title: (sizes) => `W1, ${sizes["delayed-mib"]} MiB, each direction delayed by ${sizes["delay-ms"]} ms`,
    metrics: { "MB/s": "more" },
    bars: [{ metric: "MB/s", of: "auto-tuned", against: "window 16 MiB", atLeast: 0.9 }],
    measure: (client, sizes) => uploadRate(client, sizes["delayed-mib"] * mib, sizes["chunk-kib"] * kib)
  },
  {
    id: "W10",
    delayed: true,
    title: (sizes) =>
      `${sizes["delayed-opens"]} streams one after the other, as W4, each direction delayed by ${sizes["delay-ms"]} ms`,
    metrics: { "p50 ms": "less" },
    // one round trip instead of two
    bars: [{ metric: "p50 ms", of: "ours-early", against: "ours-whole", atMost: 0.6 }],
    bare: false,
    role: () => every("echo"),
    warmUp: (client) => echoed(client),
    measure: async (client, sizes) => {
      const times: Array<number> = []
      for (let i = 0; i < sizes["delayed-opens"]; i++) times.push(1000 * await clock(() => echoed(client)))
      return { "p50 ms": percentile(times, 0.5) }
    }
  },
  {
    ...bulk,
    id: "A1",
    title: (sizes) => `1 stream, ${sizes["bulk-mib"]} MiB sent through each adapter, of the plain stream`,
    metrics: { "MB/s": "more" },
    bars: adapted
  },
  {
    ...bulkBack,
    id: "A1r",
    title: () => "the same, received through each adapter",
    bars: adapted
  }
]

/** Round trips while another stream sends as fast as it can. */
const beside = async (client: Client, sizes: Sizes, ms: number): Promise<Sample> => {
  const size = sizes["chunk-kib"] * kib
  let sent = 0
  let over = false
  const endless = content(Number.MAX_SAFE_INTEGER, size)
  const saturating: Source = {
    size,
    *[Symbol.iterator]() {
      for (const chunk of endless) {
        if (over) return
        sent++
        yield chunk
      }
    }
  }
  const start = performance.now()
  const answer: Array<Uint8Array> = []
  const sending = client.exchange(saturating, (chunk) => answer.push(chunk))
  const times = await pings(client, () => performance.now() - start < ms)
  over = true
  await sending
  const seconds = (performance.now() - start) / 1000
  verify("the saturating stream", Buffer.concat(answer), tallyOf(content(sent * size, size)))
  return {
    "p50 µs": percentile(times, 0.5),
    "p99 µs": percentile(times, 0.99),
    "bulk MB/s": sent * size / seconds / 1e6
  }
}
