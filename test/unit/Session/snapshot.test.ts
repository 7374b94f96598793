import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { bytes, pattern } from "../../support/bytes.js"
import { quiet, start } from "../../support/observe.js"
import { ack, dat, fin, makePeer, syn } from "../../support/scriptedPeer.js"

/** The session has sent its HELLO only. */
const nothing = {
  framesIn: { dat: 0, syn: 0, ack: 0, fin: 0, record: 0 },
  framesOut: { dat: 0, syn: 0, ack: 0, fin: 0, record: 1 },
  bytesIn: 0,
  bytesOut: 0,
  opened: 0,
  accepted: 0,
  refused: 0,
  duplicateSyns: 0,
  ignoredFrames: 0,
  windowOverruns: 0,
  creditOverflows: 0,
  creditStalls: 0
}

describe("Session.snapshot", () => {
  it.scoped("Session.snapshot holds zero counts for a new session and for a closed one", () =>
    Effect.gen(function*() {
      const { session } = yield* makePeer("client", quiet)
      const fresh = {
        role: "client",
        closed: false,
        dialect: { state: "negotiating" },
        streams: [],
        backlog: 0,
        unacknowledgedOpens: 0,
        waitingOpens: 0,
        counters: nothing
      }
      expect(yield* session.snapshot).toEqual(fresh)
      yield* session.close
      expect(yield* session.snapshot).toEqual({ ...fresh, closed: true })
    }))

  it.scoped("Session.snapshot holds the state of each stream and every counter", () =>
    Effect.gen(function*() {
      const { send, session } = yield* makePeer("server", { ...quiet, acceptBacklog: 1, maxUnacknowledgedOpens: 2 })
      yield* send(syn(1))
      const open = yield* session.accept
      yield* send(syn(3))
      const ended = yield* session.accept
      yield* send(syn(5))
      yield* session.accept
      yield* send(syn(7), syn(9), syn(1)) // waiting, refused, duplicate
      const cancelled = yield* start(session.open())
      yield* start(session.open())
      yield* start(session.open())
      yield* send(dat(1, pattern(700)), dat(5, bytes("all")), fin(5), ack(1, 100), dat(99, bytes("nowhere")))
      yield* start(open.write(pattern(2000)))
      yield* ended.end
      yield* cancelled.interruptAsFork(cancelled.id())
      expect(yield* Effect.zipRight(send(), session.snapshot)).toEqual({
        role: "server",
        closed: false,
        dialect: { state: "plain" },
        streams: [
          {
            id: 1,
            label: "",
            state: "Open",
            bufferedBytes: 700,
            receiveCredit: 324,
            discarding: false,
            sendCredit: 0,
            waitingBytes: 876
          },
          {
            id: 3,
            label: "",
            state: "HalfClosedLocal",
            bufferedBytes: 0,
            receiveCredit: 1024,
            discarding: false,
            sendCredit: 1024,
            waitingBytes: 0
          },
          {
            id: 5,
            label: "",
            state: "HalfClosedRemote",
            bufferedBytes: 3,
            receiveCredit: 1021,
            discarding: false,
            sendCredit: 1024,
            waitingBytes: 0
          },
          {
            id: 7,
            label: "",
            state: "AwaitingAccept",
            bufferedBytes: 0,
            receiveCredit: 0,
            discarding: false,
            sendCredit: 1024,
            waitingBytes: 0
          },
          {
            id: 0,
            label: "",
            state: "Cancelling",
            bufferedBytes: 0,
            receiveCredit: 0,
            discarding: false,
            sendCredit: 0,
            waitingBytes: 0
          },
          {
            id: 2,
            label: "",
            state: "Opening",
            bufferedBytes: 0,
            receiveCredit: 0,
            discarding: false,
            sendCredit: 0,
            waitingBytes: 0
          }
        ],
        backlog: 1,
        unacknowledgedOpens: 2,
        waitingOpens: 1,
        counters: {
          ...nothing,
          framesIn: { dat: 3, syn: 6, ack: 1, fin: 1, record: 0 },
          framesOut: { dat: 1, syn: 2, ack: 3, fin: 2, record: 1 },
          bytesIn: 710,
          bytesOut: 1124,
          creditStalls: 1,
          accepted: 3,
          refused: 1,
          duplicateSyns: 1,
          ignoredFrames: 1
        }
      })
    }))

  it.scoped("Session.snapshot keeps its values when later events follow", () =>
    Effect.gen(function*() {
      const { send, session } = yield* makePeer("server", quiet)
      const before = yield* session.snapshot
      yield* send(syn(1), ack(77, 1))
      expect(before).toMatchObject({ streams: [], backlog: 0, counters: nothing })
      expect(yield* session.snapshot).toMatchObject({ backlog: 1, counters: { ignoredFrames: 1 } })
    }))
})
