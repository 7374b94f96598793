import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { execFile } from "node:child_process"
import * as Dgram from "node:dgram"
import { Resolver } from "node:dns/promises"
import type * as Net from "node:net"
import { SocksClient, type SocksRemoteHost } from "socks"
import { programs } from "../../../support/programs.js"
import { within } from "../../../support/within.js"
import { logged } from "../wsmux.js"
import { connectWith, portFor, serveWith } from "./commands.js"

/** A socket of this machine that answers each datagram by what `answer` returns. */
const udp = (answer: (datagram: Buffer) => Uint8Array): Effect.Effect<number, never, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.async<Dgram.Socket>((resume) => {
      const socket = Dgram.createSocket("udp4")
      socket.on("message", (datagram, { address, port }) => socket.send(answer(datagram), port, address))
      socket.bind(0, "127.0.0.1", () => resume(Effect.succeed(socket)))
    }),
    (socket) => Effect.sync(() => socket.close())
  ).pipe(Effect.map((socket) => socket.address().port))

/** Sends a datagram, and awaits the answer. Sends again each second, since UDP may lose. */
const ask = (port: number, datagram: Uint8Array) =>
  Effect.async<Buffer>((resume) => {
    const socket = Dgram.createSocket("udp4")
    const send = () => socket.send(datagram, port, "127.0.0.1")
    const timer = setInterval(send, 1000)
    const stop = Effect.sync(() => {
      clearInterval(timer)
      socket.close()
    })
    socket.once("message", (answer) => resume(Effect.as(stop, answer)))
    send()
    return stop
  }).pipe(within("30 seconds", "the answer by UDP"))

/** Answers each question for an address by 192.0.2.7. */
const nameServer = (query: Buffer): Buffer => {
  const question = query.subarray(12, query.indexOf(0, 12) + 5)
  const header = Buffer.from([query[0]!, query[1]!, 0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0])
  const answer = Buffer.from([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 7])
  return Buffer.concat([header, question, answer])
}

/** The answer of `dig`, or undefined where it is not installed. */
const dig = (port: number) =>
  Effect.async<string | undefined>((resume) => {
    if (programs.dig === undefined) return resume(Effect.succeed(undefined))
    const args = ["+short", "+time=3", "@127.0.0.1", "-p", String(port), "www.example", "A"]
    execFile(programs.dig, args, (_, stdout) => resume(Effect.succeed(stdout.trim())))
  })

describe("wsmux connect -L udp:", () => {
  it.scopedLive("wsmux connect forwards queries of DNS to a name server beyond the server", () =>
    Effect.gen(function*() {
      const target = yield* udp(nameServer)
      const server = yield* serveWith(["--allow", `udp:127.0.0.1:${target}`])
      const client = yield* connectWith(server.url, ["-L", `udp:0:127.0.0.1:${target}`])
      const port = yield* portFor(client, `udp:127.0.0.1:${target}`)
      const resolver = new Resolver()
      resolver.setServers([`127.0.0.1:${port}`])
      expect(yield* Effect.promise(() => resolver.resolve4("www.example"))).toEqual(["192.0.2.7"])
      const answer = yield* dig(port)
      if (answer !== undefined) expect(answer).toBe("192.0.2.7")
    }))

  it.scopedLive("wsmux keeps the borders of datagrams of every size and the associations apart", () =>
    Effect.gen(function*() {
      const target = yield* udp((datagram) => datagram)
      const server = yield* serveWith(["--allow", `udp:localhost:${target}`])
      const client = yield* connectWith(server.url, [`0:localhost:${target}/udp`])
      const port = yield* portFor(client, `udp:localhost:${target}`)
      const sizes = [0, 1, 512, 1473, 9000, 60_000]
      const answers = yield* Effect.forEach(sizes, (size) => ask(port, new Uint8Array(size).fill(size & 255)), {
        concurrency: "unbounded"
      })
      expect(answers.map(({ length }) => length)).toEqual(sizes)
      expect(answers.map((bytes) => bytes.every((byte) => byte === (bytes.length & 255)))).toEqual(
        sizes.map(() => true)
      )
    }))

  it.scopedLive("wsmux connect tells why when the server allows the target by TCP alone", () =>
    Effect.gen(function*() {
      const server = yield* serveWith(["--allow", "*:*"])
      const client = yield* connectWith(server.url, ["-L", "udp:0:127.0.0.1:9"])
      const port = yield* portFor(client, "udp:127.0.0.1:9")
      const socket = yield* Effect.acquireRelease(
        Effect.sync(() => Dgram.createSocket("udp4")),
        (socket) => Effect.sync(() => socket.close())
      )
      socket.send("hello", port, "127.0.0.1")
      yield* client.awaitLine(/cannot forward 127\.0\.0\.1:\d+ to udp:127\.0\.0\.1:9: the server does not allow it/)
      yield* server.awaitLine(/refused a stream/)
      expect(logged(server, "WARN")).toEqual(["refused a stream to udp:127.0.0.1:9: the server does not allow it"])
    }))
})

describe("wsmux connect -R udp:", () => {
  it.scopedLive("wsmux connect forwards datagrams that reach the server", () =>
    Effect.gen(function*() {
      const target = yield* udp((datagram) => Buffer.from(datagram.toString().toUpperCase()))
      const server = yield* serveWith(["--allow-remote", "udp:*"])
      const client = yield* connectWith(server.url, ["-R", `udp:0:127.0.0.1:${target}`])
      const port = yield* portFor(client, `127.0.0.1:${target}`)
      expect((yield* ask(port, Buffer.from("hello"))).toString()).toBe("HELLO")
    }))
})

/** Asks a proxy by SOCKS 5 for a way for datagrams, as the client library of npm does. */
const associate = (proxy: number) =>
  Effect.gen(function*() {
    const { proxy: way, socket } = yield* Effect.acquireRelease(
      Effect.async<{ readonly proxy: SocksRemoteHost; readonly socket: Net.Socket }>((resume) => {
        const client = new SocksClient({
          proxy: { host: "127.0.0.1", port: proxy, type: 5 },
          command: "associate",
          destination: { host: "0.0.0.0", port: 0 }
        })
        client.on("established", ({ remoteHost, socket }) =>
          resume(Effect.succeed({ proxy: remoteHost!, socket: socket as Net.Socket })))
        client.on("error", (error) =>
          resume(Effect.die(error)))
        client.connect()
      }).pipe(within("30 seconds", "the association")),
      ({ socket }) => Effect.sync(() => socket.destroy())
    )
    const datagrams = yield* Effect.acquireRelease(
      Effect.sync(() => Dgram.createSocket("udp4")),
      (socket) => Effect.sync(() => socket.close())
    )
    /** Sends a datagram to a target, and awaits the answer. Sends again each second, since UDP may lose. */
    const ask = (host: string, port: number, text: string, frameNumber = 0) =>
      Effect.async<string>((resume) => {
        const frame = SocksClient.createUDPFrame({ remoteHost: { host, port }, data: Buffer.from(text), frameNumber })
        const send = () => datagrams.send(frame, way.port, way.host)
        const timer = setInterval(send, 1000)
        const onMessage = (bytes: Buffer) => {
          const { data, remoteHost } = SocksClient.parseUDPFrame(bytes)
          if (remoteHost.port === port) resume(Effect.as(stop, `${remoteHost.host}: ${data}`))
        }
        const stop = Effect.sync(() => {
          clearInterval(timer)
          datagrams.off("message", onMessage)
        })
        datagrams.on("message", onMessage)
        send()
        return stop
      }).pipe(within("30 seconds", `the answer of ${host}:${port}`))
    return { ask, way, socket, datagrams }
  })

describe("wsmux connect -D", () => {
  it.scopedLive("wsmux connect carries datagrams of a SOCKS 5 client to each target that it names", () =>
    Effect.gen(function*() {
      const [upper, same] = [
        yield* udp((datagram) => Buffer.from(String(datagram).toUpperCase())),
        yield* udp((d) => d)
      ]
      const server = yield* serveWith(["--allow", `udp:localhost:${upper}`, "--allow", `udp:127.0.0.1:${same}`])
      const client = yield* connectWith(server.url, ["-D", "0"])
      const { ask, datagrams, socket, way } = yield* associate(yield* portFor(client, "where clients ask"))
      expect(way.host).toBe("127.0.0.1")
      expect(yield* ask("localhost", upper, "hello")).toBe("localhost: HELLO")
      expect(yield* ask("127.0.0.1", same, "hello")).toBe("127.0.0.1: hello")
      const stranger = yield* Effect.acquireRelease(
        Effect.sync(() => Dgram.createSocket("udp4")),
        (socket) => Effect.sync(() => socket.close())
      )
      const frame = (data: string, frameNumber = 0) =>
        SocksClient.createUDPFrame({
          remoteHost: { host: "127.0.0.1", port: same },
          data: Buffer.from(data),
          frameNumber
        })
      const heard: Array<string> = []
      datagrams.on("message", (bytes) => void heard.push(String(SocksClient.parseUDPFrame(bytes).data)))
      stranger.send(frame("of a stranger"), way.port, way.host)
      datagrams.send(frame("a fragment", 1), way.port, way.host)
      expect(yield* ask("127.0.0.1", same, "last")).toBe("127.0.0.1: last")
      expect(heard.filter((data) => data !== "last")).toEqual([])
      socket.end()
      yield* Effect.async<void>((resume) => void socket.once("close", () => resume(Effect.void)).resume()).pipe(
        within("30 seconds", "the end of the association")
      )
      expect(logged(client, "WARN")).toEqual([])
    }))

  it.scopedLive("wsmux connect tells why when the server allows no datagrams of a SOCKS 5 client", () =>
    Effect.gen(function*() {
      const server = yield* serveWith(["--allow", "*:*"])
      const client = yield* connectWith(server.url, ["-D", "0"])
      const { datagrams, way } = yield* associate(yield* portFor(client, "where clients ask"))
      const remoteHost = { host: "127.0.0.1", port: 9 }
      datagrams.send(SocksClient.createUDPFrame({ remoteHost, data: Buffer.from("hello") }), way.port, way.host)
      yield* client.awaitLine(/cannot forward 127\.0\.0\.1:\d+ to udp:127\.0\.0\.1:9: the server does not allow it/)
    }))
})
