import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Queue from "effect/Queue"
import * as TestClock from "effect/TestClock"
import { bytes, text } from "../../support/bytes.js"
import { makeResumableStream, makeServer } from "../../support/resumable.js"
import { syn } from "../../support/scriptedPeer.js"
import { readSome, settle } from "../../support/sessions.js"
import { makeStranger, resumableHello } from "../../support/stranger.js"

const beat = { keepAliveInterval: "1 second" } as const
const beating = { client: beat, server: beat }

const seconds = (count: number) => Effect.forEach(Array.from({ length: count }), () => TestClock.adjust("1 second"))

for (const ping of [true, false]) {
  describe(`the keep-alive of a resumable session with pings of ${ping ? "its transport" : "records"}`, () => {
    const options = { ...beating, link: { ping } }

    it.scoped(`the keep-alive rests while the session is suspended, ping ${ping}`, () =>
      Effect.gen(function*() {
        const { client, cut, far, near, network, peer } = yield* makeResumableStream(options)
        yield* seconds(3)
        network.isDown = true
        yield* cut
        yield* seconds(90)
        network.isDown = false
        yield* seconds(20)
        yield* near.write(bytes("alive"))
        expect(text(yield* readSome(far))).toBe("alive")
        for (const session of [client, peer]) {
          expect((yield* session.snapshot).resumption).toMatchObject({ state: "connected", resumed: 1 })
        }
      }))

    it.scoped(`the keep-alive drops a silent WebSocket, and the next one as well, ping ${ping}`, () =>
      Effect.gen(function*() {
        const { client, far, links, near } = yield* makeResumableStream(options)
        for (const resumed of [1, 2]) {
          const link = links[links.length - 1]!
          yield* link.stall("server")
          yield* near.write(bytes(`write ${resumed}`))
          expect(text(yield* readSome(far))).toBe(`write ${resumed}`)
          yield* far.write(bytes(`answer ${resumed}`))
          yield* seconds(3)
          expect(text(yield* readSome(near))).toBe(`answer ${resumed}`)
          expect((yield* client.snapshot).resumption).toMatchObject({ state: "connected", resumed })
          expect(link.client.pollWritable()).toBe(false)
        }
      }))

    it.scoped(`the keep-alive tells in the snapshot when it has dropped a silent WebSocket, ping ${ping}`, () =>
      Effect.gen(function*() {
        const { client, cut, links, network, peer } = yield* makeResumableStream(options)
        const lost = Effect.map(peer.snapshot, ({ resumption }) => [resumption?.state, resumption?.wasSilent])
        network.isDown = true
        yield* links[0]!.stall("client")
        yield* seconds(2)
        expect(yield* lost).toEqual(["suspended", true])
        network.isDown = false
        yield* seconds(20)
        expect(yield* lost).toEqual(["connected", false])
        network.isDown = true
        yield* cut
        expect(yield* lost).toEqual(["suspended", false])
        expect((yield* client.snapshot).resumption?.wasSilent).toBe(false)
      }))

    it.scoped(`the keep-alive goes on after 20 changes of the WebSocket, ping ${ping}`, () =>
      Effect.gen(function*() {
        const { client, cut, peer } = yield* makeResumableStream(options)
        for (let n = 0; n < 20; n++) {
          yield* TestClock.adjust(700)
          yield* cut
        }
        yield* seconds(10)
        for (const session of [client, peer]) {
          expect((yield* session.snapshot).resumption).toMatchObject({ state: "connected", resumed: 20 })
        }
      }))
  })
}

describe("ResumableTransport", () => {
  it.scoped("ResumableTransport.ping hears no answer of a WebSocket that was lost", () =>
    Effect.gen(function*() {
      const { links, transport } = yield* makeResumableStream({ client: { keepAliveInterval: Infinity } })
      const heard: Array<string> = []
      const first = links[0]!.client as { ping: (answered: () => void) => void }
      let answer = () => {}
      first.ping = (answered) => {
        answer = answered
      }
      transport.ping!(() => heard.push("old"))
      yield* links[0]!.cut
      yield* settle
      transport.ping!(() => heard.push("new"))
      answer()
      yield* settle
      expect(heard).toEqual(["new"])
    }))

  it.scoped("the keep-alive ends a session that cannot resume when its peer is silent", () =>
    Effect.gen(function*() {
      const { client, links } = yield* makeResumableStream({ ...beating, client: { ...beat, dialect: "off" } })
      yield* links[0]!.stall("server")
      yield* seconds(3)
      expect((yield* client.awaitClosed)._tag).toBe("KeepAliveExpired")
    }))

  it.scoped("the keep-alive suspends an accepting end for 10 s when its silent client was never heard", () =>
    Effect.gen(function*() {
      const server = yield* makeServer({ server: beat })
      const old = yield* makeStranger(server)
      const session = yield* Queue.take(server.accepted)
      yield* server.links[0]!.stall("client")
      yield* seconds(2)
      expect((yield* session.snapshot).resumption).toMatchObject({ state: "suspended", resumed: 0 })
      yield* seconds(8)
      const next = yield* makeStranger(server)
      yield* next.resume(old.offer())
      yield* next.send(resumableHello, syn(1))
      expect((yield* session.snapshot).streams.map(({ id }) => id)).toEqual([1])
    }))

  it.scoped("the keep-alive gives an accepting end up when its client does not come within 10 s", () =>
    Effect.gen(function*() {
      const server = yield* makeServer({ server: beat })
      yield* makeStranger(server)
      const session = yield* Queue.take(server.accepted)
      yield* server.links[0]!.stall("client")
      yield* seconds(13)
      expect(yield* session.awaitClosed).toMatchObject({ _tag: "TransportFailure", cause: { reason: "GraceExpired" } })
    }))

  it.scoped("ResumableTransport.renew counts once when it is called twice", () =>
    Effect.gen(function*() {
      const { client, far, near, transport } = yield* makeResumableStream({
        client: { keepAliveInterval: Infinity },
        server: { keepAliveInterval: Infinity }
      })
      expect([transport.renew!(), transport.renew!()]).toEqual([true, true])
      yield* settle
      yield* near.write(bytes("after"))
      expect(text(yield* readSome(far))).toBe("after")
      expect((yield* client.snapshot).resumption).toMatchObject({ state: "connected", resumed: 1 })
    }))
})
