import * as Cause from "effect/Cause"
import * as Channel from "effect/Channel"
import * as Chunk from "effect/Chunk"
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Inspectable from "effect/Inspectable"
import type * as Mailbox from "effect/Mailbox"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import * as Sink from "effect/Sink"
import * as Stream from "effect/Stream"
import { type Address, format } from "../../Address.js"
import type * as Api from "../../MuxStream.js"
import type { EndError, InvalidDeadline, ReadError, WriteError } from "../../WsmuxError.js"
import { Inbox } from "../recv/inbox.js"
import { Deadline, setDeadlines } from "../time/deadline.js"
import { maxUint32 } from "../wire/frame.js"
import { ResetCode } from "../wire/resetCode.js"
import type { StreamProtocol } from "./streamProtocol.js"

export const TypeId: Api.TypeId = Symbol.for("effect-wsmux/MuxStream") as Api.TypeId

/** The session's values that all handles of its streams share. */
export interface SessionInfo {
  readonly localAddress: Address
  readonly remoteAddress: Address
  /** The scope of the deadlines' timers. */
  readonly scope: Scope.Scope
}

/** The `MuxStream` of a program: the operations of a `StreamProtocol` as effects. */
export class MuxStreamHandle implements Api.MuxStream {
  readonly [TypeId]: Api.TypeId = TypeId
  readonly #stream: StreamProtocol
  readonly #session: SessionInfo
  #readDeadline: Deadline | undefined
  #writeDeadline: Deadline | undefined

  constructor(stream: StreamProtocol, session: SessionInfo) {
    this.#stream = stream
    this.#session = session
  }

  // Programs pass these functions on unbound, as in `Stream.runForEach(source, stream.write)`. As getters, they take no
  // memory in an idle stream.

  get write(): Api.MuxStream["write"] {
    return (chunk) => this.#stream.sendHalf.write([chunk])
  }

  get writeAll(): Api.MuxStream["writeAll"] {
    return (chunks) => Effect.suspend(() => this.#stream.sendHalf.write(Array.from(chunks)))
  }

  get setReadDeadline(): Api.MuxStream["setReadDeadline"] {
    return (deadline) => this.#set(deadline, () => [this.#reading()])
  }

  get setWriteDeadline(): Api.MuxStream["setWriteDeadline"] {
    return (deadline) => this.#set(deadline, () => [this.#writing()])
  }

  get setDeadline(): Api.MuxStream["setDeadline"] {
    return (deadline) => this.#set(deadline, () => [this.#reading(), this.#writing()])
  }

  get id(): number {
    return this.#stream.id
  }

  get label(): string {
    return this.#stream.label
  }

  get metadata(): Api.MuxStream["metadata"] {
    return this.#stream.metadata
  }

  get localAddress(): Address {
    return this.#session.localAddress
  }

  get remoteAddress(): Address {
    return this.#session.remoteAddress
  }

  get readable(): Stream.Stream<Uint8Array, ReadError> {
    return Stream.fromChannel(this.#stream.recvHalf.chunks)
  }

  get inbox(): Mailbox.ReadonlyMailbox<Uint8Array, ReadError> {
    return new Inbox(this.#stream.recvHalf)
  }

  get writable(): Sink.Sink<void, Uint8Array, never, WriteError> {
    const { sendHalf } = this.#stream
    let ownFailure: WriteError | undefined
    const attempt = (effect: Effect.Effect<void, WriteError>) =>
      Channel.fromEffect(Effect.tapError(effect, (error) => Effect.sync(() => ownFailure = error)))
    const loop: Channel.Channel<never, Chunk.Chunk<Uint8Array>, WriteError, never, void, unknown> = Channel.readWith({
      onInput: (chunks: Chunk.Chunk<Uint8Array>) => {
        const rest = sendHalf.writeNow(Chunk.toReadonlyArray(chunks))
        return rest === undefined ? loop : Channel.zipRight(attempt(rest), loop)
      },
      onFailure: (never: never) => Channel.fail(never),
      onDone: () => attempt(sendHalf.end)
    })
    const finish = (exit: Exit.Exit<void, WriteError>) =>
      Effect.sync(() => {
        // After a write of its own failed, such as by a deadline, the stream goes on.
        const failure = Exit.isFailure(exit) ? Cause.failureOption(exit.cause) : Option.none()
        const isOwn = Option.isSome(failure) && failure.value === ownFailure
        if (Exit.isFailure(exit) && !isOwn) this.#stream.resetSending(causeOf(exit.cause))
      })
    return Sink.fromChannel(this.#stream.canReset ? Channel.ensuringWith(loop, finish) : loop)
  }

  get read(): Effect.Effect<Option.Option<Uint8Array>, ReadError> {
    return this.#stream.recvHalf.read
  }

  get end(): Effect.Effect<void, EndError> {
    return this.#stream.sendHalf.end
  }

  get reset(): Api.MuxStream["reset"] {
    return ({ code = ResetCode.Cancelled, reason = "" } = {}) =>
      Effect.sync(() => this.#stream.reset({ code: checkCode(code), reason }))
  }

  toJSON(): unknown {
    return {
      _id: "effect-wsmux/MuxStream",
      ...this.#stream.snapshot(),
      remoteAddress: format(this.#session.remoteAddress)
    }
  }

  toString(): string {
    return Inspectable.format(this.toJSON())
  }

  [Inspectable.NodeInspectSymbol](): unknown {
    return this.toJSON()
  }

  #set(at: Api.Deadline, deadlines: () => ReadonlyArray<Deadline>): Effect.Effect<void, InvalidDeadline> {
    return Effect.suspend(() => setDeadlines(deadlines(), toMillis(at), this.#session.scope))
  }

  #reading(): Deadline {
    return this.#readDeadline ??= new Deadline((expired) => this.#stream.recvHalf.setExpired(expired))
  }

  #writing(): Deadline {
    return this.#writeDeadline ??= new Deadline((expired) => this.#stream.sendHalf.setExpired(expired))
  }

  /** Returns the stream's state, for adapters that work without effects. */
  static stateOf(handle: MuxStreamHandle): StreamProtocol {
    return handle.#stream
  }

  /**
   * Leaves the stream at once: ends it after success, and resets it otherwise. Returns the effect that clears its
   * deadlines. The stream's owner calls this.
   */
  static release(handle: MuxStreamHandle, exit: Exit.Exit<unknown, unknown>): Effect.Effect<void> {
    if (Exit.isSuccess(exit)) handle.#stream.leave()
    else handle.#stream.reset(causeOf(exit.cause))
    if (handle.#readDeadline === undefined && handle.#writeDeadline === undefined) return Effect.void
    return Effect.zipRight(handle.#readDeadline?.clear ?? Effect.void, handle.#writeDeadline?.clear ?? Effect.void)
  }
}

/** What a peer is told about a failure. The failure's text stays here, since it may hold secrets. */
const causeOf = (cause: Cause.Cause<unknown>) =>
  Cause.isInterruptedOnly(cause)
    ? { code: ResetCode.Cancelled, reason: "" }
    : { code: ResetCode.Failed, reason: "" }

const checkCode = (code: number): number => {
  if (Number.isInteger(code) && code >= 0 && code <= maxUint32) return code
  throw new RangeError(`cannot reset the stream: ${code} is not a uint32`)
}

const toMillis = (deadline: Api.Deadline): number | undefined => {
  if (deadline === undefined || typeof deadline === "number") return deadline
  return Option.match(DateTime.make(deadline), { onNone: () => Number.NaN, onSome: DateTime.toEpochMillis })
}
