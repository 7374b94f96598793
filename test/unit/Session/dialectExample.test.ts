import { describe, expect, it } from "@effect/vitest"
import * as MemoryTransport from "effect-wsmux/MemoryTransport"
import { ResetCode } from "effect-wsmux/MuxStream"
import * as Session from "effect-wsmux/Session"
import { type CloseInfo, Transport } from "effect-wsmux/Transport"
import * as Effect from "effect/Effect"
import { bytes } from "../../support/bytes.js"
import { linesOf } from "../../support/dialectExamples.js"
import { quiet, start } from "../../support/observe.js"
import { decodeMessage, goAway, hello, open, reset, stop } from "../../support/records.js"
import { ack, dat, fin } from "../../support/scriptedPeer.js"
import { readAll, settle } from "../../support/sessions.js"

/** The lines of the example in `src/README.md`: who sends, the message, and its name. */
const example = linesOf("An example")

const introduction = hello({ features: 15, window: 1024, earlyCredit: { perStream: 1024, inAll: 1024 * 1024 } })
const first = Uint8Array.of(1, 0, 0, 0, 0, 0, 0, 0)

describe("the dialect", () => {
  it("the example of the dialect's specification has the bytes of the messages that it names", () => {
    const messages = example.map(({ message }) => decodeMessage(message))
    expect(messages).toEqual([
      introduction,
      introduction,
      open(1, 1024, "rpc", { user: "ada" }),
      dat(1, bytes("q")),
      fin(1),
      ack(1, 0),
      dat(1, bytes("a")),
      reset(1, ResetCode.Failed),
      open(3),
      ack(3, 0),
      stop(3, ResetCode.NoError),
      reset(3, ResetCode.NoError),
      fin(3),
      { _tag: "Ping", payload: Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8) },
      { _tag: "Pong", payload: Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8) },
      goAway(5000),
      { _tag: "Ping", payload: first },
      { _tag: "Pong", payload: first }
    ])
    expect(messages.map(({ _tag }) => _tag.toUpperCase())).toEqual(example.map(({ name }) => name))
  })

  it.scoped("Session as server holds the conversation of the dialect's specification", () =>
    Effect.gen(function*() {
      const { client, server } = yield* MemoryTransport.makePair()
      const received: Array<Uint8Array> = []
      let end: CloseInfo | undefined
      client.listen({
        onMessage: (message) => void received.push(message),
        onText: () => {},
        onWritable: () => {},
        onClose: (info) => {
          end = info
        }
      })
      const session = yield* Effect.provideService(
        Session.makeServer({ ...quiet, dialect: "auto", maxSessionBufferSize: 1024 * 1024, maxStreams: 512 }),
        Transport,
        server
      )
      yield* start(session.run((stream) =>
        readAll(stream).pipe(
          Effect.zipRight(stream.write(bytes("a"))),
          Effect.zipRight(Effect.fail("the program failed"))
        )
      ))
      for (const { from, message, name } of example) {
        if (name === "GOAWAY") yield* start(session.drain({ grace: "5 seconds" }))
        if (from === "client") client.send([message])
        yield* settle
        if (from === "client") continue
        const sent = received.shift()!
        // the HELLO of a session has more TLVs than the example shows
        if (name === "HELLO") expect(decodeMessage(sent)).toMatchObject(introduction)
        else expect(sent).toEqual(message)
      }
      expect(received).toEqual([])
      expect(end).toMatchObject({ code: 1001 })
    }))
})
