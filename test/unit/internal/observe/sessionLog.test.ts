import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as HashMap from "effect/HashMap"
import * as Logger from "effect/Logger"
import * as LogLevel from "effect/LogLevel"
import * as TestClock from "effect/TestClock"
import { open } from "../../../support/records.js"
import { ack, makeNativePeer, makePeer, syn } from "../../../support/scriptedPeer.js"
import { makeStreams, settle } from "../../../support/sessions.js"

/** Runs an effect and returns each logged line as level, text and annotations. */
const logged = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.suspend(() => {
    const lines: Array<string> = []
    const logger = Logger.make(({ annotations, logLevel, message }) => {
      const noted = Array.from(HashMap.entries(annotations), ([key, value]) => `${key}=${String(value)}`).sort()
      lines.push([logLevel.label, String(message), ...noted].join(" "))
    })
    return effect.pipe(
      Effect.provide(Logger.replace(Logger.defaultLogger, logger)),
      Logger.withMinimumLogLevel(LogLevel.Debug),
      Effect.as(lines)
    )
  })

describe("SessionLog", () => {
  const fault = Effect.scoped(Effect.gen(function*() {
    const { send, session } = yield* makePeer("server", { log: true })
    yield* send(syn(1), syn(1))
    yield* session.accept
    yield* settle
    yield* session.close
  }))

  it.effect("SessionLog writes the session's life at debug level and the peer's faults as warnings", () =>
    Effect.gen(function*() {
      const about = "peer=memory:client role=server"
      expect(yield* logged(fault)).toEqual([
        `DEBUG the session starts ${about}`,
        `DEBUG negotiated the dialect ${about} state=plain`,
        `WARN ignored a frame: the peer opened a stream twice ${about} streamId=1`,
        `DEBUG accepted a stream ${about} streamId=1`,
        `DEBUG the session ends cause=the session was closed by this side (code 1000) ${about}`
      ])
    }))

  it.effect("SessionLog writes the features and limits of the peer when both ends speak the dialect", () =>
    Effect.gen(function*() {
      const meet = Effect.scoped(
        makeNativePeer("server", { log: true }, {
          software: "other",
          window: 7000,
          earlyCredit: { perStream: 40, inAll: 80 },
          longest: { label: 20, metadata: 30 },
          backlog: 3
        })
      )
      expect((yield* logged(meet)).filter((line) => line.includes("dialect"))).toEqual([
        "DEBUG negotiated the dialect backlog=3 earlyCredit=40 earlyCreditInAll=80 features=open,reset " +
        "longestLabel=20 longestMetadata=30 peer=memory:client role=server software=other state=native window=7000"
      ])
    }))

  it.effect("SessionLog writes texts of the peer in one line without control characters", () =>
    Effect.gen(function*() {
      const hostile = "a\u001b[2J\nb\u202ec"
      const meet = Effect.scoped(Effect.gen(function*() {
        const { send, session } = yield* makeNativePeer("server", { log: true }, { software: hostile })
        yield* send(open(1, 1024, hostile))
        expect((yield* session.accept).label).toBe(hostile)
      }))
      const lines = yield* logged(meet)
      expect(lines.filter((line) => line.includes("a\ufffd[2J bc"))).toEqual([
        expect.stringContaining("negotiated the dialect"),
        expect.stringContaining("accepted a stream")
      ])
      expect(lines.filter((line) => /[\p{Cc}\p{Cf}]/u.test(line))).toEqual([])
    }))

  it.effect("SessionLog writes ten lines of a fault in 10 s, then the count of the lines left out", () =>
    Effect.gen(function*() {
      const flood = Effect.scoped(Effect.gen(function*() {
        const { send, session } = yield* makePeer("server", { log: true, keepAliveInterval: "1 hour" })
        const again = Effect.zipRight(send(...Array.from({ length: 100 }, () => syn(1))), settle)
        yield* again
        yield* TestClock.adjust("10 seconds")
        yield* again
        yield* session.close
      }))
      const lines = (yield* logged(flood)).filter((line) => line.includes("opened a stream twice"))
      const line = "WARN ignored a frame: the peer opened a stream twice"
      const about = "peer=memory:client role=server"
      expect(lines).toEqual([
        ...Array.from({ length: 10 }, () => `${line} ${about} streamId=1`),
        `${line} leftOut=89 ${about} streamId=1`,
        ...Array.from({ length: 9 }, () => `${line} ${about} streamId=1`),
        `${line} leftOut=90 ${about}`
      ])
    }))

  it.effect("SessionLog warns when the acceptor assumes a window above maxPeerWindow", () =>
    Effect.gen(function*() {
      const open = Effect.scoped(Effect.gen(function*() {
        const { send, session } = yield* makePeer("client", { log: true, maxPeerWindow: 2000 })
        const opening = yield* Effect.fork(session.open())
        yield* settle
        yield* send(ack(1, 8000))
        yield* opening
        yield* settle
      }))
      expect((yield* logged(open)).filter((line) => line.startsWith("WARN"))).toEqual([
        "WARN the peer believes in a larger window than this end stores: a slow reader will fail with NoCapacity; " +
        "give both ends the same streamBufferSize, or raise maxPeerWindow " +
        "peer=memory:server peerWindow=8000 role=client streamId=1 window=2000"
      ])
    }))

  it.effect("SessionLog writes nothing when the log setting is off", () =>
    Effect.gen(function*() {
      expect(yield* logged(Effect.scoped(makeStreams()))).toEqual([])
    }))
})
