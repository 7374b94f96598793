import { describe, expect, it } from "@effect/vitest"
import * as WebSocketTransport from "effect-wsmux/WebSocketTransport"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import { errorOf } from "../../../../src/internal/transport/standardTransport.js"
import { listen } from "../../../support/transportSuite.js"

/** A WebSocket with as few members as a runtime gives to an accepted one. The test emits its events. */
const makeBare = (more: Readonly<Record<string, unknown>> = {}) => {
  const events = new EventTarget()
  const sent: Array<unknown> = []
  const closes: Array<ReadonlyArray<unknown>> = []
  const ws = Object.assign(events, {
    readyState: 1,
    send: (data: unknown) => sent.push(data),
    close: (...args: ReadonlyArray<unknown>) => closes.push(args),
    ...more
  })
  const emit = (type: string, event: object = {}) => events.dispatchEvent(Object.assign(new Event(type), event))
  return { ws, emit, sent, closes, standard: ws as unknown as globalThis.WebSocket }
}

describe("StandardTransport", () => {
  it.scopedLive("StandardTransport answers a close frame when the runtime leaves that to the program", () =>
    Effect.gen(function*() {
      const { closes, emit, standard, ws } = makeBare()
      const events = yield* listen(yield* WebSocketTransport.fromWebSocket(standard))
      ws.readyState = 2
      emit("close", { code: 4321, reason: "the reason" })
      expect(yield* events.ended).toMatchObject({ code: 4321, reason: "the reason" })
      expect(closes).toEqual([[]])
    }))

  it.scopedLive("StandardTransport delivers the end when the runtime throws at the answer to a close", () =>
    Effect.gen(function*() {
      const { emit, standard, ws } = makeBare()
      const events = yield* listen(yield* WebSocketTransport.fromWebSocket(standard))
      Object.assign(ws, {
        readyState: 2,
        close: () => {
          throw new Error("closed already")
        }
      })
      emit("close", { code: 1000, reason: "" })
      expect(yield* events.ended).toMatchObject({ code: 1000 })
      ws.readyState = 3
    }))

  it.scopedLive("StandardTransport answers no close frame when the runtime has done so", () =>
    Effect.gen(function*() {
      const { closes, emit, standard, ws } = makeBare()
      const events = yield* listen(yield* WebSocketTransport.fromWebSocket(standard))
      ws.readyState = 3
      emit("close", { code: 1000, reason: "" })
      yield* events.ended
      expect(closes).toEqual([])
    }))

  for (const code of [0, undefined]) {
    it.scopedLive(`StandardTransport reports a loss when the runtime closes with the code ${code}`, () =>
      Effect.gen(function*() {
        const { emit, standard, ws } = makeBare()
        const events = yield* listen(yield* WebSocketTransport.fromWebSocket(standard))
        ws.readyState = 3
        emit("close", { code, reason: "" })
        expect(yield* events.ended).toMatchObject({ code: 1006 })
      }))
  }

  it.scopedLive("StandardTransport delivers one end when an error comes behind the close", () =>
    Effect.gen(function*() {
      const { emit, standard, ws } = makeBare()
      const events = yield* listen(yield* WebSocketTransport.fromWebSocket(standard))
      ws.readyState = 3
      emit("close", { code: 1006, reason: "" })
      emit("error", { message: "late" })
      emit("message", { data: new ArrayBuffer(1) })
      emit("close", { code: 1000, reason: "" })
      expect(events.told).toEqual(["close"])
    }))

  it.scopedLive("StandardTransport keeps a message that comes before the open event", () =>
    Effect.gen(function*() {
      const { emit, standard, ws } = makeBare({ readyState: 0 })
      const dialling = yield* Effect.fork(WebSocketTransport.fromWebSocket(standard))
      yield* Effect.yieldNow()
      emit("message", { data: new ArrayBuffer(5) })
      ws.readyState = 1
      emit("open")
      const events = yield* listen(yield* dialling.await.pipe(Effect.flatten))
      expect((yield* events.next).byteLength).toBe(5)
    }))

  it.live("WebSocketTransport.fromWebSocket closes a socket that it cannot use, and dies", () =>
    Effect.gen(function*() {
      const defect = new TypeError("no such listener")
      const { closes, standard } = makeBare({
        addEventListener: () => {
          throw defect
        }
      })
      const exit = yield* Effect.exit(Effect.scoped(WebSocketTransport.fromWebSocket(standard)))
      expect(exit).toEqual(Exit.die(defect))
      expect(closes).toEqual([[4011, "an internal error"]])
    }))

  for (const event of [{}, { message: "" }, { message: "", error: undefined }, { error: null }]) {
    it(`errorOf has a text of its own when the event of a runtime has ${JSON.stringify(event)}`, () => {
      expect(errorOf(Object.assign(new Event("error"), event))).toEqual(new Error("the socket failed"))
    })
  }

  it("errorOf has a text of its own when the error of a runtime has an empty message", () => {
    expect(errorOf(Object.assign(new Event("error"), { error: new TypeError("") }))).toEqual(
      new Error("the socket failed")
    )
  })

  it("errorOf returns the error of a runtime when that has a message", () => {
    const error = new Error("connect ECONNREFUSED")
    expect(errorOf(Object.assign(new Event("error"), { error }))).toBe(error)
  })

  it("errorOf hides secrets when a runtime quotes the URL", () => {
    const error = new Error("WebSocket connection to 'ws://user:secret@host/?token=secret' failed: no route")
    expect(errorOf(Object.assign(new Event("error"), { error, message: error.message }))).toEqual(
      new Error("WebSocket connection to 'ws://***@host/?***' failed: no route")
    )
  })
})
