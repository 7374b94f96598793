import { describe, expect, it } from "@effect/vitest"
import type { MuxStream } from "effect-wsmux/MuxStream"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import { readdirSync, readFileSync } from "node:fs"
import * as Frame from "../../../../../src/internal/wire/frame.js"
import * as Record from "../../../../../src/internal/wire/record.js"
import { concat } from "../../../../support/bytes.js"
import { makePeer } from "../../../../support/scriptedPeer.js"
import { readAll, readSome, settle } from "../../../../support/sessions.js"
import { WireRules } from "../../../../support/wireRules.js"

type Role = "client" | "server"

interface Recorded {
  readonly from: Role
  readonly frame: Frame.Frame
}

const folder = new URL("../../../../fixtures/wire/", import.meta.url)

/** The frames of a recorded conversation between a Go client and a Go server. */
const load = (name: string): ReadonlyArray<Recorded> => {
  const { events } = JSON.parse(readFileSync(new URL(name, folder), "utf8")) as {
    readonly events: ReadonlyArray<{ readonly from: Role; readonly hex?: string }>
  }
  return events.flatMap(({ from, hex }) =>
    hex === undefined ? [] : [{ from, frame: Frame.decode(Buffer.from(hex, "hex")) as Frame.Frame }]
  )
}

/** The buffer sizes of both sides. */
const sizesOf = (name: string): Record<Role, number> => {
  if (name.includes("overflow")) return { client: 1024, server: 4096 }
  return { client: name.includes("asymmetric") ? 4096 : 1024, server: 1024 }
}

const names = readdirSync(folder)

/** Conversations with records of the dialect among their frames, beside those without. */
const companions = names.filter((name) => name.startsWith("hello-")).map((name) => ({
  name,
  original: name.replace("hello-", "").replace(/echo-20(17|26)/, "echo-5")
}))

/** Whether Go ignores the frame, since the frame is a record of the dialect. */
const isRecord = (frame: Frame.Frame) => frame._tag === "Dat" && frame.id === Record.reservedId

/** All bytes that one side sent on a stream. */
const bytesOf = (recorded: ReadonlyArray<Recorded>, from: Role, id: number) =>
  concat(
    recorded.flatMap((one) =>
      one.from === from && one.frame._tag === "Dat" && one.frame.id === id ? [one.frame.payload] : []
    )
  )

/**
 * Plays one side of a recording with a session of this package. A scripted peer plays the other side, and sends each
 * frame as soon as the rules of the wire allow it. Returns the bytes that the session read and sent on each stream.
 */
const replay = (name: string, role: Role, dialect: "auto" | "off", recorded = load(name)) =>
  Effect.gen(function*() {
    const size = sizesOf(name)
    const other = role === "client" ? "server" : "client"
    const ids = recorded.flatMap(({ frame }) => frame._tag === "Syn" ? [frame.id] : [])
    const { next, send, session } = yield* makePeer(role, { streamBufferSize: size[role], dialect })
    const rules = new WireRules(size)
    const sent: Array<Frame.Frame> = []
    const play = (stream: MuxStream) =>
      Effect.all([
        Effect.zipRight(stream.write(bytesOf(recorded, role, stream.id)), stream.end),
        readAll(stream)
      ], { concurrency: 2 }).pipe(Effect.map(([, read]) => [stream.id, read] as const))
    const playing = yield* Effect.forkScoped(Effect.forEach(
      ids,
      () => Effect.flatMap(role === "client" ? session.open() : session.accept, play),
      { concurrency: "unbounded" }
    ))
    const hear = Effect.map(next, (frame) => {
      if (!isRecord(frame as Frame.Frame)) rules.see(role, frame as Frame.Frame)
      sent.push(frame as Frame.Frame)
    })
    yield* settle // a Go peer knows nothing of OPEN, so the session opens before a HELLO comes
    for (const { frame } of recorded.filter(({ from }) => from === other)) {
      if (isRecord(frame)) {
        yield* send(frame)
        continue
      }
      while (!rules.allow(other, frame)) yield* hear
      rules.see(other, frame)
      yield* send(frame)
    }
    return { recorded, ids, other, playing, hear, sent, session } as const
  })

/** Plays one side of a recording without its records. Returns how many frames the session has ignored. */
const countIgnored = (name: string, role: Role) =>
  Effect.gen(function*() {
    const frames = load(name).filter(({ frame }) => !isRecord(frame))
    const { hear, ids, playing, sent, session } = yield* replay(name, role, "off", frames)
    while (sent.filter(({ _tag }) => _tag === "Fin").length < ids.length) yield* hear
    yield* Fiber.join(playing)
    return (yield* session.snapshot).counters.ignoredFrames
  })

/** A session as the client, whose server sends all that a Go server sent in the recording, and a FIN. */
const overrun = (name: string, dialect: "auto" | "off") =>
  Effect.gen(function*() {
    const recorded = load(name)
    const { next, send, session } = yield* makePeer("client", { streamBufferSize: 1024, dialect })
    const opening = yield* Effect.fork(session.open())
    expect(yield* next).toEqual({ _tag: "Syn", id: 1 })
    for (const { frame, from } of recorded) if (from === "server") yield* send(frame)
    yield* send(Frame.encode({ _tag: "Fin", id: 1 }))
    return { recorded, opening } as const
  })

describe("recorded conversations of Go peers", () => {
  // The overflow is what must not happen: its own tests are below.
  for (const name of names.filter((name) => !name.includes("overflow"))) {
    for (const role of ["client", "server"] as const) {
      for (const dialect of ["auto", "off"] as const) {
        it.scoped(`Session as ${role} replays the conversation of ${name}, dialect ${dialect}`, () =>
          Effect.gen(function*() {
            const { hear, ids, other, playing, recorded, sent, session } = yield* replay(name, role, dialect)
            const ended = () => sent.filter(({ _tag }) => _tag === "Fin").length
            while (ended() < ids.length) yield* hear
            const read = new Map(yield* Fiber.join(playing))
            for (const id of ids) {
              expect(read.get(id)).toEqual(bytesOf(recorded, other, id))
              const ours = sent.flatMap((frame) => frame._tag === "Dat" && frame.id === id ? [frame.payload] : [])
              expect(concat(ours)).toEqual(bytesOf(recorded, role, id))
            }
            // Without the dialect, a session ignores records as Go does. Frames for a stream that is over count, too.
            const records = recorded.filter(({ frame, from }) => from === other && isRecord(frame))
            if (dialect === "off" && records.length > 0) {
              const late = yield* countIgnored(name, role)
              expect((yield* session.snapshot).counters.ignoredFrames).toBe(records.length + late)
            }
          }))
      }
    }
  }

  for (const name of names.filter((name) => !/hello|overflow/.test(name))) {
    for (const role of ["client", "server"] as const) {
      it.scoped(`Session as ${role} sends the same frames with and without the dialect in ${name}`, () =>
        Effect.gen(function*() {
          const sentBy = (dialect: "auto" | "off") =>
            Effect.gen(function*() {
              const { hear, ids, playing, sent } = yield* replay(name, role, dialect)
              while (sent.filter(({ _tag }) => _tag === "Fin").length < ids.length) yield* hear
              yield* Fiber.join(playing)
              return sent
            })
          expect(yield* sentBy("auto")).toEqual(yield* sentBy("off"))
        }))
    }
  }

  it("each recorded conversation has a companion with HELLO that carries as many bytes", () => {
    const originals = names.filter((name) => !name.startsWith("hello-"))
    expect(new Set(companions.map(({ original }) => original))).toEqual(new Set(originals))
    for (const { name, original } of companions) {
      const [some, others] = [load(name), load(original)]
      expect(some.some(({ frame }) => isRecord(frame)), name).toBe(true)
      for (const from of ["client", "server"] as const) {
        for (const id of [1, 3, 5]) expect(bytesOf(some, from, id).length).toBe(bytesOf(others, from, id).length)
      }
    }
  })

  for (
    const [name, dialect] of [
      ["asymmetric-overflow.json", "auto"],
      ["asymmetric-overflow.json", "off"],
      ["hello-asymmetric-overflow.json", "off"]
    ] as const
  ) {
    it.scoped(`Session as client, dialect ${dialect}, loses no bytes of ${name} when the server overruns it`, () =>
      Effect.gen(function*() {
        const { opening, recorded } = yield* overrun(name, dialect)
        expect(yield* readAll(yield* Fiber.join(opening))).toEqual(bytesOf(recorded, "server", 1))
      }))
  }

  it.scoped("Session as client fails with NoCapacity when a server overruns it in spite of a HELLO", () =>
    Effect.gen(function*() {
      const { opening, recorded } = yield* overrun("hello-asymmetric-overflow.json", "auto")
      const stream = yield* Fiber.join(opening)
      expect(yield* readSome(stream)).toEqual(bytesOf(recorded, "server", 1).subarray(0, 1024))
      expect(yield* Effect.flip(stream.read)).toMatchObject({ _tag: "NoCapacity" })
    }))

  it.scoped("Session as server sends what the HELLO of the client allows when its own window is larger", () =>
    Effect.gen(function*() {
      const { frames, send, session } = yield* makePeer("server", { streamBufferSize: 4096 })
      const recorded = load("hello-asymmetric-overflow.json").filter(({ from }) => from === "client")
      yield* send(...recorded.slice(0, 2).map(({ frame }) => frame)) // HELLO and SYN
      const stream = yield* session.accept
      yield* Effect.forkScoped(stream.write(new Uint8Array(6000)))
      expect((yield* frames).map((frame) => frame._tag === "Dat" ? frame.payload.byteLength : frame)).toEqual([
        { _tag: "Ack", id: 1, credit: 4096 },
        1024
      ])
    }))

  for (const [initialSendCredit, first] of [[undefined, 4096], [1024, 1024]] as const) {
    it.scoped(`Session as server sends ${first} bytes at once with initialSendCredit ${initialSendCredit}`, () =>
      Effect.gen(function*() {
        const { frames, send, session } = yield* makePeer("server", { streamBufferSize: 4096, initialSendCredit })
        yield* send({ _tag: "Syn", id: 1 })
        const stream = yield* session.accept
        yield* Effect.forkScoped(stream.write(new Uint8Array(6000)))
        const [accepted, data, ...more] = yield* frames
        expect(accepted).toEqual({ _tag: "Ack", id: 1, credit: 4096 })
        expect(data?._tag === "Dat" && data.payload.byteLength).toBe(first)
        expect(more).toEqual([])
      }))
  }
})
