import * as Channel from "effect/Channel"
import * as Chunk from "effect/Chunk"
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as Inspectable from "effect/Inspectable"
import type * as Mailbox from "effect/Mailbox"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import * as Sink from "effect/Sink"
import * as Stream from "effect/Stream"
import { type Address, format } from "../../Address.js"
import type * as Api from "../../MuxStream.js"
import type { BrokenPipe, InvalidDeadline, ReadError, WriteError } from "../../WsmuxError.js"
import { Inbox } from "../recv/inbox.js"
import { Deadline, setDeadlines } from "../time/deadline.js"
import type { StreamProtocol } from "./streamProtocol.js"

export const TypeId: Api.TypeId = Symbol.for("effect-wsmux/MuxStream") as Api.TypeId

/** What the handles of a session share. */
export interface SessionInfo {
  readonly localAddress: Address
  readonly remoteAddress: Address
  /** Where timers live. */
  readonly scope: Scope.Scope
}

/** The handle that users hold: the stream's state, told as Effects. */
export class MuxStreamHandle implements Api.MuxStream {
  readonly [TypeId]: Api.TypeId = TypeId
  readonly #stream: StreamProtocol
  readonly #home: SessionInfo
  #readDeadline: Deadline | undefined
  #writeDeadline: Deadline | undefined

  constructor(stream: StreamProtocol, home: SessionInfo) {
    this.#stream = stream
    this.#home = home
  }

  // Users pass these on unbound, as in `Stream.runForEach(source, stream.write)`; as getters they cost an idle stream
  // nothing.

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

  get localAddress(): Address {
    return this.#home.localAddress
  }

  get remoteAddress(): Address {
    return this.#home.remoteAddress
  }

  get readable(): Stream.Stream<Uint8Array, ReadError> {
    return Stream.fromChannel(this.#stream.recvHalf.chunks)
  }

  get inbox(): Mailbox.ReadonlyMailbox<Uint8Array, ReadError> {
    return new Inbox(this.#stream.recvHalf)
  }

  get writable(): Sink.Sink<void, Uint8Array, never, WriteError> {
    const { sendHalf: outgoing } = this.#stream
    const loop: Channel.Channel<never, Chunk.Chunk<Uint8Array>, WriteError, never, void, unknown> = Channel.readWith({
      onInput: (chunks: Chunk.Chunk<Uint8Array>) => {
        const rest = outgoing.writeNow(Chunk.toReadonlyArray(chunks))
        return rest === undefined ? loop : Channel.zipRight(Channel.fromEffect(rest), loop)
      },
      onFailure: (never: never) => Channel.fail(never),
      onDone: () => Channel.fromEffect(outgoing.end)
    })
    return Sink.fromChannel(loop)
  }

  get read(): Effect.Effect<Option.Option<Uint8Array>, ReadError> {
    return this.#stream.recvHalf.read
  }

  get end(): Effect.Effect<void, BrokenPipe> {
    return this.#stream.sendHalf.end
  }

  toJSON(): unknown {
    return {
      _id: "effect-wsmux/MuxStream",
      ...this.#stream.snapshot(),
      remoteAddress: format(this.#home.remoteAddress)
    }
  }

  toString(): string {
    return Inspectable.format(this.toJSON())
  }

  [Inspectable.NodeInspectSymbol](): unknown {
    return this.toJSON()
  }

  #set(at: Api.Deadline, deadlines: () => ReadonlyArray<Deadline>): Effect.Effect<void, InvalidDeadline> {
    return Effect.suspend(() => setDeadlines(deadlines(), toMillis(at), this.#home.scope))
  }

  #reading(): Deadline {
    return this.#readDeadline ??= new Deadline((expired) => this.#stream.recvHalf.setExpired(expired))
  }

  #writing(): Deadline {
    return this.#writeDeadline ??= new Deadline((expired) => this.#stream.sendHalf.setExpired(expired))
  }

  /** The state that a handle tells, for adapters that have no use for effects. */
  static stateOf(handle: MuxStreamHandle): StreamProtocol {
    return handle.#stream
  }

  /** Leaves the stream at once, and answers what is left to do: the finaliser of the scope that owns it. */
  static release(handle: MuxStreamHandle): Effect.Effect<void> {
    handle.#stream.leave()
    return Effect.zipRight(handle.#readDeadline?.clear ?? Effect.void, handle.#writeDeadline?.clear ?? Effect.void)
  }
}

const toMillis = (deadline: Api.Deadline): number | undefined => {
  if (deadline === undefined || typeof deadline === "number") return deadline
  return Option.match(DateTime.make(deadline), { onNone: () => Number.NaN, onSome: DateTime.toEpochMillis })
}
