import type { RttEstimator } from "../time/rtt.js"

/** The owner of a congestion controller. */
export interface CongestionOwner {
  /** Called when a sender is refused, unless one was refused before and waits for `onRoom`. */
  readonly onFull: () => void
  /** Called when a sender that was refused may try again. */
  readonly onRoom: () => void
  /** Called when the peer answers no pings, so that the bytes in flight are unlimited from now on. */
  readonly onBlind: () => void
}

/** A stream that sends. The controller owns the field. */
export interface Sender {
  /** The bytes of all streams that had been sent when this one's last large frame had. */
  largeSent: number
}

/** A ping, the bytes sent before it, and how many of those were known to have arrived, since when. */
interface Probe {
  readonly at: number
  readonly sent: number
  readonly arrived: number
  readonly arrivedAt: number
}

/** A window that shrank, and what had been measured with it. */
interface Shrunk {
  readonly at: number
  readonly window: number
  readonly delay: number
  readonly failures: number
  /** Whether the first of those times ended slow start. */
  readonly endedSlowStart: boolean
}

/**
 * Limits the bytes in flight to the peer by a congestion window. Bytes beyond it wait in the scheduler, where a key
 * stroke can pass a file, and not in the buffers of the network, where nothing can.
 *
 * Pings between the data measure how long the data takes to arrive. Every WebSocket peer answers a ping at once,
 * however slowly its streams are read.
 *
 * - As in CoDel (RFC 8289), a queue that is short now and then is good, and the window grows. A queue that stands for
 *   an `interval` is bad, and the window shrinks. A queue stands while even the fastest answer of a round takes longer
 *   than the minimum RTT by as much again, or by `target` where that is more.
 * - A delay that twice in a row does not follow the window, smaller or larger, is no queue of this session. It counts
 *   as part of the minimum until a lifetime of that ends. A proxy with Nagle's algorithm makes such a delay: it holds
 *   the end of each burst until the bytes before are acknowledged, which TCP delays by 40 ms.
 * - The window doubles per round in slow start, until it shrinks for a queue. Then it grows by a quarter.
 * - While small frames pass large ones, even a good queue delays them. Then the window is twice the bandwidth-delay
 *   product: the rate of the network times its minimum RTT (Little's law). The small rests of large writes do not
 *   count, nor do small frames behind large ones of their own stream: a smaller window cuts more frames, so it would
 *   last by the rests that it leaves.
 * - When a lifetime of the minimum RTT ends while senders are refused, the controller drains half of the queue, so that
 *   the next sample measures the network alone (as BBR's probe-RTT does).
 */
export class CongestionController {
  readonly #rtt: RttEstimator
  readonly #owner: CongestionOwner
  readonly #probes: Array<Probe> = []
  /** The congestion window. Infinite for a peer that answers no pings. */
  #window = initialWindow
  #slowStart = true
  /** Bytes sent; of these, the bytes before the last probe, and the bytes that are known to have arrived. */
  #sent = 0
  #probed = 0
  #arrived = 0
  #arrivedAt: number | undefined
  /** Whether the peer has ever answered a ping. */
  #hasAnswered = false
  /** Since the last answer: how many probes have timed out, and whether the peer has granted credit. */
  #timeouts = 0
  #hasGranted = false
  /** While set, nothing is sent until fewer bytes than this are in flight, so the next sample sees an empty queue. */
  #drainTarget: number | undefined
  /** The fastest answer of this round. A round ends with the answer to a ping that was sent in it. */
  #fastest = Infinity
  #roundEnd = 0
  /** Since when the queue stands. */
  #standingSince = Infinity
  /** The delay of the network that is no queue of this session, in milliseconds, beside the minimum RTT. */
  #held = 0
  /** When the window last shrank: the window and the delay before, and how often the delay had not followed. */
  #shrunk: Shrunk | undefined
  /** The window while small frames pass large ones, and until when they do. */
  #bdpWindow = minBdpWindow
  #interactiveUntil = 0
  /** Bytes sent up to the end of the last large frame. */
  #largeSent = 0
  /** Whether a sender waits for `onRoom`. */
  #blocked = false
  /** Whether the window, and not the senders, limited this round. */
  #windowLimited = false

  /** @param rtt calls this controller's `onRtt` from now on */
  constructor(rtt: RttEstimator, owner: CongestionOwner) {
    this.#rtt = rtt
    this.#owner = owner
    rtt.onSample = (_millis, isRenewed) => this.#onRtt(isRenewed)
  }

  get window(): number {
    return this.#window
  }

  /** Bytes in flight, as far as the peer's answers tell. */
  get inFlight(): number {
    return this.#sent - this.#arrived
  }

  /** The probe on whose answer a refused sender waits. */
  get overdueProbe(): object | undefined {
    return this.#blocked ? this.#probes[0] : undefined
  }

  /**
   * Returns how many of `wanted` bytes may be sent now as one frame. After 0, `onRoom` follows. A small frame may
   * exceed the window, up to twice its size. The bytes are booked by `onSent`, since a probe has to follow the frame
   * that it measures.
   */
  reserve(wanted: number): number {
    const window = this.#effectiveWindow
    const maxFrame = Math.min(Math.max(window / 4, minFrame), window)
    const room = this.inFlight === 0 ? maxFrame : Math.min(maxFrame, this.#free)
    if (wanted > maxFrame) this.#windowLimited = true // the frame is cut
    if (room >= Math.min(wanted, maxFrame / 4)) return Math.floor(Math.min(wanted, room))
    if (wanted <= smallFrame && this.inFlight < 2 * this.#window) return wanted
    this.#refuse()
    return 0
  }

  /**
   * Books a frame that was sent, and probes behind it where that is due.
   *
   * @param isLarge whether the frame is large, or a part of a write that is
   */
  onSent(size: number, sender: Sender, isLarge = size > smallFrame): void {
    this.#sent += size
    if (isLarge) sender.largeSent = this.#largeSent = this.#sent
    else if (this.#isLargeInFlight && sender.largeSent <= this.#arrived) {
      this.#interactiveUntil = this.#rtt.now() + interval
    }
    const window = this.#effectiveWindow
    const least = !this.#isInteractive ? probeBytes : this.#isFar ? minFarProbeBytes : minBdpWindow / 2
    const due = Math.min(Math.max(window / 4, least), window / 2)
    if (this.#sent - this.#probed >= due && this.#probes.length < maxProbes) this.#probe()
  }

  /** The peer has granted credit: bytes arrive, although the peer may answer no pings. */
  onCredit(): void {
    this.#hasGranted = true
  }

  /**
   * The answer to a probe is overdue. Probes again. Lifts the limit for a peer that has never answered, and for a peer
   * that reads without answering: its answer, if awaited, would stop all data.
   */
  onProbeTimeout(): void {
    if (!this.#hasAnswered || (++this.#timeouts >= maxTimeouts && this.#hasGranted)) {
      this.#window = Infinity
      this.#drainTarget = undefined
      this.#probes.splice(0)
      this.#owner.onBlind()
    } else {
      if (this.#probes.length === maxProbes) this.#probes.shift()
      this.#probe()
    }
    this.#release()
  }

  /**
   * Another network carries the session. Begins as a new session does: what was in flight is on its way again, and one
   * probe behind it measures the new network.
   */
  onRenewed(): void {
    this.#rtt.reset()
    this.#probes.splice(0)
    this.#drainTarget = undefined
    this.#standingSince = Infinity
    this.#held = 0
    this.#shrunk = undefined
    this.#bdpWindow = minBdpWindow
    this.#arrivedAt = undefined
    if (this.#window !== Infinity) this.#restart()
  }

  /** False for a peer that has never answered: its bytes would count as in flight without end. */
  get #isLargeInFlight(): boolean {
    return this.#hasAnswered && this.#largeSent > this.#arrived
  }

  get #isInteractive(): boolean {
    return this.#interactiveUntil > 0 && this.#rtt.now() < this.#interactiveUntil // mostly without asking the clock
  }

  get #effectiveWindow(): number {
    return this.#isInteractive ? Math.min(this.#window, this.#bdpWindow) : this.#window
  }

  get #free(): number {
    return (this.#drainTarget ?? this.#effectiveWindow) - this.inFlight
  }

  #refuse(): void {
    this.#windowLimited = true
    if (this.#probes.length === 0) this.#probe()
    if (this.#blocked) return
    this.#blocked = true
    this.#owner.onFull()
  }

  #probe(): void {
    const at = this.#rtt.now()
    const probe: Probe = { at, sent: this.#sent, arrived: this.#arrived, arrivedAt: this.#arrivedAt ?? at }
    this.#probes.push(probe)
    this.#probed = this.#sent
    this.#rtt.probe((millis) => this.#onAck(probe, millis))
  }

  /** A sample of the estimator, by a ping of any origin. */
  #onRtt(isRenewed: boolean): void {
    this.#hasAnswered = true
    this.#timeouts = 0
    this.#hasGranted = false
    if (this.#window === Infinity) this.#restart()
    if (isRenewed) this.#held = 0
    if (isRenewed && this.#blocked) this.#drainTarget = this.#effectiveWindow / 2
  }

  #onAck(probe: Probe, millis: number): void {
    const index = this.#probes.indexOf(probe)
    if (index === -1) return // a later probe was answered before, or the limit was lifted meanwhile
    this.#probes.splice(0, index + 1)
    const now = this.#rtt.now()
    this.#arrived = probe.sent
    this.#arrivedAt = now
    this.#measureBdp(probe.sent - probe.arrived, now - probe.arrivedAt)
    if (this.#drainTarget === undefined) {
      this.#fastest = Math.min(this.#fastest, millis)
      if (probe.sent >= this.#roundEnd) this.#endRound(now)
    } else if (this.#free > 0) {
      this.#drainTarget = undefined
      this.#startRound()
      this.#probe() // before more follows
    }
    this.#release()
    if (this.#blocked && this.#probes.length === 0) this.#probe()
  }

  /** `bytes` arrived in `millis`. A slow answer says little about the network, so a former estimate fades slowly. */
  #measureBdp(bytes: number, millis: number): void {
    const carried = bytes * (millis === 0 ? 1 : Math.min(this.#rtt.minimum / millis, 1))
    this.#bdpWindow = Math.max(2 * carried, 0.8 * this.#bdpWindow, this.#isFar ? minBdpWindow / 2 : minBdpWindow)
  }

  /** Whether the network, and not the scheduling of both processes, makes the RTT. Then the estimate is good. */
  get #isFar(): boolean {
    return this.#rtt.minimum >= scheduling && this.#rtt.minimum < Infinity
  }

  #endRound(now: number): void {
    const { minimum } = this.#rtt
    const good = minimum + Math.max(minimum, target) + this.#held
    if (this.#fastest <= good) {
      this.#standingSince = Infinity
      if (this.#windowLimited && this.#effectiveWindow === this.#window) {
        this.#window = Math.min(this.#window * (this.#slowStart ? 2 : 1.25), maxWindow)
      }
    } else {
      this.#standingSince = Math.min(this.#standingSince, now - this.#fastest)
      if (now - this.#standingSince >= interval) {
        this.#standingSince = now
        this.#shrink(good)
      }
    }
    this.#startRound()
  }

  /** Shrinks the window in the proportion of the delay, unless the delay has not followed the window twice. */
  #shrink(good: number): void {
    const delay = this.#fastest - this.#rtt.minimum - this.#held
    const failures = this.#countFailures(delay, good)
    const endedSlowStart = this.#slowStart || (failures > 0 && this.#shrunk!.endedSlowStart)
    if (failures === maxFailures) {
      this.#held = Math.min(this.#held + delay, maxHeld)
      this.#slowStart = endedSlowStart // it goes on: it has met no limit
      this.#shrunk = undefined
      return
    }
    this.#slowStart = false
    this.#shrunk = this.#limits
      ? { at: this.#rtt.now(), window: this.#window, delay, failures, endedSlowStart }
      : undefined
    this.#window = Math.max(this.#window * Math.max(good / this.#fastest, 0.7), minWindow)
    this.#drainTarget = this.#window
  }

  /**
   * How many times in a row the delay has not followed the window, as a queue of this session does, whether the window
   * had shrunk or grown. A window of about the same size tells nothing.
   */
  #countFailures(delay: number, good: number): number {
    if (this.#shrunk === undefined || !this.#limits || this.#rtt.now() - this.#shrunk.at > recent) return 0
    const { delay: before, failures, window } = this.#shrunk
    const ratio = this.#window / window
    const middle = before * (1 + ratio) / 2
    if (ratio <= 0.9) return delay < middle ? 0 : failures + 1
    // Where the network becomes faster, a queue stays little longer than is good while the window grows.
    if (ratio >= 1.1) return delay > middle || this.#fastest < 3 * good ? 0 : failures + 1
    return failures
  }

  /** Whether this window, and not the writers, their credit or small frames, limits the bytes in flight. */
  get #limits(): boolean {
    return this.#windowLimited && !this.#isInteractive
  }

  /** The peer answers again. Begins as a new session does, and probes for the bytes that have arrived meanwhile. */
  #restart(): void {
    this.#window = initialWindow
    this.#slowStart = true
    this.#startRound()
    this.#probe()
  }

  #startRound(): void {
    this.#fastest = Infinity
    this.#windowLimited = this.#blocked
    this.#roundEnd = this.#sent
  }

  #release(): void {
    if (!this.#blocked || this.#free <= 0) return
    this.#blocked = false
    this.#owner.onRoom()
  }
}

/** The window before the first answer: about as much as TCP begins with. */
const initialWindow = 16 * 1024

/** On a link of 20 KiB/s a key stroke still arrives within half a second. */
const minWindow = 4 * 1024

/** Keeps the arithmetic finite, beyond the product of any network. */
const maxWindow = 2 ** 31

/** On loopback, the scheduling of both processes takes longer than the RTT, and would make the estimate too small. */
const minBdpWindow = 64 * 1024

/** More milliseconds than the scheduling of both processes takes. */
const scheduling = 5

/** Answers to closer probes free the window in smaller steps, so that a small window carries as much. */
const minFarProbeBytes = 4 * 1024

/** Frames are cut smaller than this only where the window is smaller. */
const minFrame = 16 * 1024

/** Frames up to this size may exceed the window. To delay them would save nothing. */
export const smallFrame = 1024

/** A large window is probed once per this many bytes. */
const probeBytes = 256 * 1024

/** How many probes time out before a peer counts as blind that grants credit. */
const maxTimeouts = 2

/** How many times in a row a delay does not follow the window, until it counts as no queue of this session. */
const maxFailures = 2

/** For how many milliseconds a window that shrank tells anything, and the longest delay that counts as held. */
const recent = 1000
const maxHeld = 100

/** How many probes may be unanswered. Transports remember a few pings more. */
const maxProbes = 6

/** The queue that is always good, and for how long a larger queue may stand, in milliseconds (as named in RFC 8289). */
const target = 5
const interval = 100
