import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { execFile } from "node:child_process"
import * as Dgram from "node:dgram"
import { Resolver } from "node:dns/promises"
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
    socket.on("message", (answer) => resume(Effect.succeed(answer)))
    send()
    return Effect.sync(() => {
      clearInterval(timer)
      socket.close()
    })
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
