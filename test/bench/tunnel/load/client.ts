import { connect, type Socket } from "node:net"
import { setTimeout as sleep } from "node:timers/promises"
import type { Sample } from "../../results.js"
import { percentile } from "../../statistics.js"
import type { Task } from "../generator.js"
import { block, Cursor, header, kinds, startOf } from "./content.js"

/** The most connections of one measurement. */
const most = 20_000

/** Runs a task, and tells its sample and the counts of its connections. */
export const drive = async (task: Task, tell: (event: object) => void, over: Promise<void>): Promise<void> => {
  const client = new Client(task)
  const measures: Record<Task["kind"], (ms: number) => Promise<Sample>> = {
    up: (ms) => client.bulk(upload, ms),
    down: (ms) => client.bulk(download, ms),
    pingpong: (ms) => client.pingPong(ms),
    mixed: (ms) => client.mixed(ms),
    connections: (ms) => client.short(ms),
    first: (ms) => client.first(ms),
    idle: () => client.idle(tell, over)
  }
  const measure = measures[task.kind]
  if (task.kind !== "idle") {
    await measure(task.warm)
    tell({ event: "warm" })
  }
  const sample = await measure(task.ms)
  const { connections, received, sent } = client
  tell({ event: "sample", sample, connections, received, sent })
}

class Client {
  connections = 0
  received = 0
  sent = 0

  constructor(readonly task: Task) {}

  /** Transfers beside each other, each as fast as it can. */
  async bulk(transfer: Transfer, ms: number): Promise<Sample> {
    const begin = performance.now()
    const stop = sleep(ms)
    const counts = await Promise.all(Array.from({ length: this.task.connections }, () => transfer(this, stop)))
    const units = counts.reduce((sum, count) => sum + count, 0) / 1e6
    return { "MB/s": units / (performance.now() - begin) * 1000, units }
  }

  async pingPong(ms: number): Promise<Sample> {
    const peer = await this.dial(kinds.echo)
    const times: Array<number> = []
    for (const begin = performance.now(); times.length === 0 || performance.now() - begin < ms;) {
      const start = performance.now()
      await peer.roundTrip(64)
      times.push((performance.now() - start) * 1000)
    }
    peer.socket.end()
    return { "p50 µs": percentile(times, 0.5), "p99 µs": percentile(times, 0.99), units: times.length }
  }

  async mixed(ms: number): Promise<Sample> {
    let finish = () => {}
    const stop = new Promise<void>((resolve) => {
      finish = resolve
    })
    const begin = performance.now()
    const bulk = download(this, stop).then((count) => count / (performance.now() - begin) / 1000)
    const trips = async () => {
      await sleep(50) // the bulk connection comes first
      const sample = await this.pingPong(ms)
      finish()
      return sample
    }
    const [rate, sample] = await Promise.all([bulk, trips()])
    return { ...sample, "bulk MB/s": rate }
  }

  /** Opens connections from workers, each with an echo of 1 KiB. */
  async short(ms: number): Promise<Sample> {
    const begin = performance.now()
    let units = 0
    const work = async () => {
      while (performance.now() - begin < ms && units < most) {
        await this.exchange(1 << 10)
        units++
      }
    }
    await Promise.all(Array.from({ length: this.task.connections }, work))
    return { "per second": units / (performance.now() - begin) * 1000, units }
  }

  async first(ms: number): Promise<Sample> {
    const times: Array<number> = []
    for (const begin = performance.now(); times.length === 0 || performance.now() - begin < ms;) {
      const start = performance.now()
      await this.exchange(64)
      times.push(performance.now() - start)
    }
    return { "p50 ms": percentile(times, 0.5), units: times.length }
  }

  /** Opens connections, each with one round trip, and holds them until it is over. */
  async idle(tell: (event: object) => void, over: Promise<void>): Promise<Sample> {
    const held: Array<Connection> = []
    while (held.length < this.task.connections) {
      const peer = await this.dial(kinds.echo)
      held.push(peer)
      await peer.roundTrip(64)
    }
    tell({ event: "open" })
    await over
    for (const peer of held) {
      await peer.roundTrip(64)
      peer.socket.end()
    }
    return { connections: held.length }
  }

  private async exchange(size: number): Promise<void> {
    const peer = await this.dial(kinds.echo)
    await peer.roundTrip(size)
    peer.socket.end()
  }

  /** The header goes with the first write. */
  dial(kind: number): Promise<Connection> {
    return new Promise((resolve, reject) => {
      const socket = connect({ port: this.task.port, host: "127.0.0.1", allowHalfOpen: true, noDelay: true })
      socket.once("error", reject)
      socket.once("connect", () => {
        socket.off("error", reject)
        resolve(new Connection(socket, this, kind, startOf(++this.connections)))
      })
    })
  }
}

/** One connection and its content. */
class Connection {
  readonly in: Cursor
  readonly out: Cursor
  #chunks: Array<Buffer> = []
  #size = 0
  #ended: Error | undefined
  #wake = () => {}

  constructor(readonly socket: Socket, readonly client: Client, kind: number, start: number) {
    this.in = new Cursor(start)
    this.out = new Cursor(start)
    const end = (error: Error) => {
      this.#ended ??= error
      this.#wake()
    }
    socket.on("data", (chunk) => {
      client.received += chunk.length
      this.#chunks.push(chunk)
      this.#size += chunk.length
      if (this.#size >= block) socket.pause()
      this.#wake()
    })
    socket.on("end", () => end(new Error("EOF")))
    socket.on("error", end)
    socket.on("close", () => end(new Error("closed")))
    socket.cork()
    process.nextTick(() => socket.uncork())
    this.write(header(kind, start))
  }

  /** Returns false when the socket wants to be drained first. */
  write(chunk: Buffer): boolean {
    this.client.sent += chunk.length
    return this.socket.write(chunk)
  }

  /** Resolves when something has happened since. */
  #event(): Promise<void> {
    return new Promise((resolve) => {
      this.#wake = resolve
    })
  }

  drained(): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#wake = () => this.#ended !== undefined && reject(this.#ended)
      this.socket.once("drain", resolve)
    })
  }

  /** Reads so many bytes. */
  async read(size: number, name: string): Promise<Buffer> {
    while (this.#size < size) {
      if (this.#ended !== undefined) {
        throw new Error(`loses ${name}: ${this.#ended.message} after ${this.#size} of ${size} bytes`)
      }
      this.socket.resume()
      await this.#event()
    }
    const all = this.#chunks.length === 1 ? this.#chunks[0]! : Buffer.concat(this.#chunks)
    this.#chunks = all.length === size ? [] : [all.subarray(size)]
    this.#size -= size
    return all.subarray(0, size)
  }

  /** Checks that the peer has ended the connection, too. */
  async over(): Promise<void> {
    while (this.#ended === undefined && this.#size === 0) {
      this.socket.resume()
      await this.#event()
    }
    if (this.#size > 0 || this.#ended!.message !== "EOF") {
      throw new Error(`instead of the end: ${this.#size} bytes, ${this.#ended?.message}`)
    }
  }

  /** Sends bytes to the echo, and compares those that come back. */
  async roundTrip(size: number): Promise<void> {
    this.write(this.out.next(size))
    this.in.check(await this.read(size, "the echo"))
  }
}

/** Transfers bytes until the promise resolves, and returns their number. */
type Transfer = (client: Client, stop: Promise<void>) => Promise<number>

const upload: Transfer = async (client, stop) => {
  const peer = await client.dial(kinds.up)
  let stopped = false
  stop.then(() => {
    stopped = true
  })
  while (!stopped) {
    if (!peer.write(peer.out.next(block))) await peer.drained()
    else await new Promise(setImmediate)
  }
  peer.socket.end()
  const count = Number((await peer.read(8, "the answer")).readBigUInt64LE())
  if (count !== peer.out.count) throw new Error(`${count} of ${peer.out.count} bytes arrived`)
  await peer.over()
  return count
}

const download: Transfer = async (client, stop) => {
  const peer = await client.dial(kinds.down)
  stop.then(() => peer.write(Buffer.from("S")))
  for (;;) {
    const got = await peer.read(block, "bytes of the download")
    const want = peer.in.next(block)
    const last = got[0] === 0
    const from = last ? 9 : 1
    if (!got.subarray(from).equals(want.subarray(from))) throw new Error(`wrong bytes before ${peer.in.count}`)
    if (!last) continue
    const count = Number(got.readBigUInt64LE(1))
    if (count !== peer.in.count) throw new Error(`${peer.in.count} of ${count} bytes arrived`)
    await peer.over()
    peer.socket.end()
    return count
  }
}
