import { describe, expect, it } from "@effect/vitest"
import * as SharedLimits from "effect-wsmux/SharedLimits"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Queue from "effect/Queue"
import * as TestClock from "effect/TestClock"
import { expectWaiting, quiet, start } from "../../support/observe.js"
import { encodeMessage } from "../../support/records.js"
import { makeResumable, makeResumableStream, makeServer, type Options } from "../../support/resumable.js"
import { readAll, settle } from "../../support/sessions.js"
import { makeStranger, resumableHello } from "../../support/stranger.js"

/** Clients of one server that the test plays, and their sessions. */
const makeHolders = (
  count: number,
  options: Options = {},
  userOf: (n: number) => string | undefined = () => undefined
) =>
  Effect.gen(function*() {
    const server = yield* makeServer({ tells: false, ...options, server: { ...quiet, ...options.server } })
    const holders = yield* Effect.forEach(Array.from({ length: count }, (_, n) => n), (n) =>
      Effect.gen(function*() {
        server.network.user = userOf(n)
        const stranger = yield* makeStranger(server)
        yield* stranger.send(resumableHello)
        const link = server.links[server.links.length - 1]!
        const session = yield* Queue.take(server.accepted)
        return { stranger, session, offer: stranger.offer(), user: userOf(n), cut: Effect.zipRight(link.cut, settle) }
      }))
    return { ...server, server, holders }
  })

type Holders = Effect.Effect.Success<ReturnType<typeof makeHolders>>["holders"]

/** Sessions whose clients were lost before they said that they can resume. */
const makeUnheard = (server: Effect.Effect.Success<ReturnType<typeof makeServer>>, count: number) =>
  Effect.replicateEffect(
    Effect.gen(function*() {
      yield* makeStranger(server)
      yield* server.cut
      return { session: yield* Queue.take(server.accepted) }
    }),
    count
  )

/** Opens a stream to a client that reads without acknowledging, and writes. */
const fill = ({ session, stranger }: Holders[number], size: number, id = 0) =>
  Effect.gen(function*() {
    const opening = yield* start(session.open())
    yield* stranger.send({ _tag: "Ack", id, credit: 1 << 20 })
    const stream = yield* Fiber.join(opening)
    return yield* start(stream.write(new Uint8Array(size)))
  })

const keptBy = ({ session }: Holders[number]) => Effect.map(session.snapshot, ({ resumption }) => resumption!.keptBytes)

const givenUp = (detail: string) => ({
  _tag: "TransportFailure",
  cause: { reason: "Limit", detail, loss: { code: 1006 } }
})

const closedOf = (
  holders: ReadonlyArray<{ readonly session: { readonly snapshot: Effect.Effect<{ closed: boolean }> } }>
) => Effect.forEach(holders, ({ session }) => Effect.map(session.snapshot, ({ closed }) => closed))

describe("ResumeServer", () => {
  it.scoped("ResumeServer gives up the session that was suspended first when maxSuspended is exceeded", () =>
    Effect.gen(function*() {
      const { holders, resuming } = yield* makeHolders(4, { resume: { maxSuspended: 2 } })
      const order = [2, 0, 3].map((n) => holders[n]!)
      for (const { cut } of order) yield* cut
      expect(yield* order[0]!.session.awaitClosed).toMatchObject(givenUp("2 sessions are suspended"))
      expect(yield* closedOf(holders)).toEqual([false, false, true, false])
      expect(yield* resuming.suspended).toBe(2)
    }))

  it.scoped("ResumeServer gives up the first of a principal when maxSuspendedPerPrincipal is exceeded", () =>
    Effect.gen(function*() {
      const users = ["Ann", "Bob", "Bob", undefined, "Bob", undefined, undefined]
      const { holders, resuming } = yield* makeHolders(
        users.length,
        { resume: { maxSuspendedPerPrincipal: 2 } },
        (n) => users[n]
      )
      for (const { cut } of holders) yield* cut
      expect(yield* closedOf(holders)).toEqual([false, true, false, false, false, false, false])
      expect(yield* holders[1]!.session.awaitClosed).toMatchObject(
        givenUp("2 sessions of one principal are suspended")
      )
      expect(yield* resuming.suspended).toBe(6)
    }))

  it.scoped("ResumeServer gives up those that were never heard first when maxSuspended is exceeded", () =>
    Effect.gen(function*() {
      const { holders, resuming, server } = yield* makeHolders(3, { resume: { maxSuspended: 3 } })
      yield* holders[0]!.cut
      const unheard = yield* makeUnheard(server, 3)
      expect(yield* unheard[0]!.session.awaitClosed).toMatchObject(givenUp("3 sessions are suspended"))
      for (const { cut } of holders.slice(1)) yield* cut
      expect(yield* closedOf([...unheard, ...holders])).toEqual([true, true, true, false, false, false])
      yield* makeUnheard(server, 1)
      expect(yield* closedOf(holders)).toEqual([false, false, false])
      expect(yield* resuming.suspended).toBe(3)
    }))

  it.scoped("ResumeServer gives up those of a principal that were never heard first", () =>
    Effect.gen(function*() {
      const { holders, server } = yield* makeHolders(2, { resume: { maxSuspendedPerPrincipal: 2 } }, () => "Ann")
      yield* holders[0]!.cut
      const unheard = yield* makeUnheard(server, 1)
      yield* holders[1]!.cut
      expect(yield* closedOf([...holders, ...unheard])).toEqual([false, false, true])
    }))

  it.scoped("ResumeServer gives up those that were never heard first when maxKeptBytesInAll is exceeded", () =>
    Effect.gen(function*() {
      const big = { ...quiet, streamBufferSize: 1 << 20 }
      const { holders, server } = yield* makeHolders(2, { server: big, resume: { maxKeptBytesInAll: 100_000 } })
      yield* fill(holders[0]!, 60_000)
      yield* holders[0]!.cut
      const unheard = yield* makeUnheard(server, 1)
      const { keptBytes } = (yield* unheard[0]!.session.snapshot).resumption!
      const left = 100_000 - (yield* keptBy(holders[0]!)) - (yield* keptBy(holders[1]!))
      yield* fill(holders[1]!, left - keptBytes / 2)
      expect(yield* closedOf([...holders, ...unheard])).toEqual([false, false, true])
    }))

  it.scoped("ResumeServer suspends no session when maxSuspended is 0", () =>
    Effect.gen(function*() {
      const { holders, resuming } = yield* makeHolders(1, { resume: { maxSuspended: 0 } })
      yield* holders[0]!.cut
      expect(yield* resuming.suspended).toBe(0)
      expect(yield* holders[0]!.session.awaitClosed).toMatchObject(givenUp("0 sessions are suspended"))
    }))

  it.scoped("ResumeServer takes the principals that samePrincipal calls the same", () =>
    Effect.gen(function*() {
      const { holders, network, server } = yield* makeHolders(
        1,
        { resume: { samePrincipal: (a, b) => a?.toLowerCase() === b?.toLowerCase() } },
        () => "Ann"
      )
      const [held] = holders
      for (const [user, tag] of [["Bob", "Rejected"], [undefined, "Rejected"], ["ANN", "Resumed"]] as const) {
        network.user = user
        const next = yield* makeStranger(server)
        yield* next.resume({ ...held!.offer, firstKept: 2 })
        expect(next.answers()).toMatchObject([{ _tag: tag }])
      }
      expect(held!.session.principal).toBe("Ann")
    }))

  it.scoped("ResumableTransport ends with OtherPrincipal when the server authorises another one", () =>
    Effect.gen(function*() {
      const { client, cut, network, peer } = yield* makeResumable({ client: quiet, server: quiet })
      network.user = "Mallory"
      yield* cut
      const lost = { code: 1006 }
      expect(yield* client.awaitClosed).toMatchObject({ cause: { reason: "OtherPrincipal", loss: lost } })
      expect((yield* peer.snapshot).resumption).toMatchObject({ state: "suspended" })
      yield* TestClock.adjust("2 minutes")
      expect(yield* peer.awaitClosed).toMatchObject({ cause: { reason: "GraceExpired", loss: lost } })
    }))

  it.scoped("writes wait when maxKeptBytes are unacknowledged, and go on when the peer has handled them", () =>
    Effect.gen(function*() {
      const maxKeptBytes = 10_000
      const big = { ...quiet, streamBufferSize: 1 << 20 }
      const { far, near, network, cut, peer } = yield* makeResumableStream({
        client: big,
        server: big,
        resume: { maxKeptBytes }
      })
      network.isDown = true
      yield* cut
      const write = yield* start(far.write(new Uint8Array(500_000)))
      yield* expectWaiting(write)
      network.isDown = false
      yield* TestClock.adjust("5 seconds")
      yield* settle
      const { keptBytes } = (yield* peer.snapshot).resumption!
      expect(keptBytes).toBeGreaterThanOrEqual(maxKeptBytes)
      expect(keptBytes).toBeLessThan(maxKeptBytes + 70_000) // one message beyond the limit
      yield* expectWaiting(write)
      const reader = yield* start(readAll(near))
      const ending = yield* start(Effect.zipRight(Fiber.join(write), far.end))
      for (let second = 0; second < 60 && ending.unsafePoll() === null; second++) yield* TestClock.adjust("1 second")
      expect((yield* Fiber.join(reader)).length).toBe(500_000)
      yield* TestClock.adjust("1 second")
      yield* settle
      expect((yield* peer.snapshot).resumption?.keptBytes).toBe(0)
    }))

  it.scoped("ResumeServer gives up suspended sessions when live ones need maxKeptBytesInAll", () =>
    Effect.gen(function*() {
      const big = { ...quiet, streamBufferSize: 1 << 20 }
      const { holders, resuming } = yield* makeHolders(3, { server: big, resume: { maxKeptBytesInAll: 200_000 } })
      for (const n of [1, 0]) {
        yield* fill(holders[n]!, 60_000)
        yield* holders[n]!.cut
        expect(yield* keptBy(holders[n]!)).toBeGreaterThan(60_000)
      }
      const write = yield* fill(holders[2]!, 100_000)
      expect(yield* holders[1]!.session.awaitClosed).toMatchObject(givenUp("200000 bytes of all sessions are kept"))
      expect(yield* closedOf(holders)).toEqual([false, true, false])
      yield* Fiber.join(write)
      yield* fill(holders[2]!, 500_000, 2)
      expect(yield* closedOf(holders)).toEqual([true, true, false])
      expect(yield* resuming.suspended).toBe(0)
      expect(yield* keptBy(holders[2]!)).toBeLessThan(200_000 + 70_000) // one message beyond the limit
    }))

  it.scoped("ResumeServer leaves each session its part when others fill maxKeptBytesInAll", () =>
    Effect.gen(function*() {
      const big = { ...quiet, streamBufferSize: 1 << 20 }
      const { holders } = yield* makeHolders(4, { server: big, resume: { maxKeptBytesInAll: 1_600_000 } })
      for (const greedy of holders.slice(0, 3)) yield* fill(greedy, 1_000_000)
      yield* settle
      const write = yield* fill(holders[3]!, 199_000)
      yield* Fiber.join(write)
      yield* expectWaiting(yield* fill(holders[3]!, 199_000, 2))
      const kept = yield* Effect.forEach(holders, keptBy)
      expect(kept[3]).toBeLessThan(200_000 + 70_000) // one message beyond its part
      expect(kept.reduce((sum, bytes) => sum + bytes)).toBeLessThan(1.5 * 1_600_000)
    }))

  it.scoped("ResumeServer keeps 100 of 1,000 sessions that strangers leave", () =>
    Effect.gen(function*() {
      const { accepted, dial, links, resuming } = yield* makeHolders(0, { resume: { maxSuspended: 100 } })
      const hello = encodeMessage(resumableHello)
      const listener = { onMessage: () => {}, onText: () => {}, onWritable: () => {}, onClose: () => {} }
      for (let n = 0; n < 1000; n++) {
        const transport = yield* dial
        transport.listen(listener)
        transport.send([hello])
        for (let turn = 0; turn < 12; turn++) yield* Effect.yieldNow()
        yield* links[n]!.cut
      }
      yield* settle
      expect(yield* resuming.suspended).toBe(100)
      const sessions = Array.from(yield* Queue.takeAll(accepted))
      const open = (yield* closedOf(sessions.map((session) => ({ session })))).filter((closed) => !closed)
      expect([sessions.length, open.length]).toEqual([1000, 100])
    }).pipe(Effect.provide(SharedLimits.layer({ maxConnections: 5000 }))))

  it.scoped("ResumeServer gives each place to a new session when suspended ones fill maxConnections", () =>
    Effect.gen(function*() {
      const { resuming, server } = yield* makeHolders(0)
      const listener = { onMessage: () => {}, onText: () => {}, onWritable: () => {}, onClose: () => {} }
      for (let n = 0; n < 40; n++) {
        const transport = yield* server.dial
        transport.listen(listener)
        transport.send([encodeMessage(resumableHello)])
        yield* settle
        yield* server.links[n]!.cut
      }
      yield* settle
      // a memory transport takes no connection, so the session that was suspended last is beyond the limit
      expect(yield* resuming.suspended).toBe(11)
    }).pipe(Effect.provide(SharedLimits.layer({ maxConnections: 10 }))))

  it.scoped("ResumeServer gives a new session the place of one that was never heard first", () =>
    Effect.gen(function*() {
      const { holders, server } = yield* makeHolders(1)
      yield* holders[0]!.cut
      const unheard = yield* makeUnheard(server, 2)
      yield* makeStranger(server)
      // a memory transport takes no connection, so one session of the three is beyond the limit
      expect(yield* closedOf([...holders, ...unheard])).toEqual([false, true, false])
    }).pipe(Effect.provide(SharedLimits.layer({ maxConnections: 2 }))))
})
