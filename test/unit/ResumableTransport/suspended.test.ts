import { describe, expect, it } from "@effect/vitest"
import * as ResumableTransport from "effect-wsmux/ResumableTransport"
import * as Session from "effect-wsmux/Session"
import { Transport } from "effect-wsmux/Transport"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Queue from "effect/Queue"
import * as Scope from "effect/Scope"
import * as SubscriptionRef from "effect/SubscriptionRef"
import * as TestClock from "effect/TestClock"
import { bytes, text } from "../../support/bytes.js"
import { expectWaiting, failureOf, quiet, start } from "../../support/observe.js"
import { makeResumable, makeResumableStream, makeServer } from "../../support/resumable.js"
import { auto, readAll, readSome, settle } from "../../support/sessions.js"

const calm = { client: quiet, server: quiet }

/** Both ends of a stream, whose session is suspended without a network. */
const makeSuspended = (options: Parameters<typeof makeResumableStream>[0] = {}) =>
  Effect.tap(makeResumableStream({ ...calm, ...options }), ({ cut, network }) => {
    network.isDown = true
    return cut
  })

/** Lets the client's next attempt find the network. */
const regain = (network: { isDown: boolean }) =>
  Effect.suspend(() => {
    network.isDown = false
    return Effect.zipRight(TestClock.adjust("5 seconds"), settle)
  })

describe("a suspended session", () => {
  it.scoped("Session.close waits for the close time-out, and ends all attempts, when suspended", () =>
    Effect.gen(function*() {
      const { client, far, network, peer, transport } = yield* makeSuspended()
      const closing = yield* start(client.close)
      yield* expectWaiting(closing)
      yield* TestClock.adjust("2 seconds")
      yield* Fiber.join(closing)
      expect(yield* client.awaitClosed).toMatchObject({ _tag: "SessionClosed", by: "local" })
      yield* settle
      expect((yield* SubscriptionRef.get(transport.state))._tag).toBe("Ended")
      const requests = network.requests
      yield* TestClock.adjust("2 minutes")
      expect(network.requests).toBe(requests)
      expect(yield* peer.awaitClosed).toMatchObject({ _tag: "TransportFailure", cause: { reason: "GraceExpired" } })
      expect(yield* failureOf(yield* start(far.read))).toMatchObject({ cause: { _tag: "TransportFailure" } })
    }))

  it.scoped("Session.close delivers the last bytes and its close frame when the network returns in time", () =>
    Effect.gen(function*() {
      const { client, far, links, near, network, peer } = yield* makeResumableStream({
        client: { ...quiet, closeTimeout: "10 seconds", flushTimeout: "10 seconds" },
        server: quiet
      })
      yield* links[0]!.stall("client")
      yield* near.write(bytes("last words"))
      yield* near.end
      network.isDown = true
      yield* links[0]!.cut
      yield* settle
      const closing = yield* start(client.close)
      yield* regain(network)
      yield* Fiber.join(closing)
      expect(text(yield* readAll(far))).toBe("last words")
      expect(yield* peer.awaitClosed).toMatchObject({ _tag: "SessionClosed", by: "peer", code: 1000 })
    }))

  it.scoped("Session.drain tells the peer when the session goes on", () =>
    Effect.gen(function*() {
      const { client, far, near, network, peer } = yield* makeSuspended()
      const draining = yield* start(client.drain({ grace: "1 minute", reason: "update" }))
      expect((yield* failureOf(yield* start(client.open())))._tag).toBe("SessionDraining")
      expect((yield* peer.snapshot).peerDrain).toBeUndefined()
      yield* regain(network)
      expect((yield* peer.snapshot).peerDrain).toMatchObject({ reason: "update" })
      yield* near.write(bytes("served"))
      expect(text(yield* readSome(far))).toBe("served")
      yield* expectWaiting(draining)
      for (const stream of [near, far]) yield* stream.end
      for (const stream of [near, far]) yield* readAll(stream)
      yield* settle
      yield* Fiber.join(draining)
      expect(yield* peer.awaitClosed).toMatchObject({ _tag: "SessionClosed", code: 1001 })
    }))

  it.scoped("Session.drain of an idle session asks again when its GOAWAY was lost with the WebSocket", () =>
    Effect.gen(function*() {
      const { client, cut, links, peer } = yield* makeResumable(calm)
      yield* links[0]!.stall("client")
      const draining = yield* start(client.drain())
      yield* expectWaiting(draining)
      yield* cut
      yield* Fiber.join(draining)
      expect(yield* peer.awaitClosed).toMatchObject({ _tag: "SessionClosed", by: "peer", code: 1001 })
    }))

  it.scoped("Session.drain ends the session when its grace passes while the session is suspended", () =>
    Effect.gen(function*() {
      const { client } = yield* makeSuspended()
      const draining = yield* start(client.drain({ grace: "10 seconds" }))
      yield* TestClock.adjust("9 seconds")
      yield* expectWaiting(draining)
      yield* TestClock.adjust("4 seconds")
      yield* Fiber.join(draining)
      expect((yield* client.snapshot).closed).toBe(true)
    }))

  it.scoped("Session ends with its server's code and dials no more when a drain of the server is over", () =>
    Effect.gen(function*() {
      for (const [isEnded, reason] of [[true, "drained"], [false, "drained: the grace has passed"]] as const) {
        const { client, cut, far, near, network, peer } = yield* makeResumableStream(calm)
        const draining = yield* start(peer.drain({ grace: "10 seconds" }))
        yield* cut // the announcement counts on the next WebSocket, too
        if (isEnded) { for (const stream of [near, far]) yield* Effect.zipRight(stream.end, start(readAll(stream))) }
        yield* TestClock.adjust("10 seconds")
        yield* Fiber.join(draining)
        const { requests } = network
        yield* settle
        expect((yield* client.snapshot).closed).toBe(true)
        expect(yield* client.awaitClosed).toMatchObject({ _tag: "SessionClosed", by: "peer", code: 1001, reason })
        yield* TestClock.adjust("5 seconds")
        expect(network.requests).toBe(requests)
      }
    }))

  it.scoped("ResumableTransport.connect dials no more when its scope closes while it is suspended", () =>
    Effect.gen(function*() {
      const server = yield* makeServer({ server: quiet })
      const scope = yield* Scope.make()
      const transport = yield* Scope.extend(ResumableTransport.connect(server.dial), scope)
      const client = yield* Scope.extend(
        Effect.provideService(Session.makeClient({ ...auto, ...quiet }), Transport, transport),
        scope
      )
      yield* Queue.take(server.accepted)
      yield* settle
      server.network.isDown = true
      yield* server.cut
      expect(yield* server.resuming.suspended).toBe(1)
      const closing = yield* start(Scope.close(scope, Exit.void))
      yield* TestClock.adjust("3 seconds")
      yield* Fiber.join(closing)
      expect((yield* client.snapshot).closed).toBe(true)
      const { requests } = server.network
      yield* TestClock.adjust("1 minute")
      expect(server.network.requests).toBe(requests)
    }))

  it.scoped("ResumableTransport.connect closes the WebSocket of an attempt when its scope closes", () =>
    Effect.gen(function*() {
      const server = yield* makeServer({ server: quiet })
      const scope = yield* Scope.make()
      const transport = yield* Scope.extend(ResumableTransport.connect(server.dial), scope)
      yield* Scope.extend(Effect.provideService(Session.makeClient({ ...auto, ...quiet }), Transport, transport), scope)
      yield* Queue.take(server.accepted)
      yield* settle
      yield* server.links[0]!.cut
      for (let turn = 0; server.links.length < 2 && turn < 200; turn++) yield* Effect.yieldNow()
      yield* server.links[1]!.stall("client") // RESUME is never answered
      const closing = yield* start(Scope.close(scope, Exit.void))
      yield* TestClock.adjust("3 seconds")
      yield* Fiber.join(closing)
      yield* settle
      expect([server.links[1]!.client.pollWritable(), server.links[1]!.server.pollWritable()]).toEqual([false, false])
    }))

  it.scoped("ResumableTransport.connect gives an ended transport when its scope closes during the dial", () =>
    Effect.gen(function*() {
      const server = yield* makeServer({ server: quiet })
      const scope = yield* Scope.make()
      const dial = Effect.delay(server.dial, "1 second")
      const connecting = yield* start(Scope.extend(ResumableTransport.connect(dial), scope))
      yield* Scope.close(scope, Exit.void)
      yield* TestClock.adjust("1 second")
      const transport = yield* Fiber.join(connecting)
      const ends: Array<number> = []
      transport.listen({
        onMessage: () => {},
        onText: () => {},
        onWritable: () => {},
        onClose: ({ code }) => ends.push(code)
      })
      yield* settle
      expect(ends).toEqual([1006])
      expect((yield* SubscriptionRef.get(transport.state))._tag).toBe("Ended")
      expect(server.links.map(({ client }) => client.pollWritable())).toEqual([false])
    }))

  it.scoped("MuxStream.write fails with WriteTimeout when its deadline passes in a suspended session", () =>
    Effect.gen(function*() {
      const { far, near, network } = yield* makeSuspended()
      yield* near.setWriteDeadline(2000)
      const write = yield* start(near.write(new Uint8Array(64)))
      yield* expectWaiting(write)
      yield* TestClock.adjust("2 seconds")
      expect((yield* failureOf(write))._tag).toBe("WriteTimeout")
      yield* near.setWriteDeadline(undefined)
      yield* regain(network)
      yield* near.write(bytes("later"))
      expect(text(yield* readSome(far))).toContain("later")
    }))

  it.scoped("Session.open fails with AcceptTimeout when the session is suspended for longer", () =>
    Effect.gen(function*() {
      const { client, network, peer } = yield* makeSuspended()
      const opening = yield* start(Effect.scoped(client.open()))
      yield* TestClock.adjust("30 seconds")
      expect((yield* failureOf(opening))._tag).toBe("AcceptTimeout")
      yield* regain(network)
      // nothing of the open that was given up is left, and the next one is served
      const [, accepted] = yield* Effect.all([client.open(), peer.accept], { concurrency: 2 })
      expect((yield* peer.snapshot).backlog).toBe(0)
      expect((yield* peer.snapshot).streams.map(({ id }) => id)).toContain(accepted.id)
    }))

  it.scoped("a write that is interrupted while the session is suspended leaves the stream in order", () =>
    Effect.gen(function*() {
      const { far, near, network } = yield* makeSuspended()
      const write = yield* start(near.write(bytes("gone")))
      yield* expectWaiting(write)
      yield* Fiber.interrupt(write)
      yield* regain(network)
      yield* near.write(bytes("kept"))
      yield* near.end
      expect(text(yield* readAll(far))).toMatch(/^(gone)?kept$/)
    }))

  it.scoped("streams fail with the first loss when the session is given up", () =>
    Effect.gen(function*() {
      const { client, far, near, peer } = yield* makeSuspended()
      const lost = { _tag: "TransportFailure", code: 1006, cause: { reason: "GraceExpired", loss: { code: 1006 } } }
      const broken = { _tag: "BrokenPipe", cause: lost }
      const operations: ReadonlyArray<readonly [Effect.Effect<unknown, unknown, Scope.Scope>, object]> = [
        [near.read, broken],
        [near.write(bytes("x")), broken],
        [far.read, broken],
        [client.accept, lost],
        [peer.accept, lost]
      ]
      const fibers = yield* Effect.forEach(operations, ([operation]) => start(operation))
      yield* TestClock.adjust("2 minutes")
      yield* settle
      const failures = yield* Effect.forEach(fibers, failureOf)
      expect(failures).toMatchObject(operations.map(([, failure]) => failure))
    }))

  it.scoped("a suspended session resumes again and again when each WebSocket is lost at once", () =>
    Effect.gen(function*() {
      const { client, cut, far, near } = yield* makeResumableStream(calm)
      for (let n = 0; n < 50; n++) {
        yield* near.write(bytes(`${n},`))
        yield* cut
      }
      yield* near.end
      expect(text(yield* readAll(far))).toBe(Array.from({ length: 50 }, (_, n) => `${n},`).join(""))
      expect((yield* client.snapshot).resumption).toMatchObject({ state: "connected", resumed: 50 })
    }))
})
