import * as MemoryTransport from "effect-wsmux/MemoryTransport"
import type { Listener, Transport } from "effect-wsmux/Transport"
import * as Effect from "effect/Effect"
import * as Queue from "effect/Queue"
import { withParts } from "./withParts.js"

/** The bytes that an end holds before it stops being writable, as the send buffer of a socket. */
const sendBuffer = 64 * 1024

/** Two transports over a link that carries `rate` bytes per second each way, and takes `latency` milliseconds. */
export const makeSlowLink = ({ latency, rate }: { readonly latency: number; readonly rate: number }) =>
  Effect.gen(function*() {
    const unlimited = { capacity: Infinity, maxMessageSize: Infinity }
    const pair = yield* MemoryTransport.makePair({ ...unlimited, latency })

    const slowDown = (transport: Transport) =>
      Effect.gen(function*() {
        const { ping } = transport
        const packets = yield* Queue.unbounded<readonly [size: number, depart: () => void]>()
        let queued = 0
        let isBlocked = false
        let listener: Listener | undefined
        const carry = Effect.flatMap(Queue.take(packets), ([size, depart]) =>
          Effect.map(Effect.sleep(size / rate * 1000), () => {
            queued -= size
            depart()
            if (!isBlocked || queued >= sendBuffer) {
              return
            }
            isBlocked = false
            listener?.onWritable()
          }))
        yield* Effect.forkScoped(Effect.forever(carry))
        const post = (size: number, depart: () => void) => {
          queued += size
          Queue.unsafeOffer(packets, [size, depart])
        }
        return withParts(transport, {
          listen: (given) =>
            transport.listen(listener = given),
          send: (parts) => {
            const message = Buffer.concat(parts)
            post(message.byteLength, () =>
              transport.send([message]))
          },
          ping: ping && ((answered) => post(8, () => ping(answered))), // behind the data, as in a socket
          pollWritable: () => {
            isBlocked = queued >= sendBuffer
            return !isBlocked
          }
        })
      })

    return { client: yield* slowDown(pair.client), server: yield* slowDown(pair.server) }
  })
