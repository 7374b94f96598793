import type { CloseInfo, Listener, Transport } from "../../Transport.js"

/** The user of a carrier: the handshake of a resume first, then the resumable transport. */
export type CarrierUser = Listener

/**
 * One of the transports that carry a resumable transport after each other. Hands its events to its present user, and
 * to none once dropped: an old WebSocket may speak up late.
 */
export class Carrier implements Listener {
  readonly transport: Transport
  readonly #release: () => void
  #user: CarrierUser | undefined
  #end: CloseInfo | undefined

  /** @param release ends the connection; called once, when the carrier is dropped */
  constructor(transport: Transport, release: () => void) {
    this.transport = transport
    this.#release = release
  }

  /** How the connection ended. Undefined while it lasts. */
  get end(): CloseInfo | undefined {
    return this.#end
  }

  /** Sets the user, and begins to listen at the first one. The former user gets no further event. */
  handTo(user: CarrierUser): void {
    const isFirst = this.#user === undefined
    this.#user = user
    if (isFirst) this.transport.listen(this)
  }

  /** Pings. The answer is unheard once the carrier is dropped: its time tells nothing about the next network. */
  ping(answered: (() => void) | undefined): void {
    this.transport.ping?.(() => {
      if (this.#user !== unheard) answered?.()
    })
  }

  /** Ends the connection. Later events are unheard. */
  drop(): void {
    if (this.#user === unheard) return
    this.#user = unheard
    this.#release()
  }

  onMessage(message: Uint8Array): void {
    this.#user!.onMessage(message)
  }

  onText(): void {
    this.#user!.onText()
  }

  onWritable(): void {
    this.#user!.onWritable()
  }

  onClose(end: CloseInfo): void {
    this.#end = end
    this.#user!.onClose(end)
  }
}

const unheard: CarrierUser = { onMessage: () => {}, onText: () => {}, onWritable: () => {}, onClose: () => {} }
