import type { Settings } from "effect-wsmux/SessionConfig"
import type { CloseInfo, Listener, Transport } from "effect-wsmux/Transport"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Queue from "effect/Queue"
import type { Wire } from "../../support/numberedEnds.js"
import { other, type Side } from "../../support/numberedEnds.js"
import type { Random } from "../../support/random.js"
import { decodeMessage, type Message } from "../../support/records.js"
import { withParts } from "../../support/withParts.js"
import type { MakePair, Pair } from "./resumable.js"

/** The properties of a link. Times are in milliseconds. */
export interface Weather {
  readonly latency: number
  readonly capacity: number
  readonly ping: boolean
  /** How long arrived messages may wait to be delivered together. With 0 each comes alone. */
  readonly jitter: number
  /** Whether waiting messages are lost with the connection. */
  readonly loses: boolean
}

/** A capacity: seldom one small message, or far more than all windows. */
export const drawWeather = (random: Random): Weather => ({
  latency: random.pick([0, 0, 1, 5, 20, 80]),
  capacity: random.pick([1, 1, random.int(2, 64), random.int(64, 4096), 64 * 1024]),
  ping: random.chance(0.8),
  jitter: random.pick([0, 0, 3, 30]),
  loses: random.chance(0.5)
})

/** Two transports joined by a bad link, and the faults of the link. */
export interface Link {
  readonly transports: Record<Side, Transport>
  readonly pair: Pair
  readonly wire: Wire
  readonly settings: Record<Side, Settings>
  /** Whether the link has stalled, after which an end may take its peer for dead. */
  stalled: boolean
  /** Whether an end waits for room in its transport. */
  readonly isBlocked: (side: Side) => boolean
  /** Whether a ping of this end is on its way, until whose answer data may wait. */
  readonly isMeasuring: (side: Side) => boolean
  /** Whether all sent messages have arrived or are lost. */
  readonly isSilent: () => boolean
}

export const makeLink = (
  makePair: MakePair,
  weather: Weather,
  settings: Record<Side, Settings>,
  wire: Wire,
  random: Random,
  log: (from: Side, message: Uint8Array) => void
) =>
  Effect.gen(function*() {
    const { jitter, latency, loses } = weather
    const pair = yield* makePair({ capacity: weather.capacity, latency, ping: weather.ping })
    const blocked = { client: false, server: false }
    const travelling = { client: 0, server: 0 }
    const pings = { client: 0, server: 0 }
    /** The pings by records: what was sent last, and the answer that came last. */
    const inBand = { client: { sent: "", answered: "" }, server: { sent: "", answered: "" } }

    const makeEnd = (side: Side) =>
      Effect.gen(function*() {
        const arrivals = yield* Queue.sliding<void>(1)
        const held: Array<Uint8Array> = []
        let receiver: Listener | undefined
        let mayWrite = false
        let ended = false
        const deliver = (count: number) => {
          for (const message of held.splice(0, count)) {
            const record = decodeMessage(message)
            if (!isPing(record)) travelling[other(side)]--
            if (record._tag === "Pong") inBand[side].answered = record.payload.join()
            receiver?.onMessage(message)
          }
        }
        const holdBack = Effect.gen(function*() {
          yield* Queue.take(arrivals)
          while (held.length > 0) {
            yield* Effect.sleep(Duration.millis(random.int(0, jitter)))
            deliver(random.chance(0.5) ? held.length : random.int(1, 3))
          }
        })
        if (jitter > 0) yield* Effect.forkScoped(Effect.forever(holdBack))
        const onClose = (end: CloseInfo) => {
          ended = true
          blocked[side] = false
          if (loses && end.code === 1006) held.length = 0
          deliver(held.length)
          travelling.client = travelling.server = 0
          receiver?.onClose(end)
        }
        const onMessage = (message: Uint8Array) => {
          held.push(message)
          if (jitter === 0) deliver(1)
          else Queue.unsafeOffer(arrivals, undefined)
        }
        const { ping } = pair[side]
        return withParts(pair[side], {
          ping: ping && ((answered) => {
            pings[side]++
            ping(() => {
              pings[side]--
              answered?.()
            })
          }),
          send: (parts) => {
            const message = Buffer.concat(parts)
            wire.expect(mayWrite || ended, `${side} sent more than the transport takes`)
            mayWrite = false
            const record = decodeMessage(message)
            if (!isPing(record)) travelling[side]++
            if (record._tag === "Ping") inBand[side].sent = record.payload.join()
            log(side, message)
            pair[side].send([message])
          },
          pollWritable: () => {
            mayWrite = pair[side].pollWritable()
            blocked[side] = !mayWrite && !ended
            return mayWrite
          },
          listen: (listener) => {
            receiver = listener
            pair[side].listen({
              onMessage,
              onText: () => listener.onText(),
              onWritable: () => {
                blocked[side] = false
                listener.onWritable()
              },
              onRenewed: () => {
                pings[side] = 0
                inBand[side].answered = inBand[side].sent
                listener.onRenewed?.()
              },
              onClose
            })
          }
        })
      })

    const [client, server] = [yield* makeEnd("client"), yield* makeEnd("server")]
    return {
      transports: { client: wire.watch("client", client), server: wire.watch("server", server) },
      pair,
      wire,
      settings,
      stalled: false,
      isBlocked: (side) => blocked[side],
      isMeasuring: (side) => pings[side] > 0 || inBand[side].sent !== inBand[side].answered,
      isSilent: () => travelling.client === 0 && travelling.server === 0
    } as Link
  })

/** Whether a loss makes the message void. Pings and their answers change no credit. */
const isPing = ({ _tag }: Message): boolean => _tag === "Ping" || _tag === "Pong"
