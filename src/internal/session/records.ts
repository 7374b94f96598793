import { MalformedFrame, WrongParity } from "../../WsmuxError.js"
import * as Record from "../wire/record.js"
import * as StreamState from "../wire/streamState.js"
import type { Draining } from "./draining.js"
import type { Host } from "./host.js"
import type { InBandPings } from "./inBandPings.js"
import type { OwnStreams } from "./ownStreams.js"
import type { PeerStreams } from "./peerStreams.js"

/** Handles the records of a peer that speaks the dialect. */
export class Records {
  readonly #host: Host
  readonly #own: OwnStreams
  readonly #peers: PeerStreams
  readonly #pings: InBandPings
  readonly #draining: Draining

  constructor(host: Host, own: OwnStreams, peers: PeerStreams, pings: InBandPings, draining: Draining) {
    this.#host = host
    this.#own = own
    this.#peers = peers
    this.#pings = pings
    this.#draining = draining
  }

  /** Receives the payload of a DAT on the reserved id. */
  recv(payload: Uint8Array): void {
    const record = Record.decodeRecord(payload)
    switch (record._tag) {
      case "Malformed":
        return this.#host.terminate(new MalformedFrame({ fault: record.fault, detail: record.detail }))
      case "Open":
        if (this.#own.isOurs(record.id) || record.id === Record.reservedId) {
          return this.#host.terminate(new WrongParity({ streamId: record.id, role: this.#host.role }))
        }
        return this.#peers.recvOpen(record.id, record)
      case "Reset":
        return this.#recvReset(record)
      case "Stop": {
        const stream = this.#host.streams.get(record.id)
        return stream === undefined ? this.#ignore("STOP", record.id) : stream.recvStop(record.code)
      }
      case "Ping":
        return this.#host.answer(Record.encodePong(record.payload))
      case "Pong":
        return this.#pings.onPong(record.payload) ? undefined : this.#ignore("PONG", Record.reservedId)
      case "GoAway":
        return this.#draining.recv(record) ? undefined : this.#ignore("GOAWAY", Record.reservedId)
      case "Hello":
      case "Unknown":
        return this.#ignore(record._tag, Record.reservedId)
    }
  }

  #recvReset(record: Record.Reset): void {
    const stream = this.#host.streams.get(record.id)
    const before = stream?.state
    const isAnswer = stream?.recvHalf.isDiscarding // a RESET that answers our STOP ends a stream that was served
    if (stream === undefined || before === undefined || !stream.recvReset(record)) {
      return this.#ignore("RESET", record.id)
    }
    if (StreamState.isOpening(before)) return this.#own.refused(stream, record)
    if (!this.#own.isOurs(record.id) && !isAnswer) this.#peers.countReset()
    // The opener cancelled the stream, and forgets its id at our answer. A refused stream has been sent one already.
    if (StreamState.isAwaitingAccept(before) && this.#peers.cancelled(stream)) {
      this.#host.answer(Record.encodeReset(record.id, record.code, ""))
    }
  }

  #ignore(kind: string, id: number): void {
    this.#host.counters.ignoredFrames++
    this.#host.log.fault("Debug", "ignored a record: it is invalid in this state", { kind, streamId: id })
  }
}
