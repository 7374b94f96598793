import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type { ResumptionSnapshot } from "../../SessionSnapshot.js"
import type { CloseInfo, Listener, Transport } from "../../Transport.js"
import { TypeId } from "../../Transport.js"
import { Notify } from "../sync/notify.js"
import { ListenerBuffer, noListener, type Receiver } from "../transport/listenerBuffer.js"
import { addResume, decodeRecord, Feature, GOAWAY, HELLO, recordHeaderSize } from "../wire/record.js"
import * as Record from "../wire/resumeRecord.js"
import type { Carrier, CarrierUser } from "./carrier.js"
import { KeptMessages } from "./keptMessages.js"
import { isLoss, lost } from "./loss.js"
import type { ResumeOwner } from "./owner.js"

/** Whether the session survives the loss of its carrier. */
type Phase =
  /** The first messages of both ends are still to come. */
  | "Undecided"
  /** One of the two ends cannot resume: the carrier carries all. */
  | "Plain"
  | "Connected"
  | "Suspended"
  | "Ended"

/**
 * A transport made of a succession of carriers, each an established WebSocket. The session above does not notice that
 * one takes the place of another: while there is none, the transport is not writable.
 *
 * Each message is counted, but for those that a loss makes void. Sent messages are kept until the peer has said that it
 * has handled them. On a new carrier, each end repeats what the other has not received.
 */
export class ResumableTransport implements Transport, CarrierUser {
  readonly [TypeId]: TypeId = TypeId
  readonly maxMessageSize: number
  readonly localAddress: Transport["localAddress"]
  readonly remoteAddress: Transport["remoteAddress"]
  readonly #owner: ResumeOwner
  /** Undefined while the peer has acknowledged all, as in a session that is idle. */
  #kept: KeptMessages | undefined
  #listener: Listener | undefined
  /** Holds the events before `listen`. Made for the first of them. */
  #early: ListenerBuffer | undefined
  #carrier: Carrier | undefined
  #phase: Phase = "Undecided"
  /** Whether this end's first message says that it can resume, and whether the peer's does. */
  #ownOffers: boolean | undefined
  #peerOffers: boolean | undefined
  /** Counted messages: sent, acknowledged by the peer, and received. */
  #sent = 0
  #acknowledged = 0
  #received = 0
  /** The counted messages and their bytes that came since the last acknowledgement. */
  #unconfirmed = 0
  #unconfirmedBytes = 0
  #isTimed = false
  /** Whether the last message of the carrier is the last one kept, so that both can be extended. */
  #mayExtend = false
  /** Whether `pollWritable` has returned false since the last `onWritable`. */
  #blocked = false
  #isClosing = false
  /** Notified at each new carrier and at the end. Made when something waits for them. */
  #changes: Notify | undefined
  /** Added to the carrier's count, so that a change of the carrier is a sign of life. */
  #lifeSigns = 0
  #isProven = true
  #peerDrains = false
  #resumed = 0
  #suspended: Pick<ResumptionSnapshot, "since" | "wasSilent"> | undefined
  readonly #canPing: boolean

  constructor(carrier: Carrier, owner: ResumeOwner) {
    const { transport } = carrier
    this.#owner = owner
    this.maxMessageSize = transport.maxMessageSize
    this.localAddress = transport.localAddress
    this.remoteAddress = transport.remoteAddress
    this.#canPing = transport.ping !== undefined
    this.#carrier = carrier
  }

  /** Begins to listen to the first carrier. */
  begin(): void {
    this.#carrier?.handTo(this)
  }

  get upgrade(): Transport["upgrade"] {
    return this.#carrier?.transport.upgrade
  }

  get ping(): Transport["ping"] {
    return this.#canPing ? (answered) => this.#carrier?.ping(answered) : undefined
  }

  pong(): void {
    this.#carrier?.transport.pong?.()
  }

  get phase(): Phase {
    return this.#phase
  }

  get carrier(): Carrier | undefined {
    return this.#carrier
  }

  /** The bytes that are kept until the peer acknowledges them. */
  get keptBytes(): number {
    return this.#kept?.bytes ?? 0
  }

  /** How many messages of the peer have been handled. */
  get received(): number {
    return this.#received
  }

  /** The number of the oldest message that can be repeated. */
  get firstKept(): number {
    return this.#acknowledged + 1
  }

  resumption(): ResumptionSnapshot | undefined {
    if (this.#phase !== "Connected" && this.#phase !== "Suspended") return undefined
    return {
      state: this.#phase === "Connected" ? "connected" : "suspended",
      since: this.#suspended?.since,
      wasSilent: this.#suspended?.wasSilent ?? false,
      resumed: this.#resumed,
      keptBytes: this.keptBytes
    }
  }

  listen(listener: Listener): void {
    if (this.#listener !== undefined) throw new Error("cannot listen: the transport has a listener already")
    this.#early?.listen(listener)
    this.#early = undefined
    this.#listener = listener
  }

  get #receiver(): Receiver {
    return this.#listener ?? this.#buffer.receiver
  }

  get #buffer(): ListenerBuffer {
    return this.#early ??= new ListenerBuffer(this.maxMessageSize, () => this.end(lost(new Error(noListener))))
  }

  send(parts: ReadonlyArray<Uint8Array>, more?: boolean): void {
    if (this.#phase === "Ended" || this.#isClosing) return
    if (this.#phase === "Plain") return this.#carrier?.transport.send(parts, more)
    const kind = Record.kindOf(parts[0]!)
    this.#mayExtend = false
    if (kind !== undefined && Record.isPing(kind)) return this.#carrier?.transport.send(parts, more)
    const message = this.#ownOffers === undefined ? this.#begin(kind, parts) : parts
    this.#sent++
    const kept = this.#kept ??= new KeptMessages()
    this.#owner.book(kept.add(message)) // first, since the send may end the carrier or bring an acknowledgement
    this.#carrier?.transport.send(message, more)
    kept.copy() // behind the send, so that the peer works meanwhile
    this.#mayExtend = this.#kept === kept
    this.#settle()
  }

  extend(parts: ReadonlyArray<Uint8Array>): boolean {
    const extended = (this.#mayExtend || this.#phase === "Plain") && this.#carrier?.transport.extend?.(parts) === true
    if (extended && this.#phase !== "Plain") this.#owner.book(this.#kept!.extend(parts))
    return extended
  }

  pollWritable(): boolean {
    const isWritable = !this.#isClosing && this.keptBytes < this.#owner.maxKept &&
      this.#carrier?.transport.pollWritable() === true
    this.#blocked ||= !isWritable
    return isWritable
  }

  /** Changes at every call while there is no carrier: the keep-alive rests then. */
  receiveCount(): number {
    if (this.#carrier === undefined) this.#lifeSigns++
    return this.#lifeSigns + (this.#carrier?.transport.receiveCount() ?? 0)
  }

  /** Drops a carrier whose peer shows no sign of life. Returns false where the session cannot go on over another. */
  renew(): boolean {
    if (this.#mayGoOn) this.#suspend(lost(new Error("the peer was silent")), true)
    return this.#phase === "Suspended"
  }

  /** While suspended, waits for another carrier first: the peer is owed the kept messages and the close frame. */
  close(code: number, reason: string, timeout: Duration.DurationInput): Effect.Effect<void> {
    const closeCarrier: Effect.Effect<void> = (this.#changes ??= new Notify()).waitUntil(() => {
      if (this.#phase === "Ended") return Effect.void
      // A peer that resumes drops this carrier, and goes on over another one.
      return this.#carrier && Effect.zipRight(this.#carrier.transport.close(code, reason, timeout), closeCarrier)
    })
    return Effect.suspend(() => {
      this.#isClosing = true
      return closeCarrier
    }).pipe(
      Effect.interruptible,
      Effect.timeoutOption(timeout),
      Effect.ensuring(Effect.sync(() => this.end(this.#carrier?.end ?? lost(undefined)))),
      Effect.asVoid
    )
  }

  /** Ends the transport. Only the first call counts. */
  end(info: CloseInfo): void {
    if (this.#phase === "Ended") return
    this.#phase = "Ended"
    this.#forget()
    this.#carrier?.drop()
    this.#carrier = undefined
    if (this.#listener === undefined) this.#buffer.close(info)
    else this.#listener.onClose(info)
    this.#changes?.notifyAll()
    this.#owner.onEnd()
  }

  // A new carrier.

  /** Whether the peer's counts fit this end's: the peer asks for messages that are kept, and repeats all it must. */
  fits(peer: { readonly received: number; readonly firstKept: number }): boolean {
    return peer.received >= this.#acknowledged && peer.received <= this.#sent && peer.firstKept <= this.#received + 1
  }

  /** Goes on over another carrier, whose peer has received so many messages. Repeats the others. */
  attach(carrier: Carrier, peerReceived: number): void {
    this.#acknowledge(peerReceived)
    this.#carrier = carrier
    this.#phase = "Connected"
    this.#peerOffers = true // a peer that resumes may have lost its first message
    this.#mayExtend = false
    this.#isProven = false
    this.#unconfirmed = this.#unconfirmedBytes = 0 // the handshake told the count
    this.#lifeSigns++
    this.#resumed++
    this.#suspended = undefined
    carrier.handTo(this)
    const kept = [...(this.#kept ?? [])] // a send may end the carrier
    kept.forEach((message, i) => this.#carrier === carrier && carrier.transport.send(message, i < kept.length - 1))
    this.#listener?.onRenewed?.()
    this.#changes?.notifyAll()
    this.onWritable()
    if (carrier.end !== undefined && this.#carrier === carrier) this.onClose(carrier.end)
  }

  /** Gives the carrier to another transport, and ends. */
  giveAway(end: CloseInfo): void {
    this.#carrier = undefined
    this.end(end)
  }

  /** Drops the carrier, because a newer one takes its place. */
  detach(): void {
    if (this.#carrier !== undefined) this.#detach()
  }

  // The events of the carrier.

  onMessage(message: Uint8Array): void {
    if (this.#phase === "Plain") return this.#receiver.onMessage(message)
    const kind = Record.kindOf(message)
    if (this.#peerOffers === undefined && this.#decide(kind, message)) return
    if (!this.#isProven) {
      this.#isProven = true
      this.#owner.onProven()
    }
    if (kind !== undefined && Record.isUncounted(kind) && this.#peerOffers === true) {
      return Record.isResumeKind(kind) ? this.#onRecord(message) : this.#receiver.onMessage(message)
    }
    if (kind === GOAWAY) this.#peerDrains = true
    this.#received++
    this.#unconfirmed++
    this.#unconfirmedBytes += message.byteLength
    this.#receiver.onMessage(message)
    if (this.#phase !== "Connected") return
    if (this.#unconfirmedBytes >= confirmBytes) this.#confirm()
    else this.#confirmSoon()
  }

  onText(): void {
    this.#receiver.onText()
  }

  /** Tells the listener when `pollWritable` has become true. */
  onWritable(): void {
    if (!this.#blocked || !this.pollWritable()) return
    this.#blocked = false
    this.#listener?.onWritable()
  }

  onClose(end: CloseInfo): void {
    if (this.#mayGoOn && !this.#isClosing && isLoss(end, this.#owner.isAccepting, this.#peerDrains)) this.#suspend(end)
    else this.end(end)
  }

  /** Whether another carrier may come. The client may have got an offer although its own first message is missing. */
  get #mayGoOn(): boolean {
    if (this.#phase === "Connected") return true
    return this.#phase === "Undecided" && this.#owner.isAccepting && this.#ownOffers === true
  }

  /** Sends the first message. A `Hello` also tells that this end can resume. */
  #begin(kind: number | undefined, parts: ReadonlyArray<Uint8Array>): ReadonlyArray<Uint8Array> {
    this.#ownOffers = kind === HELLO
    return this.#ownOffers ? [addResume(parts[0]!, this.#owner.offer())] : parts
  }

  /** Decides by the peer's first message whether it can resume. Returns whether the owner has taken the carrier. */
  #decide(kind: number | undefined, message: Uint8Array): boolean {
    const record = kind === undefined ? undefined : Record.decode(message)
    if (record?._tag === "Resume" && this.#owner.isAccepting) {
      this.#owner.onResume(record, this.#carrier!)
      return true
    }
    const hello = kind === HELLO ? decodeRecord(message.subarray(recordHeaderSize - 1)) : undefined
    this.#peerOffers = hello?._tag === "Hello" && (hello.features & Feature.resume) !== 0 &&
      (this.#owner.isAccepting || hello.resume !== undefined)
    if (this.#peerOffers) this.#owner.onNative(hello?._tag === "Hello" ? hello.resume : undefined)
    this.#settle()
    return false
  }

  /** Both first messages decide whether the session can be resumed. */
  #settle(): void {
    if (this.#phase !== "Undecided") return
    if (this.#ownOffers === false || this.#peerOffers === false) {
      this.#phase = "Plain"
      this.#forget()
      this.onWritable()
    } else if (this.#ownOffers && this.#peerOffers) {
      this.#phase = "Connected"
      if (this.#unconfirmed > 0) this.#confirmSoon()
    }
  }

  #onRecord(message: Uint8Array): void {
    const record = Record.decode(message)
    if (record === undefined) return this.end(lost(this.#owner.countFailure("a record of the peer is malformed")))
    if (record._tag !== "Received") return // the others are void outside of the handshake
    if (record.count < this.#acknowledged || record.count > this.#sent) {
      const detail = `${record.count} messages are acknowledged, of ${this.#acknowledged} to ${this.#sent}`
      return this.end(lost(this.#owner.countFailure(detail)))
    }
    this.#acknowledge(record.count)
    this.onWritable()
  }

  #acknowledge(count: number): void {
    if (count === this.#acknowledged) return
    this.#owner.book(-this.#kept!.drop(count - this.#acknowledged))
    this.#acknowledged = count
    if (this.#kept!.count > 0) return
    this.#kept = undefined
    this.#mayExtend = false // the peer has handled the last message
  }

  /** Tells the peer how many messages have been handled. */
  #confirm(): void {
    if (this.#unconfirmed === 0 || this.#carrier === undefined) return
    this.#unconfirmed = this.#unconfirmedBytes = 0
    this.#mayExtend = false
    this.#carrier.transport.send([Record.encodeReceived(this.#received)], true) // leaves with the credit of this turn
  }

  #confirmSoon(): void {
    if (this.#isTimed) return
    this.#isTimed = true
    this.#owner.afterSecond(() => {
      this.#isTimed = false
      if (this.#phase === "Connected") this.#confirm()
    })
  }

  #suspend(loss: CloseInfo, wasSilent = false): void {
    this.#detach(wasSilent)
    this.#owner.onSuspended(loss, this.#peerOffers === true)
  }

  #detach(wasSilent = false): void {
    const carrier = this.#carrier
    this.#lifeSigns += (carrier?.transport.receiveCount() ?? 0) + 1
    carrier?.drop()
    this.#carrier = undefined
    this.#mayExtend = false
    this.#kept?.shrink()
    this.#phase = "Suspended"
    this.#suspended = { since: this.#owner.now(), wasSilent }
  }

  #forget(): void {
    this.#owner.book(-this.keptBytes)
    this.#kept?.clear()
    this.#kept = undefined
  }
}

/** The bytes of messages after which the peer is told. */
const confirmBytes = 256 * 1024
