import { describe, expect, it } from "@effect/vitest"
import * as NodeTransport from "effect-wsmux/NodeTransport"
import * as Session from "effect-wsmux/Session"
import { Transport } from "effect-wsmux/Transport"
import * as Effect from "effect/Effect"
import * as Tcp from "../../e2e/cli/tcp.js"
import { connect, logged, serve } from "../../e2e/cli/wsmux.js"
import { bytes, text } from "../../support/bytes.js"
import { programs } from "../../support/programs.js"
import { readSome } from "../../support/sessions.js"
import { acceptWsServer } from "../../support/transports.js"
import { exhaust, starve } from "./limits.js"
import { startPeer } from "./process.js"
import { FaultProxy } from "./proxy.js"

const setting = { service: "echo", keepAliveInterval: 20_000 } as const

const dial = (url: string) =>
  Effect.flatMap(
    NodeTransport.connect(url),
    (transport) => Effect.provideService(Session.makeClient(), Transport, transport)
  )

/** Sends words to an echo on a new stream, and completes with the answer. */
const ask = (session: Session.Session, words: string) =>
  Effect.scoped(Effect.gen(function*() {
    const stream = yield* session.open()
    yield* stream.write(bytes(words))
    return text(yield* readSome(stream))
  }))

/** Sends words to an echo through a tunnel, and completes with the answer and the end of the connection. */
const askTunnel = (port: number, words: string) =>
  Effect.scoped(Effect.gen(function*() {
    const peer = yield* Tcp.connect(port)
    yield* Effect.ignore(peer.write(words))
    yield* peer.end
    const answer = yield* peer.over
    return { how: answer.how, said: text(answer.bytes) }
  }))

describe.runIf(programs.prlimit !== undefined)("a process without free file descriptors", () => {
  it.scopedLive("server keeps its sessions, refuses new ones and recovers when file descriptors run out", () =>
    Effect.gen(function*() {
      const peer = yield* startPeer(setting)
      const session = yield* dial(peer.url)
      expect(yield* ask(session, "before")).toBe("before")
      const free = yield* exhaust(peer.pid)
      for (let i = 0; i < 3; i++) {
        expect(yield* Effect.flip(dial(peer.url))).toMatchObject({ _tag: "ConnectFailure", reason: "Unreachable" })
      }
      expect(yield* ask(session, "while")).toBe("while")
      yield* free
      expect(yield* ask(yield* dial(peer.url), "after")).toBe("after")
      expect(yield* ask(session, "and still")).toBe("and still")
    }))

  it.scopedLive("server lets a dial wait when it has no file descriptor even to refuse it", () =>
    Effect.gen(function*() {
      const peer = yield* startPeer(setting)
      const session = yield* dial(peer.url)
      const free = yield* starve(peer.pid)
      const waiting = yield* Effect.fork(dial(peer.url))
      expect(yield* ask(session, "while")).toBe("while")
      expect(waiting.unsafePoll()).toBe(null)
      yield* free
      expect(yield* ask(yield* waiting, "after")).toBe("after")
    }))

  it.scopedLive("NodeTransport.connect fails with ConnectFailure when file descriptors run out", () =>
    Effect.gen(function*() {
      const { accepted, url } = yield* acceptWsServer()
      const peer = yield* startPeer(setting)
      const free = yield* exhaust(peer.pid)
      yield* peer.dial(url)
      expect(yield* peer.next("failed")).toEqual({
        event: "failed",
        tag: "ConnectFailure",
        reason: "Unreachable",
        code: "EMFILE"
      })
      yield* free
      yield* peer.dial(url)
      yield* peer.next("dialled")
      const session = yield* Effect.provideService(Session.makeServer(), Transport, yield* accepted)
      expect(yield* ask(session, "after")).toBe("after")
    }))

  it.scopedLive("wsmux serve ends only the connections that it cannot forward when descriptors run out", () =>
    Effect.gen(function*() {
      const server = yield* serve(yield* Tcp.echo)
      const client = yield* connect(server.url)
      const open = yield* Tcp.connect(client.port)
      yield* open.write("before")
      yield* open.received(6)
      const free = yield* exhaust(server.pid)
      expect(yield* askTunnel(client.port, "in vain")).toMatchObject({ said: "" })
      yield* server.awaitLine(/cannot reach .*: connect EMFILE/)
      yield* open.write(", while")
      yield* open.received(13)
      yield* free
      expect(yield* askTunnel(client.port, "after")).toEqual({ how: "end", said: "after" })
      yield* open.end
      expect(text((yield* open.over).bytes)).toBe("before, while")
      expect(logged(server, "WARN").length).toBe(1)
    }))

  it.scopedLive("wsmux connect ends new connections and recovers when file descriptors run out", () =>
    Effect.gen(function*() {
      const server = yield* serve(yield* Tcp.echo)
      const client = yield* connect(server.url)
      const open = yield* Tcp.connect(client.port)
      yield* open.write("before")
      yield* open.received(6)
      const free = yield* exhaust(client.pid)
      expect(yield* askTunnel(client.port, "in vain")).toMatchObject({ said: "" })
      yield* open.write(", while")
      yield* open.received(13)
      yield* free
      expect(yield* askTunnel(client.port, "after")).toEqual({ how: "end", said: "after" })
    }))

  it.scopedLive("wsmux connect --reconnect dials until it has a file descriptor when they run out", () =>
    Effect.gen(function*() {
      const server = yield* serve(yield* Tcp.echo)
      const proxy = yield* FaultProxy.make(Number(new URL(server.url).port))
      const client = yield* connect(`ws://127.0.0.1:${proxy.port}`, ["--reconnect"])
      const free = yield* starve(client.pid)
      proxy.lose("reset")
      yield* client.awaitLine(/cannot connect to .*: connect EMFILE/)
      yield* free
      expect(yield* askTunnel(client.port, "after")).toEqual({ how: "end", said: "after" })
    }))
})
