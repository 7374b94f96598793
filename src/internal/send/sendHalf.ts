import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import { BrokenPipe, type TerminalError, type WriteError, WriteTimeout } from "../../WsmuxError.js"
import { Notify } from "../sync/notify.js"
import * as Frame from "../wire/frame.js"
import type { FrameParts } from "../wire/frameParts.js"
import { SendWindow } from "../wire/sendWindow.js"
import type { FrameSource } from "./sendScheduler.js"

/** What the sending half asks of its session. */
export interface SendContext {
  readonly schedule: (sender: FrameSource) => void
  readonly isClear: (size: number) => boolean
  readonly sendNow: (frame: FrameParts) => void
  readonly sendControl: (frame: Uint8Array) => void
  /** Told whenever something that was written begins to wait for credit. */
  readonly stalled: () => void
}

/** The stream that it is the sending half of. */
export interface SendHalfOwner {
  /** Told when our FIN has been handed over. */
  readonly finSent: () => void
}

/** A write that waits for credit or for its turn. Its bytes stay the caller's until it is done. */
export class Write {
  #index = 0
  #offset = 0
  written = 0
  done: ((exit: Exit.Exit<void, WriteError>) => void) | undefined

  constructor(readonly chunks: ReadonlyArray<Uint8Array>, readonly size: number) {}

  get remaining(): number {
    return this.size - this.written
  }

  /** Adds as much of it as may go, at most `limit` bytes, and answers how many that are. */
  moveTo(parts: Array<Uint8Array>, limit: number): number {
    let moved = 0
    while (moved < limit && this.#index < this.chunks.length) {
      const chunk = this.chunks[this.#index]!
      const part = Math.min(chunk.byteLength - this.#offset, limit - moved)
      parts.push(part === chunk.byteLength ? chunk : chunk.subarray(this.#offset, this.#offset + part))
      moved += part
      this.#offset += part
      if (this.#offset === chunk.byteLength) {
        this.#index++
        this.#offset = 0
      }
    }
    this.written += moved
    return moved
  }
}

/**
 * - `Open`: bytes may be written
 * - `Ending`: no new writes; the FIN follows those that wait
 * - `Ended`: the FIN has been handed over
 * - `Broken`: the session is over
 */
type State =
  | { readonly _tag: "Open" }
  | { readonly _tag: "Ending" }
  | { readonly _tag: "Ended" }
  | { readonly _tag: "Broken"; readonly cause: TerminalError }

const open: State = { _tag: "Open" }
const ending: State = { _tag: "Ending" }
const ended: State = { _tag: "Ended" }

/**
 * The sending half of a stream: writes in the order they were made, as far as credit and turns allow. Debiting credit and
 * handing over the frame are one synchronous step, so an interruption never splits a frame or loses count.
 */
export class SendHalf implements FrameSource {
  queued = false
  readonly #streamId: number
  readonly #link: SendContext
  readonly #owner: SendHalfOwner
  readonly #window: SendWindow
  /** Writes that wait, and whoever waits for the end. Undefined until there are any: an idle stream is kept small. */
  #writes: Array<Write> | undefined
  #enders: Notify | undefined
  #waiting = 0
  #state: State = open
  #expired = false

  constructor(streamId: number, credit: number, link: SendContext, owner: SendHalfOwner) {
    this.#streamId = streamId
    this.#link = link
    this.#owner = owner
    this.#window = new SendWindow(credit)
  }

  get credit(): number {
    return this.#window.credit
  }

  /** Whether no frame of it is still to come. */
  get hasEnded(): boolean {
    return this.#state !== open && this.#state !== ending
  }

  /** Bytes of writes that wait. */
  get waiting(): number {
    return this.#waiting
  }

  /** Credit from the peer; false when it was more than can be outstanding. */
  grant(bytes: number): boolean {
    const sane = this.#window.grant(bytes)
    if (this.hasFrame()) this.#link.schedule(this)
    return sane
  }

  hasFrame(): boolean {
    return this.#waiting > 0 ? this.#window.credit > 0 : this.#state === ending
  }

  nextFrame(maxPayload: number): FrameParts | undefined {
    if (this.#waiting > 0) return this.#nextDat(maxPayload)
    if (this.#state !== ending) return undefined
    this.#state = ended
    this.#enders?.notifyAll()
    this.#owner.finSent()
    return [Frame.fin(this.#streamId)]
  }

  write(chunks: ReadonlyArray<Uint8Array>): Effect.Effect<void, WriteError> {
    return Effect.suspend(() => this.writeNow(chunks) ?? Effect.void)
  }

  /** Writes, unless that has to wait or fails: then it answers with an effect that does so. */
  writeNow(chunks: ReadonlyArray<Uint8Array>): Effect.Effect<void, WriteError> | undefined {
    const begun = this.begin(chunks)
    if (begun instanceof Write) return this.#wait(begun)
    return begun === Exit.void ? undefined : begun
  }

  /** Writes, unless that has to wait: then it answers with what there is to enqueue. */
  begin(chunks: ReadonlyArray<Uint8Array>): Exit.Exit<void, WriteError> | Write {
    const refusal = this.#refusal(0)
    if (refusal !== undefined) return Exit.fail(refusal)
    const size = chunks.length === 1
      ? chunks[0]!.byteLength
      : chunks.reduce((sum, chunk) => sum + chunk.byteLength, 0)
    if (size === 0) return Exit.void // a DAT without bytes corrupts a Go receiver
    if (!this.#mayPass(size)) return new Write(chunks, size)
    this.#window.take(size)
    this.#link.sendNow([Frame.datHeader(this.#streamId), ...chunks])
    return Exit.void
  }

  /** Calls back when it is written, or will not be, in the middle of that work, or at once; answers how to give it up. */
  enqueue(write: Write, done: (exit: Exit.Exit<void, WriteError>) => void): () => void {
    if (this.#waiting === 0 && this.#window.credit === 0) this.#link.stalled()
    write.done = done
    this.#list.push(write)
    this.#waiting += write.size
    if (this.hasFrame()) this.#link.schedule(this)
    return () => this.#remove(write)
  }

  /** Sends FIN behind the writes that wait, and waits until it is handed over. */
  get end(): Effect.Effect<void, BrokenPipe> {
    return Effect.suspend(() => {
      this.#startEnding()
      return (this.#enders ??= new Notify()).waitUntil(() => {
        switch (this.#state._tag) {
          case "Ended":
            return Effect.void
          case "Broken":
            return Effect.fail(this.#brokenPipe(0))
          default:
            return undefined
        }
      })
    })
  }

  /** Ends without waiting; writes that wait are broken off. */
  abandon(): void {
    this.#startEnding()
    this.#rejectAll((written) => this.#brokenPipe(written))
    if (this.hasFrame()) this.#link.schedule(this)
  }

  /** The session is over. A FIN with nothing before it can still leave, within what the closing session flushes. */
  fail(cause: TerminalError): void {
    const isEnding = this.#state === ending && this.#waiting === 0
    if (this.#state !== ended) this.#state = { _tag: "Broken", cause } // before its turn can come once more
    if (isEnding) this.#link.sendControl(Frame.fin(this.#streamId))
    this.#rejectAll((written) => this.#brokenPipe(written))
    this.#enders?.notifyAll()
  }

  /** Whether the write deadline has passed. */
  setExpired(expired: boolean): void {
    this.#expired = expired
    if (!expired) return
    this.#rejectAll((written) => this.#writeTimeout(written))
    if (this.hasFrame()) this.#link.schedule(this)
  }

  get #list(): Array<Write> {
    return this.#writes ??= []
  }

  /** Whether a write of this size can go as one frame now, passing nobody. */
  #mayPass(size: number): boolean {
    return this.#waiting === 0 && size <= this.#window.credit && this.#link.isClear(size)
  }

  /** Registers and sends what may go in one step of the fiber, so that nothing can come between. */
  #wait(write: Write): Effect.Effect<void, WriteError> {
    return Effect.uninterruptibleMask((restore) => {
      const refusal = this.#refusal(0)
      if (refusal !== undefined) return Effect.fail(refusal)
      let exit: Exit.Exit<void, WriteError> | undefined
      let resume: ((exit: Exit.Exit<void, WriteError>) => void) | undefined
      const giveUp = this.enqueue(write, (done) => {
        exit = done
        resume?.(done)
      })
      // A fiber may be interrupted before any step, so only the wait is interruptible.
      const wait = Effect.async<void, WriteError>((done) => {
        resume = done
        if (exit !== undefined) done(exit)
      })
      return exit ?? Effect.onInterrupt(restore(wait), () => Effect.sync(giveUp))
    })
  }

  #remove(write: Write): void {
    const writes = this.#list
    const index = writes.indexOf(write)
    if (index === -1) return
    writes.splice(index, 1)
    this.#waiting -= write.remaining
    if (this.hasFrame()) this.#link.schedule(this)
  }

  /** Writes that wait for their turn leave together, as large a frame as may go. */
  #nextDat(maxPayload: number): FrameParts | undefined {
    const size = this.#window.take(Math.min(maxPayload, this.#waiting))
    if (size === 0) return undefined
    const payload: Array<Uint8Array> = []
    this.#waiting -= size
    if (this.#waiting > 0 && this.#window.credit === 0) this.#link.stalled()
    const writes = this.#list
    let missing = size
    while (missing > 0) {
      const write = writes[0]!
      missing -= write.moveTo(payload, missing)
      if (write.remaining === 0) {
        writes.shift()
        write.done!(Exit.void)
      }
    }
    return [Frame.datHeader(this.#streamId), ...payload]
  }

  #startEnding(): void {
    if (this.#state !== open) return
    this.#state = ending
    if (this.hasFrame()) this.#link.schedule(this)
  }

  #rejectAll(error: (written: number) => WriteError): void {
    this.#waiting = 0
    for (const write of this.#writes?.splice(0) ?? []) write.done!(Exit.fail(error(write.written)))
  }

  #refusal(written: number): WriteError | undefined {
    if (this.#state !== open) return this.#brokenPipe(written)
    return this.#expired ? this.#writeTimeout(written) : undefined
  }

  #brokenPipe(written: number): BrokenPipe {
    const cause = this.#state._tag === "Broken" ? this.#state.cause : undefined
    return new BrokenPipe({ streamId: this.#streamId, operation: "write", written, cause })
  }

  #writeTimeout(written: number): WriteTimeout {
    return new WriteTimeout({ streamId: this.#streamId, written })
  }
}
