import type { CloseInfo } from "effect-wsmux/Transport"
import * as Effect from "effect/Effect"
import type * as Frame from "../../src/internal/wire/frame.js"
import type { ResumeOffer } from "../../src/internal/wire/record.js"
import * as Record from "../../src/internal/wire/resumeRecord.js"
import { decodeMessage, encodeMessage, type Message } from "./records.js"
import type { makeServer } from "./resumable.js"
import { settle } from "./sessions.js"

/** A client of a server in memory that the test plays message by message. */
export const makeStranger = (server: Effect.Effect.Success<ReturnType<typeof makeServer>>) =>
  Effect.gen(function*() {
    const transport = yield* server.dial
    const received: Array<Uint8Array> = []
    let end: CloseInfo | undefined
    transport.listen({
      onMessage: (message) => received.push(message),
      onText: () => {},
      onWritable: () => {},
      onClose: (info) => {
        end = info
      }
    })
    yield* settle
    const send = (...messages: ReadonlyArray<Exclude<Message, Frame.Malformed> | Uint8Array>) =>
      Effect.zipRight(
        Effect.sync(() => {
          for (const message of messages) {
            transport.send([message instanceof Uint8Array ? message : encodeMessage(message)])
          }
        }),
        settle
      )
    return {
      transport,
      send,
      /** All messages so far. */
      received,
      /** The records of a resume so far. */
      answers: () => received.flatMap((message) => Record.decode(message) ?? []),
      end: () => end,
      /** The offer of the server's HELLO. */
      offer: (): ResumeOffer => {
        const hello = decodeMessage(received[0]!)
        if (hello._tag !== "Hello" || hello.resume === undefined) throw new Error("the server offers nothing")
        return hello.resume
      },
      /** Asks to resume. */
      resume: (record: Partial<Record.Resume>) =>
        send(Record.encodeResume({
          sessionId: new Uint8Array(Record.sessionIdSize),
          token: new Uint8Array(Record.tokenSize),
          attempt: 1,
          received: 1,
          firstKept: 1,
          ...record
        }))
    }
  })

/** A HELLO that says that its sender can resume. */
export const resumableHello = { _tag: "Hello", features: 31 } as const
