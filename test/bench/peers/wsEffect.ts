import * as Effect from "effect/Effect"
import type { WebSocket } from "ws"
import type { Source } from "../content.js"
import { type Client, type Peer, PingPong, type Role } from "./peer.js"
import { dial, listen } from "./sockets.js"
import { end, limit } from "./ws.js"

/** A bare socket with the least that an Effect program needs: a read and a write are effects that may wait. */
class Wire {
  readonly #arrived: Array<Buffer | typeof end> = []
  #reader: ((message: Effect.Effect<Buffer | typeof end>) => void) | undefined
  #writer: (() => void) | undefined

  constructor(readonly ws: WebSocket) {
    ws.on("message", (data: Buffer, isBinary) => {
      const message = isBinary ? data : end
      const reader = this.#reader
      if (reader === undefined) this.#arrived.push(message)
      else {
        this.#reader = undefined
        reader(Effect.succeed(message))
      }
    })
  }

  readonly read: Effect.Effect<Buffer | typeof end> = Effect.suspend(() => {
    const message = this.#arrived.shift()
    return message === undefined ? this.#arrival : Effect.succeed(message)
  })

  readonly #arrival = Effect.async<Buffer | typeof end>((resume) => {
    const message = this.#arrived.shift()
    if (message === undefined) this.#reader = resume
    else resume(Effect.succeed(message))
  })

  write(message: Uint8Array | typeof end): Effect.Effect<void> {
    return Effect.suspend(() => {
      this.ws.send(message, this.#onSent)
      return this.ws.bufferedAmount < limit ? Effect.void : this.#room
    })
  }

  readonly #room = Effect.async<void>((resume) => {
    if (this.ws.bufferedAmount < limit) return resume(Effect.void)
    this.#writer = () => resume(Effect.void)
  })

  readonly #onSent = () => {
    if (this.#writer === undefined || this.ws.bufferedAmount >= limit) return
    const writer = this.#writer
    this.#writer = undefined
    writer()
  }
}

const writeAll = (wire: Wire, source: Source) =>
  Effect.gen(function*() {
    for (const chunk of source) yield* wire.write(chunk)
    yield* wire.write(end)
  })

const readAll = (wire: Wire, take: (chunk: Uint8Array) => void) =>
  Effect.gen(function*() {
    for (;;) {
      const message = yield* wire.read
      if (message === end) return
      take(message)
    }
  })

const serve = (wire: Wire, role: Role) =>
  role === "echo"
    ? Effect.gen(function*() {
      for (;;) yield* wire.write(yield* wire.read)
    })
    : Effect.gen(function*() {
      for (;;) {
        const service = role()
        yield* readAll(wire, service.take)
        yield* writeAll(wire, service.answer())
      }
    })

/**
 * The cost of Effect itself: a bare socket with a fiber at each end, without a multiplexer, windows or a scheduler.
 * Each Effect program that waits for bytes pays this cost.
 */
export const wsEffect: Peer = {
  about: () => `the bare socket by Effect's operations, at most ${limit >> 10} KiB unsent`,
  listen: (roles) => {
    let sockets = 0
    return listen(({ ws }) => roles === "hold" ? undefined : void Effect.runFork(serve(new Wire(ws), roles(sockets++))))
  },
  connect: async (url): Promise<Client> => {
    const connect = () => dial(url, ({ ws }) => new Wire(ws))
    const idle = [await connect()]
    const borrow = async (use: (wire: Wire) => Effect.Effect<void>) => {
      const wire = idle.pop() ?? await connect()
      await Effect.runPromise(use(wire))
      idle.push(wire)
    }
    return {
      multiplexes: false,
      exchange: (request, take) => borrow((wire) => Effect.zipRight(writeAll(wire, request), readAll(wire, take))),
      pingPong: (message, onRoundTrip) =>
        borrow((wire) =>
          Effect.gen(function*() {
            const game = new PingPong(message, onRoundTrip)
            yield* wire.write(message)
            for (;;) {
              const next = game.take((yield* wire.read) as Buffer)
              if (next === "stop") return
              if (next === "again") yield* wire.write(message)
            }
          })
        ),
      hold: () => Promise.reject(new Error("a bare socket has no streams"))
    }
  }
}
