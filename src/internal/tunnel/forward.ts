import * as Cause from "effect/Cause"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import type * as Net from "node:net"
import { type MuxStream, ResetCode, type ResetOptions } from "../../MuxStream.js"
import { DuplexFailure, type ReadError, type Stalled, type WriteError } from "../../WsmuxError.js"
import { ForeignDuplex } from "../adapter/foreignDuplex.js"
import { Join } from "../adapter/join.js"
import { type Fork, type Operations, resetsOf } from "../session/callbacks.js"
import type { OwnedStream } from "../session/sessionCallbacks.js"
import type { Cancel } from "../sync/later.js"
import { interrupted, interruptSoon } from "../sync/unowned.js"
import { describe } from "../text/describe.js"

/** Why a forwarded connection broke. */
export type ForwardError = DuplexFailure | ReadError | WriteError | Stalled

/** Called once, when a connection and its stream have ended, when one has broken, or when the tunnel closes. */
type OnEnd = (exit: Exit.Exit<void, ForwardError>) => void

/** The settings of each forwarded connection. */
export interface Settings {
  /**
   * Bounds the wait of a write for a peer that has ended its half. Then the connection is reset. Default 1 minute.
   */
  readonly stallTimeout?: Duration.DurationInput | undefined
  /**
   * Called when a stream and a connection are joined. Returns a function that is called at their end: with success when
   * both have ended both ways, with a failure when one has broken, and with an interruption when the tunnel closes.
   */
  readonly onJoined?: ((stream: MuxStream, connection: Net.Socket) => OnEnd | undefined) | undefined
}

/** The time in which the bytes that were read before a connection broke may reach the peer. Then the stream ends. */
const handOver = Duration.seconds(2)

/**
 * A TCP connection that is forwarded through a stream. Owns both: the connection from its beginning, and the stream
 * once there is one. A connection costs no fiber, since a fiber with its scope would cost more than all the rest.
 */
export class Forward {
  readonly #socket: Net.Socket
  readonly #duplex: ForeignDuplex
  readonly #fork: Fork
  readonly #settings: Settings
  readonly #onClosed: () => void
  #owned: OwnedStream | undefined
  /** Cancels what is under way: the dial, the open, or the join. */
  #cancel: Cancel = () => {}
  #handOver: Fiber.RuntimeFiber<void> | undefined
  #onEnd: OnEnd | undefined
  /** Whether the dial or the open has answered. Either may answer before it returns. */
  #hasAnswer = false
  #isOver = false

  /**
   * Must be called in the turn in which the socket was made.
   *
   * @param onClosed called once, when the connection is closed
   */
  constructor(socket: Net.Socket, fork: Fork, settings: Settings, onClosed: () => void) {
    this.#socket = socket
    this.#duplex = new ForeignDuplex(socket)
    this.#fork = fork
    this.#settings = settings
    this.#onClosed = onClosed
  }

  /** The connection as effects, until it is joined. */
  get operations(): Operations<DuplexFailure> {
    return this.#duplex.operations
  }

  /**
   * Owns the stream, and joins the two when the connection is established. Without a connection the stream is reset as
   * `onFailure` says.
   */
  dial(owned: OwnedStream, onFailure: (failure: DuplexFailure) => ResetOptions | undefined): void {
    this.#owned = owned
    this.#begun(this.#duplex.connect((exit) => {
      this.#hasAnswer = true
      if (Exit.isSuccess(exit)) return this.#join(owned)
      const { cause } = exit
      const reset = cause._tag === "Fail" ? this.call(() => onFailure(cause.error)) : undefined
      if (reset !== undefined) {
        resetsOf(owned.stream)?.reset({ code: reset.code ?? ResetCode.Failed, reason: reset.reason ?? "" })
      }
      this.close(exit)
    }))
  }

  /** Opens the stream, and joins the two. Does nothing once the connection is closed. */
  open<E>(
    open: (done: (exit: Exit.Exit<OwnedStream, E>) => void) => Cancel,
    onFailure: (cause: Cause.Cause<E>) => void
  ): void {
    if (this.#isOver) return
    this.#begun(open((exit) => {
      this.#hasAnswer = true
      if (Exit.isSuccess(exit)) {
        this.#owned = exit.value
        return this.#join(exit.value)
      }
      this.call(() => onFailure(exit.cause))
      this.close()
    }))
  }

  /** Calls a hook of the program. A hook that throws costs its own connection, and no other. */
  call<A>(hook: () => A): A | undefined {
    try {
      return hook()
    } catch (defect) {
      logDefect(this.#fork, defect)
      this.close(Exit.die(defect))
      return undefined
    }
  }

  /** Resets the stream and the connection, unless both have ended. */
  close(exit: Exit.Exit<void, ForwardError> = interrupted): void {
    if (this.#isOver) return
    this.#isOver = true
    this.call(() => this.#onEnd?.(exit))
    this.#cancel()
    if (this.#handOver !== undefined) interruptSoon(this.#handOver)
    this.#owned?.leave(exit)
    this.#duplex.release(this.#onClosed)
  }

  #join(owned: OwnedStream): void {
    const { stream } = owned
    this.#onEnd = this.call(() => this.#settings.onJoined?.(stream, this.#socket))
    if (this.#isOver) return
    if (this.#socket.errored) this.#onBroken(this.#socket.errored)
    else this.#socket.once("error", this.#onBroken)
    const joined = new Join(stream, this.#duplex, this.#fork, this.#settings.stallTimeout, (exit) => this.close(exit))
    this.#cancel = () => joined.cancel()
    joined.start()
  }

  #begun(cancel: Cancel): void {
    if (!this.#hasAnswer) this.#cancel = cancel
  }

  /** A join that waits for its stream does not notice a broken connection. */
  readonly #onBroken = (cause: Error): void => {
    this.#handOver = this.#fork(Effect.sleep(handOver))
    this.#handOver.addObserver(() => this.close(Exit.fail(new DuplexFailure({ detail: describe(cause), cause }))))
  }
}

/** Tells of a hook that threw. Hooks run in callbacks, so no effect of the program can fail with the defect. */
export const logDefect = (fork: Fork, defect: unknown): void =>
  void fork(Effect.logError("cannot forward a connection: a hook threw", Cause.die(defect)))
