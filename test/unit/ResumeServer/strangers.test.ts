import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Queue from "effect/Queue"
import * as TestClock from "effect/TestClock"
import * as Record from "../../../src/internal/wire/resumeRecord.js"
import { quiet } from "../../support/observe.js"
import { makeServer, type Options } from "../../support/resumable.js"
import { syn } from "../../support/scriptedPeer.js"
import { settle } from "../../support/sessions.js"
import { makeStranger, resumableHello } from "../../support/stranger.js"

/** A server with one session, whose client the test plays, and the offer that the client has got. */
const makeHeld = (options: Options = {}) =>
  Effect.gen(function*() {
    const server = yield* makeServer({ ...options, server: { ...quiet, ...options.server } })
    const holder = yield* makeStranger(server)
    yield* holder.send(resumableHello)
    const session = yield* Queue.take(server.accepted)
    const resumption = Effect.map(session.snapshot, (snapshot) => snapshot.resumption)
    return { ...server, server, holder, session, resumption, offer: holder.offer() }
  })

const noOffer = { sessionId: new Uint8Array(Record.sessionIdSize), token: new Uint8Array(Record.tokenSize) }

const rejectedWith = (code: keyof typeof Record.RejectCode) => [
  { _tag: "Rejected", code: Record.RejectCode[code], reason: "" }
]

describe("ResumeServer", () => {
  it.scoped("ResumeServer.accept rejects a guess when the token or the id is wrong", () =>
    Effect.gen(function*() {
      const { offer, resumption, server } = yield* makeHeld()
      const flip = (bytes: Uint8Array, at: number) => bytes.map((byte, index) => index === at ? byte ^ 1 : byte)
      const guesses = [
        {},
        ...[0, 31].map((at) => ({ ...offer, token: flip(offer.token, at) })),
        ...[0, 15].map((at) => ({ ...offer, sessionId: flip(offer.sessionId, at) }))
      ]
      for (const guess of guesses) {
        const stranger = yield* makeStranger(server)
        yield* stranger.resume(guess)
        expect(stranger.answers()).toEqual(rejectedWith("unknown"))
        expect(stranger.end()).toMatchObject({ code: 1000 })
      }
      expect(yield* resumption).toMatchObject({ state: "connected", resumed: 0 })
    }))

  it.scoped("ResumeServer.accept rejects a token that was replaced when the client has spoken since", () =>
    Effect.gen(function*() {
      const { offer, resumption, server } = yield* makeHeld()
      const second = yield* makeStranger(server)
      yield* second.resume({ ...offer, firstKept: 2 })
      const [resumed] = second.answers()
      expect(resumed).toMatchObject({ _tag: "Resumed", received: 1 })
      yield* second.send(syn(1))
      const thief = yield* makeStranger(server)
      yield* thief.resume({ ...offer, attempt: 9, firstKept: 2 })
      expect(thief.answers()).toEqual(rejectedWith("unknown"))
      expect(yield* resumption).toMatchObject({ state: "connected", resumed: 1 })
    }))

  it.scoped("ResumeServer.accept takes both tokens when the client may not have got the new one", () =>
    Effect.gen(function*() {
      const { offer, resumption, server } = yield* makeHeld()
      const second = yield* makeStranger(server)
      yield* second.resume({ ...offer, firstKept: 2 })
      const third = yield* makeStranger(server)
      yield* third.resume({ ...offer, attempt: 2, firstKept: 2 })
      const [resumed] = third.answers()
      const { token } = resumed as Record.Resumed
      const fourth = yield* makeStranger(server)
      yield* fourth.resume({ ...offer, token, attempt: 3, firstKept: 2 })
      expect(fourth.answers()).toMatchObject([{ _tag: "Resumed" }])
      expect(second.end()).toMatchObject({ code: 1006 })
      expect(third.end()).toMatchObject({ code: 1006 })
      expect(yield* resumption).toMatchObject({ state: "connected", resumed: 3 })
    }))

  it.scoped("ResumeServer.accept hears the newest client only when a token is used twice at once", () =>
    Effect.gen(function*() {
      const { offer, server, session } = yield* makeHeld()
      const first = yield* makeStranger(server)
      const second = yield* makeStranger(server)
      first.transport.send([Record.encodeResume({ ...offer, attempt: 1, received: 1, firstKept: 2 })])
      second.transport.send([Record.encodeResume({ ...offer, attempt: 2, received: 1, firstKept: 2 })])
      yield* settle
      yield* first.send(syn(3))
      yield* second.send(syn(1))
      expect(first.end()).toMatchObject({ code: 1006 })
      expect((yield* session.snapshot).streams.map(({ id }) => id)).toEqual([1])
    }))

  it.scoped("ResumeServer.accept rejects an attempt and keeps the session when a later one has come", () =>
    Effect.gen(function*() {
      const { offer, resumption, server } = yield* makeHeld()
      const newer = yield* makeStranger(server)
      yield* newer.resume({ ...offer, attempt: 7, firstKept: 2 })
      for (const attempt of [0, 6, 7]) {
        const older = yield* makeStranger(server)
        yield* older.resume({ ...offer, attempt, firstKept: 2 })
        expect(older.answers()).toEqual(rejectedWith("attempt"))
      }
      expect(yield* resumption).toMatchObject({ state: "connected", resumed: 1 })
      expect(newer.end()).toBeUndefined()
    }))

  it.scoped("ResumeServer.accept rejects another principal and keeps the session", () =>
    Effect.gen(function*() {
      const { network, offer, resumption, server } = yield* makeHeld()
      network.user = "Mallory"
      const thief = yield* makeStranger(server)
      yield* thief.resume({ ...offer, firstKept: 2 })
      expect(thief.answers()).toEqual(rejectedWith("principal"))
      expect(yield* resumption).toMatchObject({ state: "connected", resumed: 0 })
    }))

  it.scoped("ResumeServer.accept ends the session with LostBytes when the counts of a resume are wrong", () =>
    Effect.gen(function*() {
      const wrong = [{ received: 2 }, { received: 0xffff_ffff_ff }, { firstKept: 3 }, { received: 0, acknowledged: 1 }]
      for (const { acknowledged, ...counts } of wrong) {
        const { holder, offer, server, session } = yield* makeHeld()
        if (acknowledged !== undefined) yield* holder.send(Record.encodeReceived(acknowledged))
        const liar = yield* makeStranger(server)
        yield* liar.resume({ ...offer, firstKept: 2, ...counts })
        expect(liar.answers(), JSON.stringify(counts)).toEqual(rejectedWith("counts"))
        expect(yield* session.awaitClosed).toMatchObject({ _tag: "TransportFailure", cause: { reason: "LostBytes" } })
      }
    }))

  it.scoped("ResumeServer.accept ends the session when an acknowledgement is wrong or malformed", () =>
    Effect.gen(function*() {
      const received = (count: number) => Record.encodeReceived(count)
      for (const lies of [[received(2)], [received(1), received(0)], [received(0).subarray(0, 9)]]) {
        const { holder, session } = yield* makeHeld()
        yield* holder.send(...lies)
        expect(yield* session.awaitClosed).toMatchObject({ _tag: "TransportFailure", cause: { reason: "LostBytes" } })
      }
    }))

  it.scoped("ResumeServer.accept ignores the records of a handshake when they come later", () =>
    Effect.gen(function*() {
      const { holder, offer, resumption } = yield* makeHeld()
      yield* holder.resume({ ...offer, firstKept: 2 })
      yield* holder.send(
        Record.encodeResumed({ received: 1, firstKept: 1, token: new Uint8Array(32) }),
        Record.encodeRejected(1, "")
      )
      expect(yield* resumption).toMatchObject({ state: "connected", resumed: 0 })
      expect(holder.answers()).toEqual([])
    }))

  it.scoped("ResumeServer.accept rejects the token of a session whose client turned out to be plain", () =>
    Effect.gen(function*() {
      const server = yield* makeServer({ server: quiet })
      for (const first of [syn(1), { _tag: "Hello", features: 15 } as const]) {
        const plain = yield* makeStranger(server)
        yield* plain.send(first)
        const stranger = yield* makeStranger(server)
        yield* stranger.resume(plain.offer())
        expect(stranger.answers()).toEqual(rejectedWith("unknown"))
        expect(plain.end()).toBeUndefined()
      }
    }))

  for (const tells of [true, false]) {
    it.scoped(`ResumeServer.accept hears nothing more of a rejected ${tells ? "client" : "page"}`, () =>
      Effect.gen(function*() {
        const { accepted, server } = yield* makeHeld({ tells })
        const stranger = yield* makeStranger(server)
        const guess = Record.encodeResume({ ...noOffer, attempt: 1, received: 1, firstKept: 1 })
        yield* stranger.send(guess, guess, resumableHello, syn(1))
        expect(stranger.answers()).toEqual(rejectedWith("unknown"))
        expect(stranger.end()).toMatchObject({ code: 1000 })
        const begun = Array.from(yield* Queue.takeAll(accepted))
        expect(begun.length).toBe(tells ? 0 : 1) // a page does not tell before its first message
        for (const session of begun) {
          expect(yield* session.awaitClosed).toMatchObject({ _tag: "SessionClosed" })
        }
      }))
  }

  it.scoped("ResumeServer.accept drops the old connection when the client resumes before it was heard", () =>
    Effect.gen(function*() {
      const server = yield* makeServer({ server: quiet })
      const old = yield* makeStranger(server)
      const session = yield* Queue.take(server.accepted)
      const next = yield* makeStranger(server)
      yield* next.resume(old.offer())
      yield* old.send(resumableHello, syn(3))
      expect(old.end()).toMatchObject({ code: 1006 })
      yield* next.send(resumableHello, syn(1))
      expect((yield* session.snapshot).streams.map(({ id }) => id)).toEqual([1])
    }))

  it.scoped("ResumeServer.accept keeps a session when its client is lost before it was heard", () =>
    Effect.gen(function*() {
      const server = yield* makeServer({ server: quiet })
      const old = yield* makeStranger(server)
      const session = yield* Queue.take(server.accepted)
      yield* server.cut
      yield* TestClock.adjust("9 seconds")
      const next = yield* makeStranger(server)
      yield* next.resume(old.offer())
      yield* next.send(resumableHello, syn(1))
      expect((yield* session.snapshot).streams.map(({ id }) => id)).toEqual([1])
    }))

  it.scoped("ResumeServer.accept gives a session up after 10 s when its lost client was never heard", () =>
    Effect.gen(function*() {
      const server = yield* makeServer({ server: quiet })
      yield* makeStranger(server)
      const session = yield* Queue.take(server.accepted)
      yield* server.cut
      expect(yield* server.resuming.suspended).toBe(1)
      yield* TestClock.adjust("10 seconds")
      yield* settle
      expect(yield* session.awaitClosed).toMatchObject({ _tag: "TransportFailure", cause: { reason: "GraceExpired" } })
    }))

  it.scoped("ResumeServer.accept keeps a session when its page gives the connection up with code 4006", () =>
    Effect.gen(function*() {
      const { holder, offer, server, session } = yield* makeHeld()
      yield* holder.transport.close(4006, "", "1 second")
      const next = yield* makeStranger(server)
      yield* next.resume({ ...offer, firstKept: 2 })
      yield* next.send(syn(1))
      expect((yield* session.snapshot).streams.map(({ id }) => id)).toEqual([1])
    }))

  it.scoped("ResumeServer.accept goes on with a resumed session beyond the time for its first message", () =>
    Effect.gen(function*() {
      const { offer, server, session } = yield* makeHeld()
      const next = yield* makeStranger(server)
      yield* next.resume({ ...offer, firstKept: 2 })
      yield* TestClock.adjust("11 seconds")
      yield* next.send(syn(1))
      expect((yield* session.snapshot).streams.map(({ id }) => id)).toEqual([1])
      expect(yield* Queue.size(server.accepted)).toBe(0)
    }))

  it.scoped("ResumeServer.accept drops a client that says that it resumes when it stays silent for 10 s", () =>
    Effect.gen(function*() {
      const { accepted, server } = yield* makeHeld()
      const silent = yield* makeStranger(server)
      yield* TestClock.adjust("9 seconds")
      expect(silent.end()).toBeUndefined()
      yield* TestClock.adjust("1 seconds")
      yield* settle
      expect(silent.end()).toMatchObject({ code: 1006 })
      expect(yield* Queue.size(accepted)).toBe(0)
    }))

  it.scoped("ResumeServer.accept begins a session when such a client sends another first message", () =>
    Effect.gen(function*() {
      const { accepted, server } = yield* makeHeld()
      const fresh = yield* makeStranger(server)
      yield* fresh.send(resumableHello)
      const session = yield* Queue.take(accepted)
      yield* fresh.send(syn(1))
      expect((yield* session.snapshot).streams.map(({ id }) => id)).toEqual([1])
    }))
})
