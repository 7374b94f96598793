import { describe, expect, it } from "@effect/vitest"
import { ConnectFailure, type ResumeFailure, type TerminalError } from "effect-wsmux/WsmuxError"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Schedule from "effect/Schedule"
import * as SubscriptionRef from "effect/SubscriptionRef"
import * as TestClock from "effect/TestClock"
import { addResume } from "../../../src/internal/wire/record.js"
import * as Record from "../../../src/internal/wire/resumeRecord.js"
import { bytes } from "../../support/bytes.js"
import { quiet, start } from "../../support/observe.js"
import {
  makeOffered,
  makePlayedServer,
  offer,
  offering,
  type Options,
  unreachable
} from "../../support/playedServer.js"
import { encodeMessage, hello } from "../../support/records.js"
import { ack, dat, syn } from "../../support/scriptedPeer.js"
import { settle } from "../../support/sessions.js"

const calm: Options = { client: quiet }

const token = (byte: number) => new Uint8Array(Record.tokenSize).fill(byte)

const resumed = (more: Partial<Record.Resumed> = {}) =>
  Record.encodeResumed({ received: 1, firstKept: 2, token: token(3), ...more })

const failureIn = (end: TerminalError) => (end as { readonly cause?: unknown }).cause as ResumeFailure | undefined

describe("ResumableTransport", () => {
  it.scoped("ResumableTransport tells its counts, the next attempt and the newest token when it resumes", () =>
    Effect.gen(function*() {
      const { client, cut, lastLink, links } = yield* makeOffered(calm)
      const opening = yield* start(Effect.scoped(client.open()))
      yield* links[0]!.send(ack(1, 1024))
      yield* Fiber.join(opening)
      yield* cut
      const { sessionId, token: first } = offer
      expect(lastLink().resume()).toMatchObject({ sessionId, token: first, attempt: 1, received: 2, firstKept: 1 })
      yield* lastLink().send(resumed({ received: 3, firstKept: 3 }))
      yield* cut
      expect(lastLink().resume()).toMatchObject({ sessionId, token: token(3), attempt: 2, received: 2, firstKept: 4 })
    }))

  it.scoped("ResumableTransport repeats what the server has not received, and no more", () =>
    Effect.gen(function*() {
      const { client, cut, lastLink } = yield* makeOffered(calm)
      yield* start(client.open())
      yield* start(client.open())
      yield* cut
      yield* lastLink().send(resumed({ received: 2 }))
      expect(lastLink().messages()).toMatchObject([{ id: 3 }])
    }))

  it.scoped("ResumableTransport hears nothing that the server sends before its answer", () =>
    Effect.gen(function*() {
      const { client, cut, lastLink, transport } = yield* makeOffered(calm)
      yield* cut
      yield* lastLink().send(
        offering(),
        syn(2),
        Record.encodeReceived(9),
        Record.encodeResume({ ...offer, attempt: 1, received: 1, firstKept: 1 })
      )
      expect((yield* SubscriptionRef.get(transport.state))._tag).toBe("Suspended")
      yield* lastLink().send(resumed(), syn(4))
      expect((yield* client.snapshot).streams.map(({ id }) => id)).toEqual([4])
    }))

  it.scoped("ResumableTransport hears no late answer of an attempt that has timed out", () =>
    Effect.gen(function*() {
      const schedule = Schedule.spaced("1 second")
      const { client, cut, links, network } = yield* makeOffered({ ...calm, transport: { schedule } })
      yield* cut
      yield* TestClock.adjust("11 seconds")
      yield* settle
      const [, old, newer] = links
      expect([network.requests, old!.resume().attempt, newer!.resume().attempt]).toEqual([3, 1, 2])
      expect(old!.end()).toMatchObject({ code: 1006 })
      yield* old!.send(resumed({ token: token(7) }), syn(2))
      yield* newer!.send(resumed({ token: token(8) }), syn(4))
      yield* old!.send(syn(6))
      const { resumption, streams } = yield* client.snapshot
      expect(streams.map(({ id }) => id)).toEqual([4])
      expect(resumption).toMatchObject({ state: "connected", resumed: 1 })
    }))

  const lies: Readonly<Record<string, ReadonlyArray<Uint8Array>>> = {
    "beyond what was sent": [Record.encodeReceived(2)],
    "far beyond what was sent": [Record.encodeReceived(Number.MAX_SAFE_INTEGER)],
    "backwards": [Record.encodeReceived(1), Record.encodeReceived(0)],
    "without a count": [Record.encodeReceived(1).subarray(0, 8)]
  }
  for (const [name, messages] of Object.entries(lies)) {
    it.scoped(`ResumableTransport ends with LostBytes when the server acknowledges ${name}`, () =>
      Effect.gen(function*() {
        const { client, lastLink, network } = yield* makeOffered(calm)
        yield* lastLink().send(...messages)
        expect(yield* client.awaitClosed).toMatchObject({ _tag: "TransportFailure", cause: { reason: "LostBytes" } })
        yield* TestClock.adjust("1 minute")
        expect(network.requests).toBe(1)
      }))
  }

  for (const counts of [{ received: 2 }, { received: 0 }, { firstKept: 3 }, { firstKept: 2 ** 40 }]) {
    it.scoped(`ResumableTransport ends with LostBytes when RESUMED tells ${JSON.stringify(counts)}`, () =>
      Effect.gen(function*() {
        const { client, cut, lastLink, network } = yield* makeOffered(calm)
        yield* lastLink().send(Record.encodeReceived(1))
        yield* cut
        yield* lastLink().send(resumed(counts))
        expect(yield* client.awaitClosed).toMatchObject({
          _tag: "TransportFailure",
          cause: { reason: "LostBytes", loss: { code: 1006 } }
        })
        expect([network.requests, lastLink().end()?.code]).toEqual([2, 1006])
      }))
  }

  const codes = [[1, "Unknown"], [2, "OtherPrincipal"], [3, "LostBytes"], [4, "Superseded"], [77, "Unknown"]] as const
  for (const [code, reason] of codes) {
    it.scoped(`ResumableTransport ends with ${reason} when the server rejects with code ${code}`, () =>
      Effect.gen(function*() {
        const { client, cut, lastLink, network } = yield* makeOffered(calm)
        yield* cut
        yield* lastLink().send(Record.encodeRejected(code, "some\nreason\u001b[31m"))
        const end = yield* client.awaitClosed
        expect(failureIn(end)).toMatchObject({ reason, detail: "some\nreason\u001b[31m", loss: { code: 1006 } })
        // a log line of the peer's text neither breaks nor controls the terminal
        expect(end.message).toMatch(/^[^\n\u001b]*: some reason\ufffd\[31m\)$/)
        expect(network.requests).toBe(2)
      }))
  }

  it.scoped("ResumableTransport dials again when the reason of a rejection has more than 128 bytes", () =>
    Effect.gen(function*() {
      const { cut, lastLink, network, transport } = yield* makeOffered(calm)
      yield* cut
      const long = Buffer.concat([Record.encodeRejected(1, ""), Buffer.alloc(129, "r")])
      yield* lastLink().send(long)
      expect((yield* SubscriptionRef.get(transport.state))._tag).toBe("Suspended")
      yield* TestClock.adjust("11 seconds")
      yield* settle
      expect(network.requests).toBe(3)
    }))

  const ordinary: Readonly<Record<string, Uint8Array>> = {
    "the feature without an offer": addResume(encodeMessage(hello({ features: 15 })), undefined),
    "no feature of resume": encodeMessage(hello({ features: 15 })),
    "an offer without the feature": (() => {
      const message = Uint8Array.from(offering())
      message[10] = 15
      return message
    })(),
    "no HELLO": encodeMessage(syn(2))
  }
  for (const [name, first] of Object.entries(ordinary)) {
    it.scoped(`ResumableTransport has an ordinary session when the server begins with ${name}`, () =>
      Effect.gen(function*() {
        const { client, cut, lastLink, network } = yield* makePlayedServer(calm)
        yield* lastLink().send(first)
        expect((yield* client.snapshot).resumption).toBeUndefined()
        yield* cut
        const end = yield* client.awaitClosed
        expect([end._tag, failureIn(end)]).toEqual(["TransportFailure", undefined])
        yield* TestClock.adjust("1 minute")
        expect(network.requests).toBe(1)
      }))
  }

  for (const size of [0, 55, 57, 200]) {
    it.scoped(`Session ends with MalformedFrame when a HELLO offers to resume by ${size} bytes`, () =>
      Effect.gen(function*() {
        const { client, lastLink, network } = yield* makePlayedServer(calm)
        const first = encodeMessage(hello({ features: 31 }))
        yield* lastLink().send(Buffer.concat([first, Uint8Array.of(6, size, 0), new Uint8Array(size)]))
        expect(yield* client.awaitClosed).toMatchObject({ _tag: "MalformedFrame", fault: "InvalidRecord" })
        yield* TestClock.adjust("1 minute")
        expect(network.requests).toBe(1)
      }))
  }

  it.scoped("ResumableTransport gives up when the grace of the server's offer has passed", () =>
    Effect.gen(function*() {
      for (const graceMillis of [0, 3000]) {
        const { client, cut, network } = yield* makeOffered(calm, { graceMillis })
        network.failure = unreachable
        yield* cut
        yield* TestClock.adjust(Math.max(graceMillis - 1, 0))
        if (graceMillis > 0) expect((yield* client.snapshot).closed).toBe(false)
        yield* TestClock.adjust(1)
        expect(yield* client.awaitClosed).toMatchObject({ cause: { reason: "GraceExpired", cause: unreachable } })
      }
    }))

  it.scoped("ResumableTransport gives up after its own grace when the server offers 49 days", () =>
    Effect.gen(function*() {
      const transport = { grace: "5 seconds" } as const
      const { client, cut, network } = yield* makeOffered({ ...calm, transport }, { graceMillis: 0xffff_ffff })
      network.failure = unreachable
      yield* cut
      yield* TestClock.adjust("5 seconds")
      expect(yield* client.awaitClosed).toMatchObject({ cause: { reason: "GraceExpired", cause: unreachable } })
    }))

  it.scoped("ResumableTransport ends with AttemptsEnded when its schedule ends or a dial is hopeless", () =>
    Effect.gen(function*() {
      const forbidden = new ConnectFailure({ url: "memory:played", reason: "Rejected", status: 403 })
      const schedule = Schedule.intersect(Schedule.spaced("1 second"), Schedule.recurs(2))
      for (const [failure, requests] of [[unreachable, 4], [forbidden, 2]] as const) {
        const { client, cut, network } = yield* makeOffered({ ...calm, transport: { schedule } })
        network.failure = failure
        yield* cut
        yield* TestClock.adjust("10 seconds")
        expect(yield* client.awaitClosed).toMatchObject({ cause: { reason: "AttemptsEnded", cause: failure } })
        expect(network.requests).toBe(requests)
      }
    }))

  it.scoped("ResumableTransport dials again when a proxy or a server that goes has closed the WebSocket", () =>
    Effect.gen(function*() {
      for (const code of [1001, 1005, 1011, 1012, 1013, 1014, 4006]) {
        const { lastLink, links, network, transport } = yield* makeOffered(calm)
        yield* links[0]!.pair.close(code, "gone")
        yield* settle
        expect([code, network.requests]).toEqual([code, 2])
        yield* lastLink().send(resumed())
        expect(yield* SubscriptionRef.get(transport.state)).toEqual({ _tag: "Connected", resumed: 1 })
      }
    }))

  it.scoped("ResumableTransport ends with the peer's code when the peer has closed the session", () =>
    Effect.gen(function*() {
      for (const code of [1000, 1002, 1008, 1009, 4401]) {
        const { client, links, network } = yield* makeOffered(calm)
        yield* links[0]!.pair.close(code, "done")
        expect(yield* client.awaitClosed).toMatchObject({ _tag: "SessionClosed", by: "peer", code })
        expect(network.requests).toBe(1)
      }
    }))

  it.scoped("ResumableTransport loses a connection beside its answer without a byte lost", () =>
    Effect.gen(function*() {
      const { client, cut, lastLink } = yield* makeOffered(calm)
      const opening = yield* start(client.open())
      yield* lastLink().send(ack(1, 1024))
      const stream = yield* Fiber.join(opening)
      yield* cut
      yield* stream.write(bytes("late")).pipe(start)
      // the answer and the loss come together
      const { pair } = lastLink()
      pair.server.send([resumed({ received: 2 })])
      yield* Effect.yieldNow()
      yield* cut
      const { received } = lastLink().resume()
      expect(received).toBe(2)
      yield* lastLink().send(resumed({ received: 2, firstKept: 3 }))
      expect(lastLink().messages()).toEqual([dat(1, bytes("late"))])
    }))
})
