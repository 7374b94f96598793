import * as Frame from "effect-wsmux/Frame"
import type * as MemoryTransport from "effect-wsmux/MemoryTransport"
import type { MuxStream } from "effect-wsmux/MuxStream"
import type { ReadError, WriteError } from "effect-wsmux/WsmuxError"
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Queue from "effect/Queue"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { pattern } from "./bytes.js"
import { settle } from "./sessions.js"
import { WireRules } from "./wireRules.js"

export type Side = MemoryTransport.Side
type AnyFiber = Fiber.RuntimeFiber<unknown, unknown>

export const other = (side: Side): Side => side === "client" ? "server" : "client"

const source = pattern(1 << 20)

/** The bytes of one direction of a stream are numbered: each has a place of its own in the source. */
export class Direction {
  /** What has been handed to the wire, by all writes up to now. */
  sent = 0
  read = 0
  ended = false
  constructor(readonly start: number) {}

  bytes(from: number, size: number): Uint8Array {
    return source.subarray(this.start + from, this.start + from + size)
  }
}

/** What happens on the wire, judged as it happens. */
export class Wire {
  readonly faults: Array<string> = []
  /** Whether all bytes are those of a `Direction`. */
  numbered = true
  readonly #rules: WireRules
  readonly #directions = new Map<number, Direction>()

  constructor(sizes: Record<Side, number>) {
    this.#rules = new WireRules(sizes)
  }

  direction(from: Side, id: number): Direction {
    const key = id * 2 + (from === "client" ? 0 : 1)
    const known = this.#directions.get(key) ?? new Direction(key * 1009)
    this.#directions.set(key, known)
    return known
  }

  see(from: Side, message: Uint8Array): void {
    const frame = Frame.decode(message)
    if (frame._tag === "Malformed") return void this.faults.push(frame.detail)
    try {
      this.#rules.see(from, frame)
    } catch (error) {
      this.faults.push(String(error))
    }
    const direction = this.direction(from, frame.id)
    if (frame._tag === "Fin") direction.ended = true
    if (frame._tag !== "Dat") return
    const { byteLength } = frame.payload
    const isWritten = equal(frame.payload, direction.bytes(direction.sent, byteLength))
    this.expect(isWritten || !this.numbered, "sent what nobody wrote")
    direction.sent += byteLength
  }

  expect(holds: boolean, otherwise: string): void {
    if (!holds) this.faults.push(otherwise)
  }

  /** Passes what succeeded or was interrupted, and failures that there was cause for. */
  judge<E>(exit: Exit.Exit<unknown, E>, hasCause: (error: E) => boolean): void {
    if (Exit.isSuccess(exit) || Cause.isInterruptedOnly(exit.cause)) return
    this.expect(exit.cause._tag === "Fail" && hasCause(exit.cause.error), Cause.pretty(exit.cause))
  }
}

const equal = (a: Uint8Array, b: Uint8Array) => Buffer.compare(a, b) === 0

export interface Order {
  readonly do: "write" | "end" | "sink"
  readonly size: number
  readonly parts: number
}

/** One end of a stream with a writer of its own, and all that can be done to it. */
export const makeEnd = (wire: Wire, side: Side, stream: MuxStream, scope: Scope.CloseableScope) =>
  Effect.gen(function*() {
    const [outbound, inbound] = [wire.direction(side, stream.id), wire.direction(other(side), stream.id)]
    const orders = yield* Queue.unbounded<Order>()
    const mayTimeOut = { read: false, write: false }
    let [ordered, obeyed, written, left, mayBreak] = [0, 0, 0, false, false]
    let writing: AnyFiber | undefined
    let reading: AnyFiber | undefined

    const perform = ({ do: what, parts, size }: Order): Effect.Effect<void, WriteError> => {
      if (what === "end") return stream.end
      const chunk = outbound.bytes(written, size)
      if (what === "write" && parts === 1) return stream.write(chunk)
      const at = (part: number) => Math.floor(size * part / parts)
      const chunks = Array.from({ length: parts }, (_, part) => chunk.subarray(at(part), at(part + 1)))
      return what === "write" ? stream.writeAll(chunks) : Stream.run(Stream.fromIterable(chunks), stream.writable)
    }
    const obey = (order: Order) =>
      Effect.gen(function*() {
        const size = order.do === "end" ? 0 : order.size
        wire.expect(outbound.sent === written, "bytes of a write left after it was over")
        // what is being written when its own end follows still goes out
        const isLate = mayBreak
        if (order.do !== "write") mayBreak = true
        const fiber = yield* Effect.fork(perform(order))
        writing = fiber
        const exit = yield* Fiber.await(fiber)
        const sent = outbound.sent - written
        written = outbound.sent
        wire.judge(exit, (error) =>
          error.written === sent &&
          (error._tag === "WriteTimeout" ? mayTimeOut.write : (isLate || left) && error.cause === undefined))
        wire.expect(Exit.isSuccess(exit) ? sent === size : sent <= size, `sent ${sent} of ${size} bytes`)
        if (Exit.isSuccess(exit) && order.do !== "write") wire.expect(outbound.ended, "ended without a FIN")
        obeyed++
      })
    const obeying = Effect.forever(Effect.flatMap(Queue.take(orders), obey))
    yield* Effect.forkScoped(Effect.interruptible(obeying))

    const take = (chunk: Uint8Array) => {
      const { byteLength } = chunk
      wire.expect(byteLength > 0 && equal(chunk, inbound.bytes(inbound.read, byteLength)), "read other bytes")
      inbound.read += byteLength
      wire.expect(inbound.read <= inbound.sent, "read more than was sent")
    }
    const atEnd = () => wire.expect(left || (inbound.ended && inbound.read === inbound.sent), "an early end")
    const reader = (reads: Effect.Effect<void, ReadError>) =>
      Effect.gen(function*() {
        if (reading !== undefined && reading.unsafePoll() === null) return reading
        const judged = Effect.onExit(reads, (exit) =>
          Effect.sync(() =>
            wire.judge(exit, (error) =>
              error._tag === "ReadTimeout"
                ? mayTimeOut.read
                : error._tag === "BrokenPipe" && left && error.cause === undefined)
          ))
        return reading = yield* Effect.fork(judged)
      })

    return {
      side,
      isFresh: () => ordered === 0,
      order: (order: Order) => {
        ordered++
        return Queue.offer(orders, order)
      },
      isIdle: () => ordered === obeyed,
      /** Ends while a write may be waiting, which goes before the FIN. */
      end: Effect.suspend(() => {
        mayBreak = true
        const judged = Effect.onExit(stream.end, (exit) =>
          Effect.sync(() => {
            wire.judge(exit, () => false)
            wire.expect(outbound.ended || !Exit.isSuccess(exit), "ended without a FIN")
          }))
        return Effect.fork(judged)
      }),
      interruptWrite: Effect.suspend(() => writing === undefined ? Effect.void : Fiber.interrupt(writing)),
      read: reader(Effect.map(stream.read, (chunk) => chunk._tag === "Some" ? take(chunk.value) : atEnd())),
      readAll: reader(Effect.map(Stream.runForEach(stream.readable, (chunk) => Effect.sync(() => take(chunk))), atEnd)),
      interruptRead: Effect.suspend(() => reading === undefined ? Effect.void : Fiber.interrupt(reading)),
      setDeadline: (what: "read" | "write", millis: number) =>
        Effect.flatMap(Clock.currentTimeMillis, (now) => {
          mayTimeOut[what] = true
          return what === "read" ? stream.setReadDeadline(now + millis) : stream.setWriteDeadline(now + millis)
        }),
      clearDeadlines: Effect.gen(function*() {
        yield* stream.setDeadline(undefined)
        yield* settle // those who were told that it has passed are judged first
        mayTimeOut.read = mayTimeOut.write = false
      }),
      leave: Effect.suspend(() => {
        left = mayBreak = true
        return Scope.close(scope, Exit.void)
      }),
      isLeft: () => left,
      isWhole: () => outbound.sent === written && outbound.ended && (left || inbound.read === inbound.sent)
    }
  })

export type End = Effect.Effect.Success<ReturnType<typeof makeEnd>>
