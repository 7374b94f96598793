import { describe, expect, it } from "@effect/vitest"
import * as NodeDuplex from "effect-wsmux/NodeDuplex"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import { readFileSync } from "node:fs"
import * as Http from "node:http"
import * as Https from "node:https"
import type { Duplex } from "node:stream"
import * as Tls from "node:tls"
import { bytes, concat } from "../../../support/bytes.js"
import { duplexPair } from "../../../support/duplexPair.js"
import { quiet, quietly } from "../../../support/observe.js"
import { ack, dat, makePeer } from "../../../support/scriptedPeer.js"
import { makeSessions } from "../../../support/sessions.js"
import { eventually, standstill } from "../../../support/transports.js"

const fixture = (name: string) => readFileSync(new URL(`../../../fixtures/tls/${name}`, import.meta.url))
const head = "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n"

/** The bytes of a scripted server: `output` holds the bytes that it sends, and `hear` takes those that it receives. */
interface Speaker {
  readonly get: (options: Http.RequestOptions, listener: (answer: Http.IncomingMessage) => void) => Http.ClientRequest
  readonly agent: (session: Parameters<typeof NodeDuplex.agent>[0]) => ReturnType<typeof NodeDuplex.agent>
  readonly make: () => { readonly plain: Duplex; readonly wire: Duplex }
}

const speakers: Readonly<Record<string, Speaker>> = {
  http: {
    get: Http.get,
    agent: (session) => NodeDuplex.agent(session, { keepAlive: true }),
    make: () => {
      const [plain, wire] = duplexPair()
      return { plain, wire }
    }
  },
  https: {
    get: Https.get,
    agent: (session) => NodeDuplex.httpsAgent(session, { keepAlive: true, rejectUnauthorized: false }),
    make: () => {
      const [near, wire] = duplexPair()
      const secureContext = Tls.createSecureContext({ cert: fixture("cert.pem"), key: fixture("key.pem") })
      const plain = new Tls.TLSSocket(near, { isServer: true, secureContext })
      return { plain: plain.on("error", () => {}), wire }
    }
  }
}

/** The errors that a connection of the agent emits without a listener. Each would end the process. */
const watchErrors = (agent: Http.Agent): Array<unknown> => {
  const unheard: Array<unknown> = []
  const create = agent.createConnection.bind(agent)
  agent.createConnection = (...args) => {
    const socket = create(...args)!
    const emit = socket.emit.bind(socket) as (event: string, ...args: ReadonlyArray<unknown>) => boolean
    socket.emit = (event: string, ...args: ReadonlyArray<unknown>) => {
      if (event !== "error" || socket.listenerCount("error") > 0) return emit(event, ...args)
      unheard.push(args[0])
      return false
    }
    return socket
  }
  return unheard
}

/** A request that a scripted server has answered except for the last byte. `last` is that byte on the stream. */
const makeAnswered = (speaker: Speaker) =>
  Effect.gen(function*() {
    const peer = yield* makePeer("client", { ...quiet, streamBufferSize: 64 * 1024 })
    const agent = yield* speaker.agent(peer.session)
    const unheard = watchErrors(agent)
    const { plain, wire } = speaker.make()
    const said: Array<Uint8Array> = []
    wire.on("data", (chunk: Uint8Array) => said.push(chunk))
    const take = () => concat(said.splice(0))
    const client = { body: "", ended: false, failed: false }
    const request = speaker.get({ host: "inside", agent }, (answer) => {
      answer.setEncoding("utf8").on("data", (text) => client.body += text)
      answer.on("end", () => client.ended = true).on("error", () => client.failed = true)
    })
    request.on("error", () => client.failed = true)
    yield* eventually(() => Object.keys(agent.sockets).length > 0)
    yield* peer.next
    yield* peer.send(ack(1, 64 * 1024))
    let asked = ""
    plain.on("data", (chunk: Uint8Array) => asked += String(chunk))
    const relay = Effect.gen(function*() {
      for (const frame of yield* peer.frames) if (frame._tag === "Dat") wire.write(frame.payload)
      yield* Effect.sleep(0)
      const bytes = take()
      if (bytes.byteLength > 0) yield* peer.send(dat(1, bytes))
    })
    yield* Effect.repeat(relay, { until: () => asked.endsWith("\r\n\r\n") })
    plain.write(`${head}hell`)
    yield* Effect.repeat(relay, { until: () => client.body === "hell" })
    plain.write("o")
    yield* eventually(() => said.length > 0)
    return { ...peer, client, unheard, agent, last: dat(1, take()) }
  })

describe("NodeDuplex.agent", () => {
  it.scopedLive("NodeDuplex.agent listens to the error of an upgraded connection when it is lost", () =>
    Effect.gen(function*() {
      const { client, pair, server } = yield* makeSessions(quietly())
      const behind = Http.createServer().on("upgrade", (_, socket: Duplex) => {
        socket.write("HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: test\r\n\r\n")
      })
      yield* Effect.fork(NodeDuplex.serve(server, behind))
      const agent = yield* NodeDuplex.agent(client)
      const unheard = watchErrors(agent)
      const socket = yield* Effect.async<Duplex>((resume) => {
        Http.get({ host: "inside", agent, headers: { connection: "upgrade", upgrade: "test" } })
          .on("upgrade", (_, socket) => resume(Effect.succeed(socket)))
      })
      yield* pair.cut
      socket.resume()
      yield* eventually(() => socket.closed)
      expect(unheard).toEqual([])
    }))

  it.scopedLive("NodeDuplex.httpsAgent releases the stream when the TLS options are invalid", () =>
    Effect.gen(function*() {
      const { client, server } = yield* makeSessions(quietly())
      yield* Effect.fork(server.run(() => Effect.never))
      const agent = yield* NodeDuplex.httpsAgent(client)
      const options: Https.RequestOptions = { host: "inside", agent, cert: fixture("cert.pem"), key: "no key" }
      expect(() => Https.get(options)).toThrow()
      yield* standstill(() => Object.keys(agent.sockets).length)
      expect((yield* client.snapshot).streams).toEqual([])
    }))

  for (const [name, speaker] of Object.entries(speakers)) {
    for (
      const [what, end] of [
        [
          "a close frame",
          (peer: Effect.Effect.Success<ReturnType<typeof makeAnswered>>) =>
            peer.transport.close(1000, "", Duration.zero)
        ],
        [
          "a malformed frame",
          (peer: Effect.Effect.Success<ReturnType<typeof makeAnswered>>) => peer.send(bytes("none"))
        ]
      ] as const
    ) {
      it.scopedLive(
        `an ${name} connection meets no unheard error when ${what} comes with the last byte`,
        () =>
          Effect.gen(function*() {
            const peer = yield* makeAnswered(speaker)
            yield* Effect.zipRight(peer.send(peer.last), end(peer))
            yield* eventually(() => peer.client.ended || peer.client.failed)
            yield* eventually(() => Object.keys(peer.agent.sockets).length === 0)
            yield* standstill(() => Object.keys(peer.agent.freeSockets).length)
            expect(peer.unheard).toEqual([])
            expect(peer.client).toEqual({ body: "hello", ended: true, failed: false })
            expect(peer.agent.freeSockets).toEqual({})
          }),
        10_000
      )
    }
  }
})
