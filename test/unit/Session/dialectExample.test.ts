import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as fs from "node:fs"
import * as Frame from "../../../src/internal/wire/frame.js"
import * as Record from "../../../src/internal/wire/record.js"
import { quiet } from "../../support/observe.js"
import { makePeer } from "../../support/scriptedPeer.js"
import { settle } from "../../support/sessions.js"

/** The lines of the example in `src/README.md`: who sends, the message, and its name. */
const example = Array.from(
  fs.readFileSync(new URL("../../../src/README.md", import.meta.url), "utf8")
    .matchAll(/^(client|server) {2}([0-9a-f ]+?) {2,}([A-Z]+)\b.*$/gm),
  ([, from, hex, name]) => ({
    from,
    name,
    message: Uint8Array.from(hex!.match(/[0-9a-f]{2}/g)!, (byte) => parseInt(byte, 16))
  })
)

const decode = (message: Uint8Array) => {
  const frame = Frame.decode(message)
  return frame._tag === "Dat" && frame.id === Record.reservedId ? Record.decodeRecord(frame.payload) : frame
}

describe("the dialect", () => {
  it("the example of the dialect's specification has the bytes of the records that it names", () => {
    expect(example.length).toBe(8)
    expect(example.map(({ message }) => decode(message)._tag.toUpperCase())).toEqual(example.map(({ name }) => name))
  })

  it.scoped("Session as server holds the conversation of the dialect's specification", () =>
    Effect.gen(function*() {
      const { frames, send, session } = yield* makePeer("server", quiet)
      const sentBy = (from: string) => example.filter((line) => line.from === from).map((line) => line.message)
      yield* send(...sentBy("client"))
      yield* Effect.forkScoped(session.run((stream) =>
        Effect.zipRight(stream.write(new TextEncoder().encode("a")), Effect.fail("the program failed"))
      ))
      yield* settle
      expect((yield* frames).map((frame) =>
        Frame.encode(frame as Frame.Frame)
      )).toEqual(sentBy("server").slice(1))
    }))
})
