import { expect, it } from "@effect/vitest"
import * as NodeTransport from "effect-wsmux/NodeTransport"
import * as Session from "effect-wsmux/Session"
import { Transport } from "effect-wsmux/Transport"
import * as Effect from "effect/Effect"
import * as Net from "node:net"
import { expectWaiting, start } from "../../support/observe.js"
import { tcpServer } from "../../support/transports.js"
import { describeGo, start as startGo } from "./goPeer.js"
import { dialGo, listenForGo } from "./links.js"
import { expectNoFaults, services } from "./traffic.js"

/** Opens this many streams at once, and answers with the outcome of each. */
const openAll = (session: Session.Session, count: number) =>
  Effect.forEach(
    Array.from({ length: count }),
    () => Effect.scoped(Effect.match(session.open(), { onSuccess: () => "Opened", onFailure: ({ _tag }) => _tag })),
    { concurrency: "unbounded" }
  )

for (const [who, connect] of [["we dialled", dialGo], ["Go dialled", listenForGo]] as const) {
  describeGo(`opens and refusals, where ${who}`, () => {
    it.scopedLive("a session hears only of silence when its opens overflow the backlog of Go", () =>
      Effect.gen(function*() {
        const options = { maxUnacknowledgedOpens: 500, keepAliveInterval: "400 millis" } as const
        const { session } = yield* connect(options, { serve: "none" })
        expect(new Set(yield* openAll(session, 400))).toEqual(new Set(["KeepAliveExpired"]))
      }))

    it.scopedLive("a session lives when Go accepts none of 400 opens, as few are unanswered at once", () =>
      Effect.gen(function*() {
        // in these three intervals Go answers pings, so Go still reads
        const options = { streamAcceptDeadline: "3 seconds", keepAliveInterval: "1 second" } as const
        const { session } = yield* connect(options, { serve: "none" })
        expect(new Set(yield* openAll(session, 400))).toEqual(new Set(["AcceptTimeout"]))
        expect((yield* session.snapshot).unacknowledgedOpens).toBe(100)
        yield* expectNoFaults(session)
      }))

    it.scopedLive("a session opens 400 streams at once when Go accepts", () =>
      Effect.gen(function*() {
        const { session } = yield* connect({}, { serve: "echo" })
        expect(new Set(yield* openAll(session, 400))).toEqual(new Set(["Opened"]))
        yield* expectNoFaults(session)
      }))

    it.scopedLive("an open of Go waits for its whole deadline when the session refused it", () =>
      Effect.gen(function*() {
        const flags = { open: "echo", streams: 3, "accept-deadline": "700ms" } as const
        const { go, session } = yield* connect({ acceptBacklog: 1 }, flags)
        const { errors, seconds } = yield* go.next("result")
        expect(errors.filter((error) => error.endsWith("open: accept timed out")).length).toBe(3)
        expect(seconds).toBeGreaterThanOrEqual(0.7)
        expect((yield* session.snapshot).counters.refused).toBe(2)
      }))

    it.scopedLive("a session hands an open of Go out no more when Go has given it up", () =>
      Effect.gen(function*() {
        const flags = { open: "echo", "accept-deadline": "500ms" } as const
        const { go, session } = yield* connect({ backlogTimeout: "100 millis" }, flags)
        expect(yield* go.next("result")).toMatchObject({ errors: ["stream 0: open: accept timed out"] })
        yield* expectWaiting(yield* start(session.accept))
        expect((yield* session.snapshot).streams).toEqual([])
      }))
  }, { sequential: true })
}

describeGo("opens of Go", () => {
  it.scopedLive("a session accepts 400 opens of Go when they come in one turn", () =>
    Effect.gen(function*() {
      const count = 400
      const go = yield* startGo({ listen: "127.0.0.1:0", open: "echo", streams: count, opening: count, bytes: 100 })
      const { address } = yield* go.next("listening")
      // a SYN takes 7 bytes, and the ping before them 2
      const url = yield* gather(address, 2 + 7 * count)
      const transport = yield* NodeTransport.connect(url)
      const session = yield* Effect.provideService(Session.makeClient(), Transport, transport)
      yield* Effect.forkScoped(session.run(services.echo))
      expect(yield* go.next("result")).toMatchObject({ ok: true, errors: [] })
      expect((yield* session.snapshot).counters).toMatchObject({ accepted: count, refused: 0 })
    }))
})

/** A relay that holds the bytes of Go behind the upgrade until there are this many, and then passes them on at once. */
const gather = (address: string, bytes: number) =>
  Effect.map(
    tcpServer((near) => {
      const far = Net.connect(Number(new URL(`ws://${address}`).port), "127.0.0.1").on("error", () => near.destroy())
      near.pipe(far)
      let [held, upgraded] = [Buffer.alloc(0), false]
      const hold = (data: Buffer) => {
        held = Buffer.concat([held, data])
        const end = upgraded ? 0 : held.indexOf("\r\n\r\n") + 4
        if (end >= 4) {
          near.write(held.subarray(0, end))
          held = held.subarray(end)
          upgraded = true
        }
        if (!upgraded || held.byteLength < bytes) return
        far.off("data", hold)
        near.write(held)
        far.pipe(near)
      }
      far.on("data", hold)
    }),
    ({ port }) => `ws://127.0.0.1:${port}`
  )
