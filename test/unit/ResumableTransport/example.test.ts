import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Queue from "effect/Queue"
import * as TestClock from "effect/TestClock"
import * as Record from "../../../src/internal/wire/resumeRecord.js"
import { bytes, text } from "../../support/bytes.js"
import { linesOf } from "../../support/dialectExamples.js"
import { quiet, start } from "../../support/observe.js"
import { makePlayedServer } from "../../support/playedServer.js"
import { decodeMessage, hello, open } from "../../support/records.js"
import { makeServer } from "../../support/resumable.js"
import { ack, dat } from "../../support/scriptedPeer.js"
import { readSome, settle } from "../../support/sessions.js"

const example = linesOf("An example of resume")
const message = (at: number): Uint8Array => example[at]!.message

const introduction = hello({ features: 31, window: 1024, earlyCredit: { perStream: 1024, inAll: 1024 * 1024 } })
const sessionId = Uint8Array.from({ length: Record.sessionIdSize }, (_, i) => 0xa0 + i)
const token = (byte: number) => new Uint8Array(Record.tokenSize).fill(byte)
const offer = { sessionId, token: token(0x11), graceMillis: 120_000, keptBytes: 4 * 1024 * 1024 }

const settings = { ...quiet, maxSessionBufferSize: 1024 * 1024, maxStreams: 512 }

describe("resume", () => {
  it("the example of resume has the bytes of the messages that it names", () => {
    const messages = example.map(({ message }) => Record.decode(message) ?? decodeMessage(message))
    expect(messages).toEqual([
      { ...introduction, software: "effect-wsmux", longest: { label: 256, metadata: 4096 }, backlog: 4096 },
      { ...introduction, resume: offer },
      open(1, 1024),
      ack(1, 0),
      { _tag: "Received", count: 2 },
      { _tag: "Received", count: 2 },
      dat(1, bytes("a")),
      { _tag: "Resume", sessionId, token: token(0x11), attempt: 1, received: 2, firstKept: 3 },
      { _tag: "Resumed", received: 2, firstKept: 3, token: token(0x22) },
      dat(1, bytes("a")),
      dat(1, bytes("b")),
      { _tag: "Resume", sessionId, token: token(0x22), attempt: 2, received: 3, firstKept: 3 },
      { _tag: "Rejected", code: Record.RejectCode.unknown, reason: "" }
    ])
    expect(messages.map(({ _tag }) => _tag.toUpperCase())).toEqual(example.map(({ name }) => name))
  })

  it.scoped("ResumableTransport holds the conversation of the example when it dials", () =>
    Effect.gen(function*() {
      const { client, cut, lastLink, links } = yield* makePlayedServer({ client: settings })
      yield* lastLink().send(message(1))
      const opening = yield* start(client.open())
      yield* lastLink().send(message(3))
      const stream = yield* Fiber.join(opening)
      yield* TestClock.adjust("1 second")
      yield* lastLink().send(message(5))
      yield* links[0]!.pair.stall("client")
      yield* stream.write(bytes("a"))
      yield* cut
      yield* lastLink().send(message(8), message(10))
      expect(text(yield* readSome(stream))).toBe("b")
      yield* cut
      yield* lastLink().send(message(12))
      expect(yield* client.awaitClosed).toMatchObject({ cause: { reason: "Unknown" } })

      expect(links.map(({ received }) => received)).toEqual([
        [message(0), message(2), message(4)],
        [message(7), message(9)],
        [message(11)]
      ])
    }))

  it.scoped("ResumeServer holds the conversation of the example when it accepts", () =>
    Effect.gen(function*() {
      const server = yield* makeServer({ server: settings })
      const first = yield* dial(server)
      first.send(message(0))
      const session = yield* Queue.take(server.accepted)
      yield* settle
      const { resume } = decodeMessage(first.received[0]!) as typeof introduction
      // the secrets of a server are random
      const known = [[resume!.sessionId, sessionId], [resume!.token, token(0x11)]] as Array<[Uint8Array, Uint8Array]>
      const shown = (bytes: Uint8Array) => known.reduce((message, [own, ours]) => replace(message, own, ours), bytes)
      const meant = (bytes: Uint8Array) => known.reduce((message, [own, ours]) => replace(message, ours, own), bytes)

      first.send(message(2))
      const stream = yield* session.accept
      yield* TestClock.adjust("1 second")
      first.send(message(4))
      yield* settle
      yield* server.cut
      const second = yield* dial(server)
      second.send(meant(message(7)))
      yield* settle
      known.push([(Record.decode(second.received[0]!) as Record.Resumed).token, token(0x22)])
      second.send(message(9))
      expect(text(yield* readSome(stream))).toBe("a")
      yield* stream.write(bytes("b"))
      yield* settle
      const restarted = yield* makeServer({ server: settings })
      restarted.network.requests = 1 // this dial tells that it resumes, too
      const third = yield* dial(restarted)
      third.send(meant(message(11)))
      yield* settle

      const [own, ...more] = first.received.map(shown)
      expect(decodeMessage(own!)).toMatchObject({ ...introduction, resume: offer })
      expect(more).toEqual([message(3), message(5)])
      expect(second.received.map(shown)).toEqual([message(8), message(10)])
      expect(third.received).toEqual([message(12)])
    }))
})

/** Dials a server, and keeps what it sends. */
const dial = (server: Effect.Effect.Success<ReturnType<typeof makeServer>>) =>
  Effect.map(server.dial, (transport) => {
    const received: Array<Uint8Array> = []
    transport.listen({
      onMessage: (message) => received.push(message),
      onText: () => {},
      onWritable: () => {},
      onClose: () => {}
    })
    return { received, send: (message: Uint8Array) => transport.send([message]) }
  })

/** The bytes with some of them replaced, where they occur. */
const replace = (bytes: Uint8Array, some: Uint8Array, by: Uint8Array): Uint8Array => {
  const at = Buffer.from(bytes).indexOf(some)
  const copy = Uint8Array.from(bytes)
  if (at >= 0) copy.set(by, at)
  return copy
}
