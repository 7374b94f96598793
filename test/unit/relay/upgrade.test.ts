import { describe, expect, it } from "@effect/vitest"
import { exchange } from "effect-wsmux/relay/exchange"
import { joinRaw } from "effect-wsmux/relay/upgrade"
import * as Effect from "effect/Effect"
import { once } from "node:events"
import * as Http from "node:http"
import { Duplex } from "node:stream"
import { patience, within } from "../../support/within.js"

/** A duplex that takes all bytes, and has none. */
const idle = () => new Duplex({ read: () => {}, write: (_chunk, _encoding, done) => done() }).on("error", () => {})

const closed = Effect.promise(async () => {
  const duplex = idle()
  duplex.destroy()
  await once(duplex, "close")
  return duplex
})

describe("a connection that is lost while its stream is opened", () => {
  for (const which of ["client", "stream"] as const) {
    it.live(`joinRaw completes and closes the other side when the ${which} has closed before`, () =>
      Effect.gen(function*() {
        const [gone, other] = [yield* closed, idle()]
        const [client, stream] = which === "client" ? [gone, other] : [other, gone]
        yield* joinRaw(client, stream, { in: 0, out: 0 }).pipe(within(patience, "the end of the join"))
        expect(other.destroyed).toBe(true)
      }))
  }

  it.live("joinRaw completes when both sides have closed before", () =>
    Effect.gen(function*() {
      yield* joinRaw(yield* closed, yield* closed, { in: 0, out: 0 }).pipe(within(patience, "the end of the join"))
    }))

  it.live("exchange resets the stream and completes when its client has gone before", () =>
    Effect.gen(function*() {
      const request = new Http.IncomingMessage(idle() as never)
      const response = new Http.ServerResponse(request)
      response.destroy()
      const stream = idle()
      yield* exchange(
        request,
        response,
        stream,
        { method: "GET", path: "/", headers: ["host", "a"] },
        { answerMillis: 1e6, stallMillis: 1e6 },
        { in: 0, out: 0 }
      ).pipe(within(patience, "the end of the exchange"))
      yield* Effect.promise(async () => {
        if (!stream.closed) await new Promise((resolve) => stream.on("close", resolve))
      })
      expect(stream.errored).toMatchObject({ message: "the client has gone" })
    }))
})
