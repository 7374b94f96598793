import { describe, expect, it } from "@effect/vitest"
import * as MemoryTransport from "effect-wsmux/MemoryTransport"
import * as Session from "effect-wsmux/Session"
import { type Listener, Transport } from "effect-wsmux/Transport"
import * as WsmuxError from "effect-wsmux/WsmuxError"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as TestClock from "effect/TestClock"
import { encode } from "../../../src/internal/wire/frame.js"
import { bytes, pattern, text } from "../../support/bytes.js"
import { expectWaiting, failureOf, quiet, quietly, start } from "../../support/observe.js"
import { ack, dat, fin, makePeer, syn } from "../../support/scriptedPeer.js"
import { makeSessions, makeStreams, readSome, settle } from "../../support/sessions.js"
import { withParts } from "../../support/withParts.js"

const lost = new WsmuxError.TransportFailure({ code: 1006, reason: "" })

describe("WsmuxError", () => {
  it.scoped("Session.open fails with AcceptTimeout when the peer does not accept in time", () =>
    Effect.gen(function*() {
      const { client } = yield* makeSessions(quietly())
      const open = yield* start(client.open().pipe(Effect.catchTag("AcceptTimeout", Effect.succeed)))
      yield* TestClock.adjust("30 seconds")
      expect(yield* Fiber.join(open)).toEqual(new WsmuxError.AcceptTimeout({ afterMillis: 30_000 }))
    }))

  it.scoped("MuxStream.write fails with BrokenPipe when this end has sent FIN", () =>
    Effect.gen(function*() {
      const { near } = yield* makeStreams()
      yield* near.end
      const error = yield* Effect.catchTag(near.write(bytes("late")), "BrokenPipe", Effect.succeed)
      expect(error).toMatchObject({ _tag: "BrokenPipe", streamId: 1, operation: "write", written: 0 })
      expect(error?.cause).toBe(undefined)
    }))

  it.scoped("MuxStream.write fails with BrokenPipe, its sent bytes and cause when the session is lost", () =>
    Effect.gen(function*() {
      const { near, pair } = yield* makeStreams()
      const write = yield* start(Effect.catchTag(near.write(pattern(3000)), "BrokenPipe", Effect.succeed))
      const read = yield* start(Effect.catchTag(near.read, "BrokenPipe", Effect.succeed))
      yield* pair.cut
      expect([yield* Fiber.join(write), yield* Fiber.join(read)]).toEqual([
        new WsmuxError.BrokenPipe({
          streamId: 1,
          operation: "write",
          reason: "SessionEnded",
          written: 1024,
          cause: lost
        }),
        new WsmuxError.BrokenPipe({ streamId: 1, operation: "read", reason: "SessionEnded", written: 0, cause: lost })
      ])
    }))

  it.scoped("Session ends with TransportFailure and closes its transport when handling a message throws", () =>
    Effect.gen(function*() {
      const pair = yield* MemoryTransport.makePair()
      let listener: Listener | undefined
      const transport = withParts(pair.client, {
        listen: (given) => pair.client.listen(listener = given)
      })
      const session = yield* Effect.provideService(Session.makeClient(quiet), Transport, transport)
      const defect = new Error("a defect")
      const message = new Proxy(new Uint8Array(5), {
        get: () => {
          throw defect
        }
      })
      expect(() => listener!.onMessage(message)).toThrow(defect)
      expect(yield* session.awaitClosed).toEqual(
        new WsmuxError.TransportFailure({ code: 1006, reason: "", cause: defect })
      )
      expect(pair.server.pollWritable()).toBe(false)
    }))

  it.scoped("MuxStream.write fails with WriteTimeout when its deadline passes", () =>
    Effect.gen(function*() {
      const { near } = yield* makeStreams(quietly())
      yield* near.setWriteDeadline(1000)
      const write = yield* start(Effect.catchTag(near.write(pattern(3000)), "WriteTimeout", Effect.succeed))
      yield* TestClock.adjust("1 second")
      expect(yield* Fiber.join(write)).toEqual(new WsmuxError.WriteTimeout({ streamId: 1, written: 1024 }))
    }))

  it.scoped("MuxStream.read fails with ReadTimeout when no byte arrives before the deadline", () =>
    Effect.gen(function*() {
      const { near } = yield* makeStreams(quietly())
      yield* near.setReadDeadline(1000)
      const read = yield* start(Effect.catchTag(near.read, "ReadTimeout", Effect.succeed))
      yield* TestClock.adjust("1 second")
      expect(yield* Fiber.join(read)).toEqual(new WsmuxError.ReadTimeout({ streamId: 1 }))
    }))

  it.scoped("MuxStream.read fails with NoCapacity after bytes that fit when a peer exceeds one window", () =>
    Effect.gen(function*() {
      const peer = yield* makePeer("server", { streamBufferSize: 4 })
      yield* peer.send(syn(1), syn(3))
      const overrun = yield* peer.session.accept
      const other = yield* peer.session.accept
      yield* peer.send(dat(1, bytes("12345")), dat(1, bytes("6")), dat(3, bytes("fine")))
      expect(text(yield* readSome(overrun))).toBe("1234")
      expect(yield* Effect.catchTag(overrun.read, "NoCapacity", Effect.succeed)).toEqual(
        new WsmuxError.NoCapacity({ streamId: 1 })
      )
      expect(text(yield* readSome(other))).toBe("fine")
      yield* overrun.write(bytes("ok"))
      expect((yield* peer.session.snapshot).counters.windowOverruns).toBe(1)
      expect(yield* peer.session.isClosed).toBe(false)
    }))

  it.scoped("MuxStream.read fails with NoCapacity when a FIN follows an overrun", () =>
    Effect.gen(function*() {
      const peer = yield* makePeer("server", { streamBufferSize: 4 })
      yield* peer.send(syn(1))
      const stream = yield* peer.session.accept
      yield* peer.send(dat(1, bytes("12345")), fin(1))
      yield* stream.read
      expect(yield* Effect.flip(stream.read)).toEqual(new WsmuxError.NoCapacity({ streamId: 1 }))
    }))

  it.scoped("Session.open fails with DuplicateStream when the id is taken", () =>
    Effect.gen(function*() {
      const { client, near } = yield* makeStreams()
      const again = client.open({ id: near.id })
      expect(yield* Effect.catchTag(again, "DuplicateStream", Effect.succeed)).toEqual(
        new WsmuxError.DuplicateStream({ streamId: 1 })
      )
    }))

  it.scoped("Session fails with SessionClosed, its side, code and reason when one side closes", () =>
    Effect.gen(function*() {
      const { client, pair, server } = yield* makeSessions()
      yield* client.close
      expect(yield* Effect.catchTag(client.open(), "SessionClosed", Effect.succeed)).toEqual(
        new WsmuxError.SessionClosed({ by: "local", code: 1000, reason: "" })
      )
      expect(yield* Effect.catchTag(server.accept, "SessionClosed", Effect.succeed)).toEqual(
        new WsmuxError.SessionClosed({ by: "peer", code: 1000, reason: "" })
      )
      yield* pair.close(1012, "too late to count")
      expect(yield* server.awaitClosed).toEqual(new WsmuxError.SessionClosed({ by: "peer", code: 1000, reason: "" }))
    }))

  it.scoped("Session.accept fails with SessionClosed when a close frame with a reason arrives", () =>
    Effect.gen(function*() {
      const { client, pair } = yield* makeSessions()
      yield* pair.close(1001, "going away")
      expect(yield* Effect.catchTag(client.accept, "SessionClosed", Effect.succeed)).toEqual(
        new WsmuxError.SessionClosed({ by: "peer", code: 1001, reason: "going away" })
      )
    }))

  it.scoped("MuxStream.setDeadline fails with InvalidDeadline when the time has passed", () =>
    Effect.gen(function*() {
      const { near } = yield* makeStreams(quietly())
      yield* TestClock.adjust(5000)
      for (const set of [near.setReadDeadline, near.setWriteDeadline, near.setDeadline]) {
        expect(yield* Effect.catchTag(set(4999), "InvalidDeadline", Effect.succeed)).toEqual(
          new WsmuxError.InvalidDeadline({ deadline: 4999, now: 5000 })
        )
      }
    }))

  it.scoped("Session.open fails with KeepAliveExpired and lastSeen when the peer is silent", () =>
    Effect.gen(function*() {
      const { client, pair } = yield* makeSessions({ server: quiet })
      const open = yield* start(Effect.catchTag(client.open(), "KeepAliveExpired", Effect.succeed))
      yield* Effect.addFinalizer(() => pair.cut)
      yield* pair.stall("server")
      yield* TestClock.adjust("20 seconds")
      expect(yield* Fiber.join(open)).toEqual(
        new WsmuxError.KeepAliveExpired({ intervalMillis: 10_000, lastSeen: 10_000 })
      )
    }))
})

describe("WsmuxError", () => {
  const malformed = [
    { message: [0, 1, 0], fault: "Truncated", detail: "a message of 3 bytes" },
    { message: [4, 1, 0, 0, 0], fault: "UnknownType", detail: "frame type 4" },
    { message: [1, 1, 0, 0, 0, 9], fault: "UnexpectedPayload", detail: "SYN of 6 bytes" },
    { message: [2, 1, 0, 0, 0, 9], fault: "InvalidCredit", detail: "ACK of 6 bytes" }
  ] as const
  for (const { detail, fault, message } of malformed) {
    it.scoped(`Session ends with MalformedFrame and close code 1008 when the fault is ${fault}`, () =>
      Effect.gen(function*() {
        const { ended, send, session } = yield* makePeer("server")
        const accept = yield* start(Effect.catchTag(session.accept, "MalformedFrame", Effect.succeed))
        yield* send(Uint8Array.from(message))
        const error = new WsmuxError.MalformedFrame({ fault, detail })
        expect([yield* Fiber.join(accept), yield* session.awaitClosed]).toEqual([error, error])
        expect(yield* ended).toEqual({ code: 1008, reason: `malformed frame: ${detail}` })
      }))
  }

  for (const [role, id] of [["client", 3], ["server", 4]] as const) {
    it.scoped(`Session of a ${role} ends with WrongParity and closes with 1008 when its peer is a ${role}`, () =>
      Effect.gen(function*() {
        const { ended, send, session } = yield* makePeer(role)
        yield* send(syn(id))
        const error = yield* Effect.catchTag(session.accept, "WrongParity", Effect.succeed)
        expect(error).toEqual(new WsmuxError.WrongParity({ streamId: id, role }))
        const reason = `stream id ${id} belongs to the ${role}: are both ends ${role}s?`
        expect(yield* ended).toEqual({ code: 1008, reason })
      }))
  }

  const floods: Record<string, ReadonlyArray<Parameters<typeof encode>[0]>> = {
    "that are refused": [syn(1)],
    "that it gives up at once": [syn(1), fin(1)],
    "that are accepted": []
  }
  for (const [name, frames] of Object.entries(floods)) {
    it.scoped(`Session ends with PeerFlood when a peer reads no answers to opens ${name}`, () =>
      Effect.gen(function*() {
        const acceptBacklog = name === "that are refused" ? 0 : 4096
        const { pair, session, transport } = yield* makePeer("server", { acceptBacklog }, { capacity: 64 })
        yield* Effect.addFinalizer(() => pair.cut)
        yield* pair.stall("server")
        const open = yield* start(Effect.catchTag(session.open(), "PeerFlood", Effect.succeed))
        yield* Effect.sync(() => {
          for (let i = 0; i < 10_500; i++) for (const frame of frames) transport.send([encode(frame)])
          if (frames.length > 0) transport.send([encode(ack(99, 1))])
        })
        if (frames.length === 0) {
          yield* Effect.fork(session.run(() => Effect.void))
          for (let i = 0; i < 10_500; i++) {
            transport.send([encode(syn(2 * i + 1))])
            if (i % 100 === 0) yield* settle
          }
        }
        // A session without the limit would count the last frame as ignored.
        const answered = Effect.iterate(0, {
          while: (ignored) => ignored === 0 && open.unsafePoll() === null,
          body: () =>
            Effect.zipRight(Effect.yieldNow(), Effect.map(session.snapshot, (now) => now.counters.ignoredFrames))
        })
        expect(yield* answered).toBe(0)
        expect(yield* Fiber.join(open)).toEqual(new WsmuxError.PeerFlood({ detail: "10001 answers wait to be read" }))
      }))
  }

  it.scoped("Session.open fails with StreamRefused when the peer answers by FIN", () =>
    Effect.gen(function*() {
      const { send, session } = yield* makePeer("client")
      const open = yield* start(Effect.catchTag(session.open(), "StreamRefused", Effect.succeed))
      yield* send(fin(1))
      expect(yield* Fiber.join(open)).toEqual(new WsmuxError.StreamRefused({ streamId: 1 }))
    }))

  it.scoped("Session fails its operations with TransportFailure when the connection is lost", () =>
    Effect.gen(function*() {
      const { client, pair } = yield* makeSessions()
      const waiting = [yield* start(client.open()), yield* start(client.accept)]
      yield* pair.cut
      for (const fiber of waiting) {
        expect(yield* Effect.catchTag(Fiber.join(fiber), "TransportFailure", Effect.succeed)).toEqual(lost)
      }
    }))

  it.scoped("Session.makeClient fails with InvalidConfiguration when settings are invalid", () =>
    Effect.gen(function*() {
      const make = makePeer("client", { maxFrameSize: 0 })
      expect(yield* Effect.catchTag(make, "InvalidConfiguration", Effect.succeed)).toEqual(
        new WsmuxError.InvalidConfiguration({
          setting: "maxFrameSize",
          detail: "0 is not a whole number from 1 to 4294967295"
        })
      )
      const tooSmall = makePeer("client", { maxPeerWindow: 2000, dialect: "off" }, { maxMessageSize: 2004 })
      expect(yield* Effect.flip(tooSmall)).toEqual(
        new WsmuxError.InvalidConfiguration({
          setting: "maxMessageSize",
          detail: "the transport lets in messages of 2004 bytes; these settings need 2005"
        })
      )
    }))

  it.scoped("MuxStream keeps its other operations when one of them fails", () =>
    Effect.gen(function*() {
      const { far, near } = yield* makeStreams(quietly())
      const read = yield* start(near.read)
      yield* near.setWriteDeadline(0)
      expect(yield* Effect.flip(near.write(bytes("x")))).toEqual(
        new WsmuxError.WriteTimeout({ streamId: 1, written: 0 })
      )
      yield* expectWaiting(read)
      yield* near.setReadDeadline(0)
      expect(yield* failureOf(read)).toEqual(new WsmuxError.ReadTimeout({ streamId: 1 }))
      yield* near.setDeadline(undefined)
      yield* near.write(bytes("y"))
      expect(text(yield* readSome(far))).toBe("y")
    }))
})
