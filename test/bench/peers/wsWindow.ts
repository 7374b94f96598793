import * as Chunk from "effect/Chunk"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Sink from "effect/Sink"
import * as Stream from "effect/Stream"
import type { WebSocket } from "ws"
import type { Source } from "../content.js"
import type { Client, Peer, Service } from "./peer.js"
import { dial, listen } from "./sockets.js"
import { end, limit } from "./ws.js"

/**
 * Downloads over a bare socket with one part of a multiplexer after the other, so that their figures show what each
 * part costs: a window of credit, an Effect stream at each end, and both.
 */
interface Parts {
  /** Whether the receiver grants credit in halves of a window. Otherwise the socket alone slows the sender. */
  readonly window: boolean
  /** Whether both ends run a `Stream`, as programs do. Otherwise both work in callbacks. */
  readonly stream: boolean
}

/** The sending end: bytes wait for credit and for the socket. */
class Sender {
  #credit: number
  #wake = (): void => {}

  constructor(readonly ws: WebSocket, window: number) {
    this.#credit = window
  }

  grant(bytes: number): void {
    this.#credit += bytes
    this.#wake()
  }

  /** Sends the chunk, and returns whether another may follow now. */
  send(chunk: Uint8Array): boolean {
    this.#credit -= chunk.length
    this.ws.send(chunk, this.#onSent)
    return this.#isReady
  }

  /** Calls back once, when another chunk may follow. */
  onReady(wake: () => void): void {
    this.#wake = () => {
      if (!this.#isReady) return
      this.#wake = () => {}
      wake()
    }
    this.#wake()
  }

  get #isReady(): boolean {
    return this.#credit > 0 && this.ws.bufferedAmount < limit
  }

  readonly #onSent = (): void => this.#wake()

  readonly ready: Effect.Effect<void> = Effect.async((resume) => this.onReady(() => resume(Effect.void)))
}

const pump = (sender: Sender, source: Source): void => {
  const chunks = source[Symbol.iterator]()
  const write = () => {
    for (let left = limit; left > 0; left -= source.size) {
      const next = chunks.next()
      if (next.done) return sender.ws.send(end)
      if (!sender.send(next.value)) return sender.onReady(() => setImmediate(write))
    }
    setImmediate(write) // gives way to the reads
  }
  write()
}

const pumpStream = (sender: Sender, source: Source): void => {
  const chunks = Stream.fromIteratorSucceed(source[Symbol.iterator]() as IterableIterator<Uint8Array>, 1)
  const send = (chunk: Uint8Array) => sender.send(chunk) ? Effect.void : sender.ready
  void Effect.runFork(Effect.zipRight(Stream.runForEach(chunks, send), Effect.sync(() => sender.ws.send(end))))
}

/** The receiving end as a stream. Each pull emits one message, as `readable` does. */
const received = (ws: WebSocket): Stream.Stream<Buffer> => {
  const arrived: Array<Buffer | typeof end> = []
  let wake = (): void => {}
  ws.on("message", (data: Buffer, isBinary) => {
    arrived.push(isBinary ? data : end)
    wake()
  })
  const arrival = Effect.async<void>((resume) => {
    wake = () => resume(Effect.void)
    if (arrived.length > 0) wake()
  })
  const pull: Effect.Effect<Chunk.Chunk<Buffer>, Option.Option<never>> = Effect.suspend(() => {
    const message = arrived.shift()
    if (message === undefined) return Effect.zipRight(arrival, pull)
    return message === end ? Effect.fail(Option.none()) : Effect.succeed(Chunk.of(message))
  })
  return Stream.repeatEffectChunkOption(pull)
}

const serve = (ws: WebSocket, begin: () => Service, window: number, { stream }: Parts): void => {
  const sender = new Sender(ws, window)
  let service = begin()
  ws.on("message", (data: Buffer, isBinary) => {
    if (isBinary) return service.take(data)
    const text = data.toString()
    if (text !== end) return sender.grant(Number(text))
    const run = stream ? pumpStream : pump
    run(sender, service.answer())
    service = begin()
  })
}

const make = (parts: Parts): Peer => ({
  about: ({ window }) =>
    `the bare socket${parts.window ? `, window ${window >> 10} KiB` : ""}${parts.stream ? ", Effect streams" : ""}`,
  listen: (roles, settings) =>
    listen(({ ws }) => {
      const role = roles === "hold" ? "echo" : roles(0)
      if (role === "echo") throw new Error("this peer has downloads only")
      serve(ws, role, parts.window ? settings.window : Infinity, parts)
    }),
  connect: async (url, settings): Promise<Client> => {
    const ws = await dial(url, ({ ws }) => ws)
    const only = () => Promise.reject(new Error("this peer has downloads only"))
    let untold = 0
    const grant = ({ length }: Uint8Array) => {
      untold += length
      if (!parts.window || untold < settings.window / 2) return
      ws.send(String(untold))
      untold = 0
    }
    const callbacks = (take: (chunk: Uint8Array) => void) =>
      new Promise<void>((resolve) => {
        ws.on("message", (data: Buffer, isBinary) => {
          if (!isBinary) return resolve()
          grant(data)
          take(data)
        })
      })
    const fold = (take: (chunk: Uint8Array) => void) =>
      Effect.runPromise(Stream.run(
        received(ws),
        Sink.foldLeftChunks<void, Buffer>(void 0, (_, chunks) =>
          Chunk.forEach(chunks, (chunk) => {
            grant(chunk)
            take(chunk)
          }))
      ))
    return {
      multiplexes: false,
      exchange: async (request, take) => {
        const over = parts.stream ? fold(take) : callbacks(take)
        for (const chunk of request) ws.send(chunk)
        ws.send(end)
        await over
        ws.removeAllListeners("message")
      },
      pingPong: only,
      hold: only
    }
  }
})

export const windowed = make({ window: true, stream: false })
export const streamed = make({ window: false, stream: true })
export const both = make({ window: true, stream: true })
