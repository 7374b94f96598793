/** What the flight of a session works with. */
export interface Path {
  /** Asks the peer, behind all that was sent, and calls back when it has answered. */
  readonly ping: (answered: () => void) => void
  /** The time in milliseconds, from whatever start. */
  readonly now: () => number
  /** Told when somebody is turned away for the first time. */
  readonly onFull: () => void
  /** Told when there is room again. */
  readonly onRoom: () => void
  /** Told when the peer answers no pings, so that the bytes in flight are no longer limited. */
  readonly onBlind: () => void
}

/** A ping, what had been sent before it, and how much of that was known to have arrived, since when. */
interface Probe {
  readonly at: number
  readonly sent: number
  readonly arrived: number
  readonly arrivedAt: number
}

/**
 * Limits the bytes that are on their way to the peer, so that they do not pile up in the buffers of the network, where no
 * scheduler reaches them and a key stroke would wait behind a file. Whatever waits, waits here, where it can be passed.
 *
 * Pings between the data tell how long it takes to arrive; every WebSocket peer answers them at once, however slowly its
 * streams are read. As in CoDel (RFC 8289), a queue that is short now and then is a good one, and more may be on its way;
 * one that stands is cut down. It stands when even the quickest answer of a round takes longer than a lone ping does, by
 * as much again, or by `allowance` where that is more.
 *
 * While small frames pass, even a queue that is good for the others is in their way. Then no more is on its way than twice
 * what the network carries by itself, which is its rate times its least round trip (Little's law).
 */
export class CongestionController {
  readonly #flying: Path
  readonly #probes: Array<Probe> = []
  #limit = initialLimit
  #starting = true
  #sent = 0
  #probed = 0
  #arrived = 0
  #arrivedAt: number | undefined
  #answers = 0
  /** Since the last answer: how often one was overdue, and whether the peer has returned credit. */
  #overdues = 0
  #hasReturned = false
  /** The least round trips of this period and of the one before, in milliseconds. */
  #least = Infinity
  #leastBefore = Infinity
  #periodEnds = 0
  /** Nothing follows until less than this is on its way, so that the next round trip knows nothing of an old queue. */
  #landing: number | undefined
  /** The quickest answer of this round, which ends with the answer to a ping that was sent in it. */
  #quickest = Infinity
  #roundEnds = 0
  #standsSince = Infinity
  /** The limit while small frames pass large ones, until when they do, and what had been sent with the last large one. */
  #brisk = leastBrisk
  #briskUntil = 0
  #large = 0
  /** Whether somebody was turned away who has not been told of room since; and whether anybody was in this round. */
  #full = false
  #wasFull = false

  constructor(flying: Path) {
    this.#flying = flying
  }

  get window(): number {
    return this.#limit
  }

  /** Bytes that are on their way, as far as the peer's answers tell. */
  get inFlight(): number {
    return this.#sent - this.#arrived
  }

  /** The ping on whose answer somebody waits. */
  get overdueProbe(): object | undefined {
    return this.#full ? this.#probes[0] : undefined
  }

  /**
   * How many of so many bytes may leave now as one frame; if none, `onRoom` follows. A small frame may pass a full flight,
   * within reason.
   */
  reserve(wanted: number): number {
    const limit = this.#inForce
    const most = Math.min(Math.max(limit / 4, grain), limit)
    const room = this.inFlight === 0 ? most : Math.min(most, this.#free)
    if (wanted > most) this.#wasFull = true // a frame is cut: that is a limit, too
    if (room >= Math.min(wanted, most / 4)) return Math.floor(Math.min(wanted, room))
    if (wanted <= smallFrame && this.inFlight < 2 * this.#limit) return wanted
    this.#wasFull = true
    if (this.#probes.length === 0) this.#probe()
    if (!this.#full) {
      this.#full = true
      this.#flying.onFull()
    }
    return 0
  }

  /** Books a frame that has left. */
  onSent(size: number): void {
    this.#sent += size
    if (size > smallFrame) this.#large = this.#sent
    else if (this.#isLargeOnItsWay) this.#briskUntil = this.#flying.now() + patience
    const limit = this.#inForce
    const due = Math.min(Math.max(limit / 4, this.#isBrisk ? leastBrisk / 2 : worthAPing), limit / 2)
    if (this.#sent - this.#probed >= due && this.#probes.length < maxProbes) this.#probe()
  }

  /** A round trip, measured by whatever ping. */
  onRtt(millis: number): void {
    this.#answers++
    this.#overdues = 0
    this.#hasReturned = false
    if (this.#limit === Infinity) this.#restart()
    const now = this.#flying.now()
    if (now < this.#periodEnds) {
      this.#least = Math.min(this.#least, millis)
    } else {
      if (this.#full) this.#landing = this.#inForce / 2
      this.#periodEnds = now + period
      this.#leastBefore = this.#least
      this.#least = millis
    }
  }

  /** The peer has returned credit, which proves that bytes arrive, although the peer may answer no pings. */
  onCredit(): void {
    this.#hasReturned = true
  }

  /**
   * An answer is overdue: asks again. Lifts the limit for a peer that has never answered, and for one that has stopped
   * answering although it reads: to wait for its answer would stop all data.
   */
  onProbeTimeout(): void {
    if (this.#answers === 0 || (++this.#overdues >= maxOverdues && this.#hasReturned)) {
      this.#limit = Infinity
      this.#landing = undefined
      this.#probes.splice(0)
      this.#flying.onBlind()
    } else {
      if (this.#probes.length === maxProbes) this.#probes.shift()
      this.#probe()
    }
    this.#release()
  }

  /** A peer that never answers does not tell what has arrived: everything large would be on its way for ever. */
  get #isLargeOnItsWay(): boolean {
    return this.#answers > 0 && this.#large > this.#arrived
  }

  get #isBrisk(): boolean {
    return this.#briskUntil > 0 && this.#flying.now() < this.#briskUntil // mostly without asking the clock
  }

  get #inForce(): number {
    return this.#isBrisk ? Math.min(this.#limit, this.#brisk) : this.#limit
  }

  get #free(): number {
    return (this.#landing ?? this.#inForce) - this.inFlight
  }

  #probe(): void {
    const at = this.#flying.now()
    const probe: Probe = { at, sent: this.#sent, arrived: this.#arrived, arrivedAt: this.#arrivedAt ?? at }
    this.#probes.push(probe)
    this.#probed = this.#sent
    this.#flying.ping(() => this.#answered(probe))
  }

  #answered(probe: Probe): void {
    const index = this.#probes.indexOf(probe)
    if (index === -1) return // a later one was answered before
    this.#probes.splice(0, index + 1)
    const now = this.#flying.now()
    const trip = now - probe.at
    this.#arrived = probe.sent
    this.#arrivedAt = now
    this.onRtt(trip)
    this.#measure(probe.sent - probe.arrived, now - probe.arrivedAt)
    if (this.#landing === undefined) {
      this.#quickest = Math.min(this.#quickest, trip)
      if (probe.sent >= this.#roundEnds) this.#endRound(now)
    } else if (this.#free > 0) {
      this.#landing = undefined
      this.#startRound()
      this.#probe() // before more follows
    }
    this.#release()
    if (this.#full && this.#probes.length === 0) this.#probe()
  }

  /** So many bytes arrived in so long; one that took its time says little, so what was known before is given up slowly. */
  #measure(bytes: number, millis: number): void {
    const carried = bytes * (millis === 0 ? 1 : Math.min(this.#leastTrip / millis, 1))
    this.#brisk = Math.max(2 * carried, 0.8 * this.#brisk, leastBrisk)
  }

  get #leastTrip(): number {
    return Math.min(this.#least, this.#leastBefore)
  }

  #endRound(now: number): void {
    const least = this.#leastTrip
    const good = least + Math.max(least, allowance)
    if (this.#quickest <= good) {
      this.#standsSince = Infinity
      if (this.#wasFull && this.#inForce === this.#limit) {
        this.#limit = Math.min(this.#limit * (this.#starting ? 2 : 1.25), maxLimit)
      }
    } else {
      this.#standsSince = Math.min(this.#standsSince, now - this.#quickest)
      if (now - this.#standsSince >= patience) {
        this.#standsSince = now
        this.#starting = false
        this.#limit = Math.max(this.#limit * Math.max(good / this.#quickest, 0.7), leastLimit)
        this.#landing = this.#limit
      }
    }
    this.#startRound()
  }

  /** The peer answers again: begins as for a new session, and asks what has arrived meanwhile. */
  #restart(): void {
    this.#limit = initialLimit
    this.#starting = true
    this.#startRound()
    this.#probe()
  }

  #startRound(): void {
    this.#quickest = Infinity
    this.#wasFull = this.#full
    this.#roundEnds = this.#sent
  }

  #release(): void {
    if (!this.#full || this.#free <= 0) return
    this.#full = false
    this.#flying.onRoom()
  }
}

/** What may be on its way before the first answer: about as much as TCP itself begins with. */
const initialLimit = 16 * 1024

/** On a link of 20 KiB/s a key stroke still gets through within half a second. */
const leastLimit = 4 * 1024

/** What a few steps of both processes take is more than the round trip of a loopback. */
const leastBrisk = 64 * 1024

/** Smaller frames than this are only for links that are too slow for it. */
const grain = 16 * 1024

/** Beyond any network; keeps the arithmetic finite. */
const maxLimit = 2 ** 31

/** To hold such a frame back costs its sender more than anybody would gain. */
export const smallFrame = 1024

/** So many bytes are worth a ping. */
const worthAPing = 256 * 1024

/** How many times an answer may be overdue before returned credit is taken for an answer. */
const maxOverdues = 2

/** How many pings may be unanswered at once; transports remember a few more. */
const maxProbes = 6

/** For how long a least round trip is believed, in milliseconds, and for how long again. */
const period = 10_000

/** The queue that is always good, and for how long a larger one may stand, in milliseconds (RFC 8289: target, interval). */
const allowance = 5
const patience = 100
