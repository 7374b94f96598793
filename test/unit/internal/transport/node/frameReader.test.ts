import { describe, expect, it } from "@effect/vitest"
import * as fc from "effect/FastCheck"
import * as Ws from "ws"
import { SharedBudget } from "../../../../../src/internal/budget/sharedBudget.js"
import { BoundedByteQueue } from "../../../../../src/internal/recv/boundedByteQueue.js"
import { type Fault, FrameReader, maxFragments } from "../../../../../src/internal/transport/node/frameReader.js"
import { neverDrains, type Parser } from "../../../../../src/internal/transport/node/wsInternals.js"
import { pattern } from "../../../../support/bytes.js"
import { encodeFrame, type WebSocketFrame } from "../../../../support/webSocketFrames.js"

/** The parser of `ws`, which the types of the package leave out. */
const { Receiver } = Ws as unknown as { readonly Receiver: new(options: object) => Parser }

const limit = 100_000

/** Returns the events of a parser in order. */
const listenTo = (parser: Parser): Array<string> => {
  const told: Array<string> = []
  for (const event of ["message", "ping", "pong"]) {
    parser.on(event, (data: Buffer, isBinary?: boolean) => told.push(`${event} ${isBinary} ${data.toString("base64")}`))
  }
  parser.on("conclude", (code: number) => told.push(`close ${code}`))
  parser.on("error", (error: Error) => told.push(error.message))
  return told
}

/** A listener that notes each message in the format of `listenTo`. */
const noting = (told: Array<string>) => ({
  receiver: {
    onMessage: (message: Uint8Array) => told.push(`message true ${Buffer.from(message).toString("base64")}`),
    onText: () => {}
  }
})

const makeReader = (masked: boolean, budget = new SharedBudget(1e9)) => {
  const parser = new Receiver({ isServer: masked, maxPayload: limit })
  const told = listenTo(parser)
  const faults: Array<Fault> = []
  const reader = new FrameReader(parser, {
    masked,
    limit,
    listeners: noting(told),
    refuse: (fault) => faults.push(fault),
    share: budget.join()
  })
  return { parser, told, faults, reader, budget }
}

/** Cuts bytes into pieces of the given sizes. The test overwrites the memory of each piece afterwards. */
const feed = (reader: FrameReader, bytes: Buffer, cuts: ReadonlyArray<number>): void => {
  let at = 0
  for (let i = 0; at < bytes.length; i++) {
    const piece = Buffer.from(bytes.subarray(at, at + (cuts[i % cuts.length] ?? bytes.length)))
    reader.read(piece)
    at += piece.length
    piece.fill(0xee)
  }
}

const [continuation, text, binary, close, ping] = [0x0, 0x1, 0x2, 0x8, 0x9]

describe.each([["a server", true], ["a client", false]])("FrameReader of %s", (_role, masked) => {
  const key = masked ? Buffer.from([1, 20, 150, 255]) : undefined
  const frame = (opcode: number, payload: Uint8Array, fin = true) => encodeFrame({ opcode, payload, fin, key })

  const size = fc.oneof(fc.constantFrom(0, 1, 125, 126, 511, 512, 1023, 1025, 65535, 65536), fc.nat(3000))
  /** Whole and fragmented messages with control frames between them. */
  const conversation = fc.array(
    fc.record({
      opcode: fc.constantFrom(binary, binary, binary, text),
      fragments: fc.array(size, { minLength: 1, maxLength: 4 }),
      pings: fc.array(fc.nat(20), { maxLength: 2 })
    }),
    { minLength: 1, maxLength: 5 }
  )

  it("FrameReader emits the events of the ws parser for any pieces", () => {
    fc.assert(
      fc.property(conversation, fc.array(fc.integer({ min: 1, max: 40_000 }), { maxLength: 6 }), (messages, cuts) => {
        const frames: Array<Buffer> = []
        for (const { fragments, opcode, pings } of messages) {
          fragments.forEach((length, i) => {
            const payload = opcode === text ? Buffer.alloc(length, "x") : pattern(length, length + 1)
            frames.push(frame(i === 0 ? opcode : continuation, payload, i === fragments.length - 1))
            for (const n of pings) frames.push(frame(ping, pattern(n, n + 1)))
          })
        }
        const bytes = Buffer.concat(frames)
        const plain = new Receiver({ isServer: masked, maxPayload: limit })
        const expected = listenTo(plain)
        plain.write(Buffer.from(bytes)) // the parser unmasks in place
        fc.pre(!expected.some((event) => event.startsWith("Max payload")))
        const { faults, reader, told } = makeReader(masked)
        feed(reader, bytes, cuts)
        if (faults.length === 0) expect(told).toEqual(expected)
        else expect(faults).toEqual(["too big"])
      }),
      { numRuns: 150 }
    )
  })

  it("FrameReader stops where the ws parser stops for any frames", () => {
    const anyFrame = fc.record({
      opcode: fc.oneof(
        { weight: 8, arbitrary: fc.constantFrom(continuation, text, binary) },
        { weight: 1, arbitrary: fc.constantFrom(0x3, close, ping, 0xb) }
      ),
      fin: fc.boolean(),
      reserved: fc.oneof({ weight: 20, arbitrary: fc.constant(0) }, fc.constantFrom(0x10, 0x40)),
      isStrange: fc.oneof({ weight: 20, arbitrary: fc.constant(false) }, fc.constant(true)),
      length: fc.constantFrom(0, 1, 2, 125, 126, 700)
    })
    return fc.assert(
      fc.asyncProperty(
        fc.array(anyFrame, { minLength: 1, maxLength: 6 }),
        fc.array(fc.integer({ min: 1, max: 900 })),
        async (frames, cuts) => {
          const bytes = Buffer.concat(frames.map(({ fin, isStrange, length, opcode, reserved }) => {
            const strange = masked ? undefined : Buffer.alloc(4)
            const payload = Buffer.alloc(length, 3) // the two bytes 3, 3 are a valid close code
            const encoded = encodeFrame({ opcode, payload, fin, key: isStrange ? strange : key })
            encoded[0]! |= reserved
            return encoded
          }))
          const plain = new Receiver({ isServer: masked, maxPayload: limit })
          const expected = listenTo(plain)
          plain.write(Buffer.from(bytes))
          const { faults, reader, told } = makeReader(masked)
          feed(reader, bytes, cuts)
          await new Promise((resolve) => setImmediate(resolve))
          const isEvent = (event: string) => /^(message|ping|pong|close) /.test(event)
          expect([...told, ...faults].map((event) => isEvent(event) ? event : "given up"))
            .toEqual(expected.map((event) => isEvent(event) ? event : "given up"))
        }
      ),
      { numRuns: 150 }
    )
  })

  it("FrameReader reads frames byte by byte", () => {
    const payloads = [0, 3, 126, 700].map((length) => pattern(length))
    const { reader, told } = makeReader(masked)
    feed(reader, Buffer.concat(payloads.map((payload) => frame(binary, payload))), [1])
    expect(told).toEqual(payloads.map((payload) => `message true ${Buffer.from(payload).toString("base64")}`))
  })

  it.each<[string, ReadonlyArray<WebSocketFrame>]>([
    ["at once", [{ opcode: binary, payload: new Uint8Array(limit + 1) }]],
    ["in fragments", [
      { opcode: binary, payload: new Uint8Array(limit), fin: false },
      { opcode: continuation, payload: new Uint8Array(1) }
    ]]
  ])("FrameReader refuses a message that is too big %s, and reads no more", (_how, frames) => {
    const { faults, reader, told } = makeReader(masked)
    feed(reader, Buffer.concat([...frames.map((each) => encodeFrame({ ...each, key })), frame(ping, pattern(3))]), [])
    expect(faults).toEqual(["too big"])
    expect(told).toEqual([])
  })

  it("FrameReader refuses a message when it has too many fragments, even empty ones", () => {
    const { faults, reader } = makeReader(masked)
    reader.read(frame(binary, pattern(1), false))
    for (let i = 2; i <= maxFragments(limit); i++) reader.read(frame(continuation, new Uint8Array(0), false))
    expect(faults).toEqual([])
    reader.read(frame(continuation, new Uint8Array(0), false))
    expect(faults).toEqual(["too many fragments"])
  })

  it("FrameReader accepts a message of exactly the limit", () => {
    const { faults, reader, told } = makeReader(masked)
    feed(reader, frame(binary, new Uint8Array(limit)), [])
    expect(faults).toEqual([])
    expect(told).toHaveLength(1)
  })

  it.each([["binary", binary], ["text", text]])("FrameReader refuses a %s message within another", (_name, opcode) => {
    const { faults, reader, told } = makeReader(masked)
    feed(reader, Buffer.concat([frame(binary, pattern(9), false), frame(opcode, pattern(9))]), [])
    expect(faults).toEqual(["interrupted"])
    expect(told).toEqual([])
  })

  it("FrameReader passes malformed frames to the ws parser", async () => {
    const malformed: ReadonlyArray<[Buffer, string]> = [
      [frame(continuation, pattern(1)), "invalid opcode 0"],
      [frame(0x3, pattern(1)), "invalid opcode 3"],
      [Buffer.concat([frame(text, pattern(1), false), frame(binary, pattern(1))]), "invalid opcode 2"],
      [Buffer.concat([frame(text, pattern(1), false), frame(binary, pattern(1), false)]), "invalid opcode 2"],
      [encodeFrame({ opcode: binary, payload: pattern(1), key: masked ? undefined : Buffer.alloc(4) }), "MASK must be"],
      [Buffer.concat([Buffer.from([0xc2]), frame(binary, pattern(1)).subarray(1)]), "RSV1 must be clear"],
      [frame(ping, pattern(126)), "invalid payload length"]
    ]
    for (const [bytes, complaint] of malformed) {
      const { reader, told } = makeReader(masked)
      feed(reader, Buffer.concat([bytes, frame(binary, pattern(5))]), [])
      await new Promise((resolve) => setImmediate(resolve))
      expect(told).toEqual([expect.stringContaining(complaint)])
    }
  })

  it("FrameReader ignores bytes after a close frame", () => {
    const { reader, told } = makeReader(masked)
    const closing = frame(close, Buffer.from([0x03, 0xe8]))
    feed(reader, Buffer.concat([closing, frame(binary, pattern(5))]), [])
    feed(reader, frame(binary, pattern(5)), [])
    expect(told).toEqual(["close 1000"])
  })

  it("FrameReader takes over from the ws parser in the middle of a message", () => {
    fc.assert(
      fc.property(fc.nat(140), fc.array(fc.integer({ min: 1, max: 50 }), { maxLength: 4 }), (cut, cuts) => {
        const bytes = Buffer.concat([
          frame(binary, pattern(3), false),
          frame(ping, pattern(2)),
          frame(continuation, pattern(126), false),
          frame(continuation, pattern(4)),
          frame(text, Buffer.from("text")),
          frame(binary, pattern(5)),
          frame(binary, pattern(700))
        ])
        const plain = new Receiver({ isServer: masked })
        const expected = listenTo(plain)
        plain.write(Buffer.from(bytes))
        const parser = new Receiver({ isServer: masked })
        const told = listenTo(parser)
        parser.write(Buffer.from(bytes.subarray(0, cut)))
        const reader = new FrameReader(parser, {
          masked,
          limit,
          listeners: noting(told),
          refuse: () => {},
          share: new SharedBudget(1e6).join()
        })
        feed(reader, bytes.subarray(cut), cuts)
        expect(told).toEqual(expected)
      }),
      { numRuns: 300 }
    )
  })

  it("FrameReader books the bytes of an unfinished message until the message ends", () => {
    const { budget, faults, reader, told } = makeReader(masked)
    const message = frame(binary, pattern(300))
    const piece = (from: number, to?: number) => reader.read(Buffer.from(message.subarray(from, to)))
    piece(0, 100)
    expect([budget.used, told.length]).toEqual([300, 0])
    piece(100)
    expect([budget.used, told.length, faults]).toEqual([0, 1, []])
  })

  it("FrameReader books the bytes of an unfinished text message that the parser keeps", () => {
    const { budget, reader, told } = makeReader(masked)
    const message = Buffer.concat([
      frame(text, Buffer.from("a".repeat(200)), false),
      frame(continuation, Buffer.from("b"))
    ])
    reader.read(Buffer.from(message.subarray(0, 150)))
    expect(budget.used).toBe(200)
    reader.read(Buffer.from(message.subarray(150)))
    expect([budget.used, told.length]).toEqual([0, 1])
  })

  it("FrameReader books its bytes when it stops within an unfinished message", () => {
    const { budget, reader } = makeReader(masked)
    const frames = [frame(binary, pattern(300), false), frame(ping, pattern(1)), frame(ping, pattern(1))]
    reader.read(Buffer.concat(frames), 2)
    expect(budget.used).toBeGreaterThanOrEqual(300)
  })

  it("neverDrains keeps the parser from emitting drain when it gets large frames", async () => {
    const { parser, told } = makeReader(masked)
    neverDrains(parser)
    parser.on("drain", () => told.push("drain"))
    expect(parser.write(frame(text, Buffer.alloc(70_000, "x"), false))).toBe(true)
    await new Promise((resolve) => setImmediate(resolve))
    expect(told).toEqual([])
  })

  it("FrameReader refuses a message when all unfinished messages exceed the budget", () => {
    const { budget, faults, reader } = makeReader(masked, new SharedBudget(1000))
    expect(budget.take(800)).toBe(true)
    const message = frame(binary, pattern(600))
    reader.read(Buffer.from(message.subarray(0, 100)))
    expect([faults, budget.used]).toEqual([["no room"], 800])
  })

  it("FrameReader gives its booked bytes back when it is released", () => {
    const { budget, reader } = makeReader(masked)
    reader.read(Buffer.from(frame(binary, pattern(300)).subarray(0, 100)))
    reader.release()
    expect([budget.used, budget.holders]).toEqual([0, 0])
  })

  it("FrameReader.read stops after the given number of frames, and goes on there", () => {
    const frames = [
      frame(binary, pattern(3), false),
      frame(ping, pattern(1)),
      frame(continuation, pattern(200)),
      frame(text, Buffer.from("text")),
      frame(binary, pattern(0)),
      frame(binary, pattern(9))
    ]
    const bytes = Buffer.concat(frames)
    const { reader, told } = makeReader(masked)
    const taken: Array<number> = []
    for (let at = 0; at < bytes.length; at += taken.at(-1)!) {
      taken.push(reader.read(Buffer.from(bytes.subarray(at)), 2))
    }
    const sizes = frames.map(({ length }) => length)
    expect(taken).toEqual([sizes[0]! + sizes[1]!, sizes[2]! + sizes[3]!, sizes[4]! + sizes[5]!])
    expect(told).toHaveLength(5)
  })

  it("FrameReader delivers messages that cost a queue at most 1.25 times their bytes", () => {
    const fragments = fc.array(fc.integer({ min: 1, max: 9000 }), { minLength: 1, maxLength: 8 })
    fc.assert(
      fc.property(fc.array(fragments, { minLength: 1, maxLength: 10 }), (messages) => {
        const parser = new Receiver({ isServer: masked })
        const queue = new BoundedByteQueue()
        queue.open(1e9, 1e9)
        const reader = new FrameReader(parser, {
          masked,
          limit,
          listeners: {
            receiver: { onMessage: (message: Uint8Array) => queue.offer(message.subarray(5)), onText: () => {} }
          },
          refuse: () => {},
          share: new SharedBudget(1e9).join()
        })
        for (const sizes of messages) {
          sizes.forEach((size, i) => {
            const isLast = i === sizes.length - 1
            reader.read(frame(i === 0 ? binary : continuation, new Uint8Array(i === 0 ? size + 5 : size), isLast))
          })
        }
        const { size } = queue
        const buffers = new Set(queue.takeAll().map(({ buffer }) => buffer))
        const held = [...buffers].reduce((sum, { byteLength }) => sum + byteLength, 0)
        expect(held).toBeLessThanOrEqual(1.25 * size + 64)
      }),
      { numRuns: 200 }
    )
  })

  it("FrameReader keeps at most four times the bytes of an unfinished message", () => {
    const started = frame(binary, pattern(65536)).subarray(0, 2000)
    const readers = Array.from({ length: 500 }, () => makeReader(masked).reader)
    const before = process.memoryUsage().arrayBuffers
    for (const reader of readers) reader.read(started)
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(500 * 4 * 2000 + 1e6)
    expect(readers).toHaveLength(500)
  })
})
