import { describe, expect, it } from "@effect/vitest"
import { isMuxStream, type MuxStream, TypeId, withOperations } from "effect-wsmux/MuxStream"
import * as NodeDuplex from "effect-wsmux/NodeDuplex"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import { inspect } from "node:util"
import { bytes, text } from "../../support/bytes.js"
import { makeSessions, makeStreams, readAll } from "../../support/sessions.js"
import { patience, within } from "../../support/within.js"

describe("MuxStream.withOperations", () => {
  it.scoped("MuxStream.withOperations uses the given operations, and those of the stream for the rest", () =>
    Effect.gen(function*() {
      const { far, near } = yield* makeStreams()
      let counted = 0
      const counting = withOperations(near, {
        write: (chunk) => Effect.tap(near.write(chunk), () => Effect.sync(() => counted += chunk.byteLength))
      })
      expect([isMuxStream(counting), counting.id, counting.remoteAddress]).toEqual([true, near.id, near.remoteAddress])
      yield* counting.write(bytes("hello"))
      yield* counting.end
      expect(counted).toBe(5)
      expect(text(yield* readAll(far))).toBe("hello")
      yield* far.write(bytes("back"))
      yield* far.end
      expect(text(yield* readAll(counting))).toBe("back")
    }))

  it.scoped("MuxStream.withOperations keeps each operation of the stream", () =>
    Effect.gen(function*() {
      const { near } = yield* makeStreams()
      const members = Object.entries(Object.getOwnPropertyDescriptors(Object.getPrototypeOf(near)))
        .flatMap(([name, { get }]) => get === undefined ? [] : [name])
      expect(Object.keys(withOperations(near, {})).sort()).toEqual(members.sort())
    }))
})

describe("isMuxStream", () => {
  it.scoped("isMuxStream is false for a spread copy of a stream", () =>
    Effect.gen(function*() {
      const { near } = yield* makeStreams()
      expect([isMuxStream(near), isMuxStream({ ...near })]).toEqual([true, false])
    }))

  const lose: ReadonlyArray<readonly [what: string, take: (stream: MuxStream) => MuxStream, why: RegExp]> = [
    ["all operations", (stream) => ({ ...stream }) as unknown as MuxStream, /^cannot use the value: not a MuxStream /],
    [
      "some operations",
      ({ localAddress, read, remoteAddress }) =>
        ({ [TypeId]: TypeId, read, localAddress, remoteAddress }) as unknown as MuxStream,
      /has no operation \w+: /
    ]
  ]
  for (const [what, take, why] of lose) {
    it.scoped(`NodeDuplex fails and names MuxStream.withOperations when a copy lost ${what}`, () =>
      Effect.gen(function*() {
        const { near } = yield* makeStreams()
        const makers = [
          NodeDuplex.fromMuxStream(take(near)),
          NodeDuplex.open({ open: () => Effect.succeed(take(near)) })
        ]
        for (const make of makers) {
          const failed = yield* Deferred.make<Error>()
          const duplex = yield* Effect.map(
            make,
            (duplex) => duplex.on("error", (error) => Deferred.unsafeDone(failed, Effect.succeed(error)))
          )
          duplex.write("hello")
          const { message } = yield* Deferred.await(failed).pipe(within(patience, "the failure of the duplex"))
          expect(message).toMatch(why)
          expect(message).toContain("MuxStream.withOperations")
        }
      }))
  }
})

describe("MuxStream and Session", () => {
  it.scoped("MuxStream prints its state and its peer", () =>
    Effect.gen(function*() {
      const { near } = yield* makeStreams()
      const shown = {
        _id: "effect-wsmux/MuxStream",
        id: 1,
        state: "Open",
        bufferedBytes: 0,
        receiveCredit: 1024,
        sendCredit: 1024,
        waitingBytes: 0,
        remoteAddress: "memory:server"
      }
      expect(JSON.parse(JSON.stringify(near))).toMatchObject(shown)
      expect(inspect(near)).toContain("state: 'Open'")
      expect(`${near}`).toContain("\"state\": \"Open\"")
    }))

  it.scoped("Session prints its role, addresses and counters, and hides its principal", () =>
    Effect.gen(function*() {
      const { client } = yield* makeSessions()
      yield* client.close
      expect(JSON.parse(JSON.stringify(client))).toMatchObject({
        _id: "effect-wsmux/Session",
        role: "client",
        address: "memory:client",
        remoteAddress: "memory:server",
        closed: true,
        streams: 0,
        counters: { opened: 0 }
      })
      expect(inspect({ ...client, principal: "secret" })).toContain("role: 'client'")
      expect(inspect({ ...client, principal: "secret" })).not.toContain("secret")
      expect(String(client)).toContain("\"role\": \"client\"")
    }))
})
