import { it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import type { Connect } from "./links.js"
import { expectNoFaults, openMany, serveMany } from "./traffic.js"

export const small = 1024
export const large = 65536

const services = ["echo", "sink", "source"] as const

/** The opener's window is known, or has no part in it. */
export const windowsDiffer = (connect: Connect, peer: string, size: number): void => {
  for (const service of services) {
    for (const [ours, theirs] of [[small, large], [large, small]] as const) {
      it.scopedLive(`session carries ${service} when it opens with a window of ${ours} and ${peer} has ${theirs}`, () =>
        Effect.gen(function*() {
          const { session } = yield* connect({ streamBufferSize: ours }, { buffer: theirs, serve: service })
          yield* openMany(session, service, 3, size)
          yield* expectNoFaults(session)
        }))
    }

    it.scopedLive(`session carries ${service} when ${peer} opens with a window of ${large} and it has ${small}`, () =>
      Effect.gen(function*() {
        const link = yield* connect({ streamBufferSize: small }, {
          buffer: large,
          open: service,
          streams: 3,
          bytes: size
        })
        yield* serveMany(link, service, 3, size)
        yield* expectNoFaults(link.session)
      }))
  }
}

/** The peer opens with a smaller window than that of the session. A Go peer needs `initialSendCredit` for that. */
export const smallOpeners = (connect: Connect, peer: string, size: number, initialSendCredit?: number): void => {
  const how = initialSendCredit === undefined ? "" : ` and initialSendCredit is ${initialSendCredit}`
  for (const service of services) {
    it.scopedLive(`session carries ${service} when ${peer} opens with ${small}, it has ${large}${how}`, () =>
      Effect.gen(function*() {
        const options = { streamBufferSize: large, initialSendCredit }
        const link = yield* connect(options, { buffer: small, open: service, streams: 3, bytes: size })
        yield* serveMany(link, service, 3, size)
        yield* expectNoFaults(link.session)
      }))
  }
}
