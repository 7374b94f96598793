import { describe, expect, it } from "@effect/vitest"
import * as Monitor from "effect-wsmux/cli/status/monitor"
import { Status } from "effect-wsmux/cli/status/status"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Schema from "effect/Schema"
import * as Scope from "effect/Scope"
import * as TestClock from "effect/TestClock"
import { bytes } from "../../../support/bytes.js"
import { makeSessions, settle } from "../../../support/sessions.js"

/** Runs an effect with a monitor. The function returns what the monitor tells, as it arrives in a browser. */
const monitored = <A, E, R>(use: (status: Effect.Effect<Status>) => Effect.Effect<A, E, R>) =>
  Effect.gen(function*() {
    const monitor = (yield* Monitor.Current)!
    const status = Effect.map(monitor.report, ({ status }) =>
      Schema.decodeUnknownSync(Status, { onExcessProperty: "error" })(JSON.parse(JSON.stringify(status))))
    return yield* use(status)
  }).pipe(Monitor.around(true, { command: "connect", address: "ws://host" }))

describe("Monitor", () => {
  it.scoped("Monitor tells sessions and streams, their rates and round trips, and the last end", () =>
    monitored((status) =>
      Effect.gen(function*() {
        const { client, server } = yield* makeSessions({ link: { latency: 10 } })
        const scope = yield* Scope.make()
        yield* Scope.extend(Monitor.session(client, "ada"), scope)
        const opening = yield* Effect.fork(
          Effect.zip(client.open({ label: "tcp" }), server.accept, { concurrent: true })
        )
        yield* TestClock.adjust("100 millis")
        const [near] = yield* opening
        yield* near.write(bytes("x".repeat(500)))
        yield* TestClock.adjust("1 second")
        const { lastEnd, sessions, streams, total } = yield* status
        expect(total).toMatchObject({ sessions: 1, streams: 1, bytesIn: 0, bytesOut: 500, rateIn: 0, rateOut: 500 })
        expect(sessions).toMatchObject([{
          number: 1,
          user: "ada",
          dialect: "native",
          state: "up",
          resumed: null,
          roundTripMillis: 20,
          since: 0,
          worker: null
        }])
        expect(streams).toMatchObject([{ session: 1, id: near.id, label: "tcp", state: "Open", from: null }])
        expect(lastEnd).toBeNull()
        yield* TestClock.adjust("1 second")
        expect((yield* status).total.rateOut).toBe(0)
        yield* Effect.fork(client.close)
        yield* TestClock.adjust("5 seconds")
        yield* Scope.close(scope, Exit.void)
        const ended = yield* status
        expect([ended.total.sessions, ended.lastEnd?.reason]).toEqual([
          0,
          expect.stringContaining("closed by this side")
        ])
      })
    ))

  it.scoped("Monitor lists a forward until the scope of its listener closes", () =>
    monitored((status) =>
      Effect.gen(function*() {
        const forward = { option: "-L", listen: "127.0.0.1:1", target: "db:5432" }
        yield* Effect.scoped(Effect.gen(function*() {
          yield* Monitor.forward(forward)
          expect((yield* status).forwards).toEqual([forward])
        }))
        expect((yield* status).forwards).toEqual([])
      })
    ))

  it.scoped("Monitor adds the reports of workers to its own", () =>
    monitored((status) =>
      Effect.gen(function*() {
        const monitor = (yield* Monitor.Current)!
        const { client } = yield* makeSessions()
        yield* settle
        const other = yield* Effect.gen(function*() {
          yield* Monitor.session(client)
          return yield* (yield* Monitor.Current)!.report
        }).pipe(Monitor.around(true, { command: "serve", address: "", worker: 3 }))
        monitor.others = Effect.succeed([other])
        const { address, sessions, total } = yield* status
        expect([address, total.sessions, sessions.map(({ worker }) => worker)]).toEqual(["ws://host", 1, [3]])
      })
    ))

  it.effect("Monitor is absent where no status page is wanted", () =>
    Effect.gen(function*() {
      yield* Effect.scoped(Monitor.forward({ option: "-L", listen: "", target: "" }))
      yield* Monitor.draining
      expect(yield* Monitor.Current).toBeUndefined()
    }).pipe(Monitor.around(false, { command: "serve", address: "" })))
})
