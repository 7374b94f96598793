import type { CloseInfo, Listener, Transport } from "effect-wsmux/Transport"
import { ResumeFailure } from "effect-wsmux/WsmuxError"
import { encodeMessage, hello } from "../../../support/records.js"
import type { Side } from "./link.js"

/** A message to send: its size, or the bytes to append to the message that was sent last. */
export interface Order {
  readonly size: number
  readonly extends: boolean
}

/** Tells the world of a broken promise, or of an event. */
export type Report = (fault: string) => void

/**
 * The program above one end of a resumable transport. It sends numbered messages while the transport is writable, and
 * compares each received message with the next one that the other end sent.
 */
export class End implements Listener {
  /** The messages that this end sent and the other has not received, by their numbers. */
  readonly sent = new Map<number, Buffer>()
  readonly orders: Array<Order> = []
  sentCount = 0
  receivedCount = 0
  largest = 0
  closed: CloseInfo | undefined
  peer: End | undefined
  /** Set by the program: it closed this end, or interrupted its owner. */
  isClosed = false
  readonly #random: (size: number) => Buffer
  #blocked = false
  /** Whether the message that was sent last is a numbered one. */
  #mayExtend = false
  #pings = 0
  #lastPing = 0

  constructor(
    readonly name: string,
    readonly side: Side,
    readonly transport: Transport,
    readonly fault: Report,
    readonly say: Report,
    random: (size: number) => Buffer
  ) {
    this.#random = random
  }

  /** Begins as a session does. With the dialect off, the first message is a frame. */
  begin(isNative: boolean): void {
    this.transport.listen(this)
    const first = isNative ? Buffer.from(encodeMessage(hello({ software: "simulated" }))) : frame(5, this.#random)
    this.#send(first)
  }

  order(order: Order): void {
    this.orders.push(order)
    this.pump()
  }

  pump(): void {
    while (this.orders.length > 0) {
      if (this.closed !== undefined) return
      if (!this.transport.pollWritable()) {
        this.#blocked = true
        return
      }
      this.#blocked = false
      const order = this.orders.shift()!
      if (order.extends && this.#extend(order.size)) continue
      this.#send(frame(Math.max(order.size, 5), this.#random))
    }
  }

  /** Sends a PING of the dialect, which a loss makes void. */
  ping(): void {
    const payload = new Uint8Array(8)
    new DataView(payload.buffer).setUint32(0, ++this.#pings)
    this.transport.send([encodeMessage({ _tag: "Ping", payload })])
    this.#mayExtend = false
  }

  /** Whether a writer waits although the transport takes messages. */
  get sleeps(): boolean {
    return this.#blocked && this.closed === undefined && this.transport.pollWritable()
  }

  get isSuspended(): boolean {
    return this.transport.resumption?.()?.state === "suspended"
  }

  get keptBytes(): number {
    return this.transport.resumption?.()?.keptBytes ?? 0
  }

  onMessage(message: Uint8Array): void {
    if (this.closed !== undefined) return this.fault(`${this.name} receives a message after its end`)
    const peer = this.peer
    if (peer === undefined) return this.fault(`${this.name} receives a message of another session`)
    if (message[1] === 0xff && message[4] === 0xff && message[5] === 6) {
      const number = new DataView(message.buffer, message.byteOffset + 6).getUint32(0)
      if (number <= this.#lastPing || number > peer.#pings) this.fault(`${this.name} receives PING ${number} again`)
      this.#lastPing = number
      return
    }
    const number = ++this.receivedCount
    const expected = peer.sent.get(number)
    peer.sent.delete(number)
    if (expected === undefined) return this.fault(`${this.name} receives message ${number}, which was not sent`)
    if (number === 1 && isHello(expected)) {
      if (!isHello(message)) this.fault(`${this.name} receives another message for a HELLO`)
    } else if (!expected.equals(message)) {
      this.fault(`${this.name} receives ${message.length} bytes for message ${number} of ${expected.length}`)
    }
  }

  onText(): void {
    this.fault(`${this.name} receives a text`)
  }

  onWritable(): void {
    this.pump()
  }

  onClose(end: CloseInfo): void {
    this.say(`${this.name} ends with ${end.code} ${end.cause instanceof ResumeFailure ? end.cause.reason : ""}`)
    if (this.closed !== undefined) this.fault(`${this.name} ends twice`)
    this.closed = end
  }

  #send(message: Buffer): void {
    this.#mayExtend = true
    this.sent.set(++this.sentCount, message)
    this.largest = Math.max(this.largest, message.length)
    this.transport.send(isHello(message) ? [message] : [message.subarray(0, 5), message.subarray(5)])
  }

  #extend(size: number): boolean {
    const last = this.sent.get(this.sentCount)
    const part = this.#random(size)
    if (!this.#mayExtend || this.sentCount < 2 || this.transport.extend?.([part]) !== true) return false
    if (last === undefined) {
      this.fault(`${this.name} extends message ${this.sentCount}, which the other end has received`)
      return true
    }
    const message = Buffer.concat([last, part])
    this.sent.set(this.sentCount, message)
    this.largest = Math.max(this.largest, message.length)
    return true
  }
}

const isHello = (message: Uint8Array): boolean => message[1] === 0xff && message[4] === 0xff && message[5] === 1

/** A DAT of the given size, whose id is no reserved one. */
const frame = (size: number, random: (size: number) => Buffer): Buffer => {
  const bytes = random(size)
  bytes[0] = 0
  bytes[1]! &= 0x7f
  return bytes
}
