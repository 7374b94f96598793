import type * as MemoryTransport from "effect-wsmux/MemoryTransport"
import { type MuxStream, ResetCode } from "effect-wsmux/MuxStream"
import type { SessionSnapshot, StreamSnapshot } from "effect-wsmux/SessionSnapshot"
import type { Transport } from "effect-wsmux/Transport"
import type { EndError, ReadError, TerminalError, WriteError } from "effect-wsmux/WsmuxError"
import * as Cause from "effect/Cause"
import * as Chunk from "effect/Chunk"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Queue from "effect/Queue"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type { Open } from "../../src/internal/wire/record.js"
import { pattern } from "./bytes.js"
import { DrainRules } from "./drainRules.js"
import { decodeMessage } from "./records.js"
import { WireRules } from "./wireRules.js"
import { withParts } from "./withParts.js"

export type Side = MemoryTransport.Side
type AnyFiber = Fiber.RuntimeFiber<unknown, unknown>

export const other = (side: Side): Side => side === "client" ? "server" : "client"

const source = pattern(1 << 20)

type Introduction = Pick<Open, "label" | "metadata">

/** One direction of a stream, whose bytes are numbered: each has a place of its own in the source. */
export class Direction {
  /** The bytes of all writes so far that have reached the wire, and whether the end has. */
  sent = 0
  ended = false
  /** Whether the end reached the wire while the session was open, so that no byte can be missing. */
  endedInTime = false
  /** The bytes that have arrived at an open session. */
  arrived = 0
  endArrived = false
  /** The code of the RESET that has reached the wire, and of the one that has arrived. */
  reset: number | undefined
  resetArrived: number | undefined
  /** The code of the reader's STOP that has arrived at the writer. */
  stopArrived: number | undefined
  /** Whether the writer, or the reader, has a cause to end abnormally. Undefined where no test owns the end. */
  mayReset: (() => boolean) | undefined
  mayStop: (() => boolean) | undefined
  /** Whether a write waits that would be lost by an end now. */
  wouldLose: (() => boolean) | undefined
  /** The sum of the credit of the writer. */
  granted = 0
  read = 0
  constructor(readonly start: number) {}

  /** Whether nothing more can follow. */
  get isOver(): boolean {
    return this.ended || this.reset !== undefined
  }

  bytes(from: number, size: number): Uint8Array {
    return source.subarray(this.start + from, this.start + from + size)
  }
}

/** Checks all frames of a wire as they pass. */
export class Wire {
  readonly faults: Array<string> = []
  /** Whether all bytes are those of a `Direction`. */
  numbered = true
  /** Whether an interruption may discard the result of an operation. */
  preemptive = false
  /** Whether a session has ended. */
  readonly isOver: Record<Side, () => boolean> = { client: () => false, server: () => false }
  /** The causes of the end that operations have reported. */
  readonly causes: Record<Side, Set<TerminalError>> = { client: new Set(), server: new Set() }
  readonly #sizes: Record<Side, number>
  readonly #growth: Record<Side, number>
  readonly #rules: WireRules
  /** The rules of drains, for sessions that the test tells. */
  readonly drains = new DrainRules()
  readonly #directions = new Map<number, Direction>()
  readonly #accepted = new Set<number>()
  /** The bytes that each end takes before it accepts a stream. */
  readonly #early: Record<Side, number> = { client: 0, server: 0 }
  /** The records that opened streams. */
  readonly #opens = new Map<number, Open>()
  /** What openers told of streams that they opened before their record left. */
  readonly #opened = new Map<number, Introduction>()

  /** @param growth the number of bytes by which windows may grow */
  constructor(sizes: Record<Side, number>, growth: Record<Side, number> = { client: 0, server: 0 }) {
    this.#sizes = sizes
    this.#growth = growth
    this.#rules = new WireRules(sizes, growth)
  }

  direction(from: Side, id: number): Direction {
    const key = id * 2 + (from === "client" ? 0 : 1)
    const known = this.#directions.get(key) ?? new Direction(key * 1009)
    this.#directions.set(key, known)
    return known
  }

  /** The transport of an end, whose frames the wire checks in both directions. */
  watch(side: Side, transport: Transport): Transport {
    return withParts(transport, {
      send: (parts) => {
        this.see(side, Buffer.concat(parts))
        transport.send(parts)
      },
      listen: (listener) =>
        transport.listen({
          onMessage: (message) => {
            this.arrive(side, message)
            listener.onMessage(message)
          },
          onText: () => listener.onText(),
          onWritable: () => listener.onWritable(),
          onRenewed: () => listener.onRenewed?.(),
          onClose: (end) => listener.onClose(end)
        })
    })
  }

  /** Checks that a stream has the label and the metadata that the wire carries. An early opener may be ahead of it. */
  checkLabel(side: Side, stream: Pick<MuxStream, "id" | "label" | "metadata">): void {
    const { id, label, metadata } = stream
    const told = this.#opens.get(id)
    if (told === undefined && (id % 2 === 1) === (side === "client")) {
      this.#opened.set(id, { label, metadata })
      return
    }
    this.#compareLabels(id, { label, metadata }, told)
  }

  #compareLabels(
    id: number,
    { label, metadata }: Introduction,
    told: Introduction = { label: "", metadata: {} }
  ): void {
    const isSame = label === told.label && JSON.stringify(metadata) === JSON.stringify(told.metadata)
    this.expect(isSame, `stream ${id} has another label or other metadata than its opener gave`)
  }

  /** Whether both ends speak the dialect. */
  get isNative(): boolean {
    return this.#rules.isNative
  }

  see(from: Side, message: Uint8Array): void {
    const frame = decodeMessage(message)
    if (frame._tag === "Malformed") return void this.faults.push(frame.detail)
    if (frame._tag === "Hello") this.#early[from] = frame.earlyCredit?.perStream ?? 0
    try {
      this.#rules.see(from, frame)
    } catch (error) {
      this.faults.push(String(error))
    }
    const broken = this.drains.see(from, frame)
    if (broken !== undefined) this.faults.push(broken)
    if (!("id" in frame)) return
    const direction = this.direction(from, frame.id)
    if (frame._tag === "Open") {
      direction.granted += this.#early[other(from)]
      this.#opens.set(frame.id, frame)
      const ahead = this.#opened.get(frame.id)
      if (ahead !== undefined) this.#compareLabels(frame.id, ahead, frame)
    }
    if (frame._tag === "Reset") {
      direction.reset = frame.code
      const hasCause = direction.mayReset === undefined || direction.mayReset()
      this.expect(hasCause || this.isOver[from](), `stream ${frame.id} is reset without a cause`)
    }
    if (frame._tag === "Stop") {
      const { mayStop } = this.direction(other(from), frame.id)
      this.expect(mayStop === undefined || mayStop(), `stream ${frame.id} is stopped without a cause`)
    }
    if (frame._tag === "Fin") {
      const loses = this.isNative && direction.wouldLose?.() === true
      this.expect(!loses || this.isOver[from](), `stream ${frame.id} ends cleanly, and bytes are lost`)
      direction.ended = true
      direction.endedInTime = !this.isOver[from]()
    }
    if (frame._tag === "Ack") {
      const granting = this.direction(other(from), frame.id)
      const accepts = (frame.id % 2 === 1) === (from === "server") && !this.#accepted.has(frame.id)
      granting.granted += frame.credit
      if (accepts) {
        this.#accepted.add(frame.id)
        const native = this.isNative ? this.#sizes[other(from)] : frame.credit
        direction.granted += this.#opens.get(frame.id)?.window ?? native
      }
    }
    if (frame._tag !== "Dat") return
    const { byteLength } = frame.payload
    const isWritten = equal(frame.payload, direction.bytes(direction.sent, byteLength))
    this.expect(isWritten || !this.numbered, "sent bytes that were not written")
    direction.sent += byteLength
  }

  arrive(to: Side, message: Uint8Array): void {
    const frame = decodeMessage(message)
    if (this.isOver[to]()) return
    this.drains.arrive(to, frame)
    if (!("id" in frame)) return
    const direction = this.direction(other(to), frame.id)
    if (frame._tag === "Reset" && !direction.endArrived) direction.resetArrived = frame.code
    if (frame._tag === "Stop") this.direction(to, frame.id).stopArrived = frame.code
    if (frame._tag === "Fin") direction.endArrived = true
    if (frame._tag === "Dat") direction.arrived += frame.payload.byteLength
  }

  isRefused(id: number): boolean {
    return this.#rules.isRefused(id)
  }

  expect(holds: boolean, otherwise: string): void {
    if (!holds) this.faults.push(otherwise)
  }

  /** Checks that no stream holds more than its window. */
  checkWindows({ role, streams }: SessionSnapshot): void {
    for (const { bufferedBytes, id, receiveCredit } of streams) {
      const isOpener = (id % 2 === 1) === (role === "client")
      const believed = isOpener ? this.#sizes[other(role)] : 0
      const bound = Math.max(this.#sizes[role] + this.#growth[role], believed)
      this.expect(bufferedBytes + receiveCredit <= bound, `stream ${id} may hold more than ${bound} bytes`)
    }
  }

  /** Checks that send credit and receive window agree when no frame is on its way and no FIN was sent. */
  checkCredit(client: SessionSnapshot, server: SessionSnapshot): void {
    for (const near of client.streams.filter(isAnswered)) {
      const far = server.streams.find(({ id }) => id === near.id)
      if (far === undefined) continue
      const balance = { client: near.sendCredit - far.receiveCredit, server: far.sendCredit - near.receiveCredit }
      for (const side of ["client", "server"] as const) {
        const isOff = balance[side] !== 0 && !this.direction(side, near.id).isOver
        this.expect(!isOff, `credit of the ${side} on stream ${near.id} is off by ${balance[side]}`)
      }
    }
  }

  /** Whether an operation of this end may fail with the end of the session, whose cause it reports. */
  ends(side: Side, cause: TerminalError): boolean {
    this.causes[side].add(cause)
    return this.isOver[side]()
  }

  /** Accepts successes, interruptions, and failures that have a cause. */
  judge<E>(exit: Exit.Exit<unknown, E>, hasCause: (error: E) => boolean): void {
    if (Exit.isSuccess(exit)) return
    const isFine = Chunk.isEmpty(Cause.defects(exit.cause)) && Chunk.every(Cause.failures(exit.cause), hasCause)
    this.expect(isFine, Cause.pretty(exit.cause))
  }
}

/** A deadline, and the time from which operations may fail by it. */
class Deadline {
  #at = Infinity
  /** The time at which the test moved a passed deadline. */
  #passedUntil = -Infinity

  set(at: number, now: number): void {
    if (this.hasPassed(now)) this.#passedUntil = now
    this.#at = at
  }

  hasPassed(now: number): boolean {
    return this.#at <= now
  }

  hasEverPassed(now: number): boolean {
    return this.hasPassedBetween(-Infinity, now)
  }

  hasPassedBetween(start: number, end: number): boolean {
    return this.hasPassed(end) || this.#passedUntil > -Infinity && this.#passedUntil >= start
  }
}

/** Whether the acceptor has answered, as far as an end knows. */
export const isAnswered = ({ state }: StreamSnapshot) =>
  state !== "Opening" && state !== "OpeningEnded" && state !== "Cancelling" && state !== "AwaitingAccept" &&
  state !== "AwaitingAcceptEnded"

/** A code of the program. */
const resetCode = 300

const isPending = (fiber: AnyFiber | undefined) => fiber !== undefined && fiber.unsafePoll() === null

const equal = (a: Uint8Array, b: Uint8Array) => Buffer.compare(a, b) === 0

export interface Order {
  readonly do: "write" | "end" | "sink"
  readonly size: number
  readonly parts: number
}

export interface Held {
  readonly stream: MuxStream
  /** Closes the scope that owns the stream. */
  readonly leave: (exit: Exit.Exit<void, string>) => Effect.Effect<void>
  /** Whether the session may give the stream up, because the peer has not accepted it in time. */
  readonly mayExpire?: (() => boolean) | undefined
}

/** One end of a stream with a writer of its own, and all operations on it. */
export const makeEnd = (wire: Wire, side: Side, { leave, mayExpire = () => false, stream }: Held) =>
  Effect.gen(function*() {
    const clock = yield* Effect.clock
    const now = () => clock.unsafeCurrentTimeMillis()
    const [outbound, inbound] = [wire.direction(side, stream.id), wire.direction(other(side), stream.id)]
    const orders = yield* Queue.unbounded<Order>()
    const deadlines = { read: new Deadline(), write: new Deadline() }
    let [ordered, obeyed, written, left, mayBreak] = [0, 0, 0, false, false]
    /** Whether an interrupted read may have taken bytes with it. */
    let unsure = false
    let ending: AnyFiber | undefined
    /** The number of bytes that are sent when the current write is done. */
    let due = 0
    let writing: AnyFiber | undefined
    let reading: AnyFiber | undefined
    /** The codes by which this end may have reset its stream, or its direction alone. */
    const codes = new Set<number>()
    /** Whether the waiting bytes of the write are known to the stream. */
    let begun = false
    let isSinking = false
    /** Whether a write was interrupted in front of an end. */
    let interrupted = false
    /** Whether the stream may reset its direction, because a write in front of the end was left out. */
    const leavesOut = () => mayBreak && (interrupted || deadlines.write.hasEverPassed(now()))
    outbound.mayReset = () => codes.size > 0 || leavesOut() || mayExpire() || outbound.stopArrived !== undefined
    wire.checkLabel(side, stream)
    inbound.mayStop = () => left || mayExpire()
    outbound.wouldLose = () => !wire.preemptive && begun && isPending(writing) && outbound.sent < due
    const isOurReset = (error: ReadError | WriteError | EndError) =>
      error._tag === "StreamReset" && error.by === "local" &&
      (codes.has(error.code) || (error.code === ResetCode.Cancelled && leavesOut()) ||
        (error.code === ResetCode.Expired && mayExpire()))
    /** The peer stopped reading, or refused a stream that was opened early. */
    const isTheirReset = (error: WriteError | EndError) =>
      error._tag === "StreamReset" && error.by === "peer" &&
      (error.code === outbound.stopArrived || (error.code === inbound.resetArrived && wire.isRefused(stream.id)))

    const perform = ({ do: what, parts, size }: Order): Effect.Effect<void, WriteError> => {
      begun = what === "write"
      if (what === "end") return stream.end
      const chunk = outbound.bytes(written, size)
      if (what === "write" && parts === 1) return stream.write(chunk)
      const at = (part: number) => Math.floor(size * part / parts)
      const chunks = Array.from({ length: parts }, (_, part) => chunk.subarray(at(part), at(part + 1)))
      return what === "write" ? stream.writeAll(chunks) : Stream.run(Stream.fromIterable(chunks), stream.writable)
    }
    /** Whether the end of the session cut off waiting bytes. A FIN may leave behind them all the same. */
    const breaksOff = (cause: TerminalError) => wire.ends(side, cause) && !outbound.endedInTime
    const obey = (order: Order) =>
      Effect.gen(function*() {
        const size = order.do === "end" ? 0 : order.size
        wire.expect(outbound.sent === written, "bytes of a write left after it was over")
        const since = now()
        due = written + size
        let isLate = false
        begun = false
        isSinking = order.do === "sink"
        const performing = Effect.suspend(() => {
          // the bytes of a running write leave when the end of the stream follows
          isLate = mayBreak
          if (order.do !== "write") mayBreak = true
          return perform(order)
        })
        const fiber = yield* Effect.fork(performing)
        writing = fiber
        const exit = yield* Fiber.await(fiber)
        const sent = outbound.sent - written
        written = outbound.sent
        // a FIN that the end of the session cut off does not count as a write
        const failsToEnd = order.do !== "write" && sent === size
        wire.judge(exit, (error) => {
          const tellsAll = error.written === sent
          if (error._tag === "WriteTimeout") return tellsAll && deadlines.write.hasPassedBetween(since, now())
          if (error._tag === "StreamReset") {
            // an end that waits tells no bytes
            const tells = tellsAll || (order.do !== "write" && error.written === 0)
            return tells && (isOurReset(error) || isTheirReset(error))
          }
          if (error.cause === undefined) return tellsAll && (isLate || left || (wire.preemptive && mayBreak))
          return breaksOff(error.cause) && (tellsAll || (failsToEnd && error.written === 0))
        })
        wire.expect(Exit.isSuccess(exit) ? sent === size : sent <= size, `sent ${sent} of ${size} bytes`)
        if (Exit.isSuccess(exit) && order.do !== "write") wire.expect(outbound.ended, "ended without a FIN")
        obeyed++
      })
    const obeying = Effect.forever(Effect.flatMap(Queue.take(orders), obey))
    yield* Effect.forkScoped(Effect.interruptible(obeying))

    const take = (chunk: Uint8Array) => {
      const { byteLength } = chunk
      const isNext = byteLength > 0 && equal(chunk, inbound.bytes(inbound.read, byteLength))
      wire.expect(isNext || unsure, "read other bytes")
      inbound.read += byteLength
      wire.expect(inbound.read <= inbound.arrived, "read more than had come")
    }
    const isRead = () => unsure || inbound.read === inbound.arrived
    const atEnd = () =>
      wire.expect(
        left || (inbound.endArrived && isRead() && inbound.arrived === inbound.sent),
        "an early end"
      )
    /** The end of the session comes after all arrived bytes, and after an arrived FIN the stream has ended. */
    const isLost = (cause: TerminalError) =>
      wire.ends(side, cause) && (left || (isRead() && !inbound.endArrived && inbound.resetArrived === undefined))
    /** A reset of the peer comes after all arrived bytes. */
    const isReset = (error: ReadError) =>
      isOurReset(error) ||
      (error._tag === "StreamReset" && error.by === "peer" && error.code === inbound.resetArrived && isRead())
    const reader = (reads: Effect.Effect<void, ReadError>) =>
      Effect.gen(function*() {
        if (reading !== undefined && isPending(reading)) return reading
        const since = now()
        const judged = Effect.onExit(reads, (exit) =>
          Effect.sync(() => {
            if (Exit.isInterrupted(exit)) unsure ||= wire.preemptive
            wire.judge(exit, (error) =>
              error._tag === "ReadTimeout"
                ? deadlines.read.hasPassedBetween(since, now())
                : error._tag === "StreamReset"
                ? isReset(error)
                : error._tag === "BrokenPipe" && (error.cause === undefined ? left : isLost(error.cause)))
          }))
        return reading = yield* Effect.fork(judged)
      })

    return {
      id: stream.id,
      side,
      isFresh: () => ordered === 0,
      order: (order: Order) => {
        ordered++
        return Queue.offer(orders, order)
      },
      isIdle: () => ordered === obeyed,
      /** Ends the stream. A waiting write leaves before the FIN. */
      end: Effect.suspend(() => {
        mayBreak = true
        const judged = Effect.onExit(stream.end, (exit) =>
          Effect.sync(() => {
            wire.judge(exit, (error) =>
              error._tag === "StreamReset"
                ? isOurReset(error) || isTheirReset(error)
                : error.cause !== undefined && breaksOff(error.cause))
            wire.expect(outbound.ended || !Exit.isSuccess(exit), "ended without a FIN")
          }))
        return Effect.map(Effect.fork(judged), (fiber) => ending = fiber)
      }),
      interruptWrite: Effect.suspend(() => {
        if (isSinking) codes.add(ResetCode.Cancelled) // an interrupted sink resets its direction
        interrupted = true
        return writing === undefined ? Effect.void : Fiber.interrupt(writing)
      }),
      read: reader(Effect.map(stream.read, (chunk) => chunk._tag === "Some" ? take(chunk.value) : atEnd())),
      readAll: reader(Effect.map(Stream.runForEach(stream.readable, (chunk) => Effect.sync(() => take(chunk))), atEnd)),
      interruptRead: Effect.suspend(() => reading === undefined ? Effect.void : Fiber.interrupt(reading)),
      setDeadline: (what: "read" | "write", millis: number) =>
        Effect.suspend(() => {
          const at = now() + millis
          deadlines[what].set(at, now())
          return what === "read" ? stream.setReadDeadline(at) : stream.setWriteDeadline(at)
        }),
      clearDeadlines: Effect.suspend(() => {
        for (const deadline of [deadlines.read, deadlines.write]) deadline.set(Infinity, now())
        return stream.setDeadline(undefined)
      }),
      leave: Effect.suspend(() => {
        left = mayBreak = true
        codes.add(ResetCode.Cancelled) // when bytes wait
        return leave(Exit.void)
      }),
      /** Leaves the stream by a failure. */
      fail: Effect.suspend(() => {
        left = mayBreak = true
        codes.add(ResetCode.Failed)
        return leave(Exit.fail("the owner fails"))
      }),
      reset: Effect.suspend(() => {
        left = mayBreak = true
        codes.add(resetCode)
        return stream.reset({ code: resetCode, reason: "the program wants it" })
      }),
      /** Whether a direction of the stream is reset, so that its end is an error. The RESET may wait for the link. */
      isReset: () =>
        leavesOut() ||
        [outbound.reset, outbound.stopArrived, inbound.reset, ...codes].some((code) => code !== undefined),
      isLeft: () => left,
      /** Whether both directions have ended. */
      isOver: () => outbound.ended && inbound.endArrived,
      isUnsure: () => unsure,
      inbound,
      isWhole: () =>
        outbound.sent === written && outbound.ended && (left || (isRead() && inbound.arrived === inbound.sent)),
      /** The operations that wait when no fiber can run. */
      pending: () => ({
        read: isPending(reading),
        readOverdue: isPending(reading) && deadlines.read.hasPassed(now()),
        write: isPending(writing) && outbound.sent < due,
        writeOverdue: isPending(writing) && outbound.sent < due && deadlines.write.hasPassed(now()),
        end: isPending(ending) || (isPending(writing) && outbound.sent === due)
      })
    }
  })

export type End = Effect.Effect.Success<ReturnType<typeof makeEnd>>

/** Gets a stream in a scope of its own, and hands its end to `keep`. */
export const getEnd = <E>(
  wire: Wire,
  side: Side,
  get: Effect.Effect<MuxStream, E, Scope.Scope>,
  keep: (end: End) => void,
  mayExpire?: () => boolean
) =>
  Effect.uninterruptibleMask((restore) =>
    Effect.gen(function*() {
      const scope = yield* Scope.make()
      const leave = (exit: Exit.Exit<void, string>) => Scope.close(scope, exit)
      const stream = yield* Effect.onError(restore(Scope.extend(get, scope)), () => leave(Exit.void))
      keep(yield* makeEnd(wire, side, { stream, leave, mayExpire }))
    })
  )
