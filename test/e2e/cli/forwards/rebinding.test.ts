import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Dgram from "node:dgram"
import * as Net from "node:net"
import { fileURLToPath } from "node:url"
import { within } from "../../../support/within.js"
import { logged, type Wsmux } from "../wsmux.js"
import { ask, connectWith, portFor, serveWith } from "./commands.js"

/** Two addresses of this machine. The rules of each server allow the first one. */
const allowed = "127.0.0.2"
const forbidden = "127.0.0.3"

/** The resolver of `wsmux serve` answers these addresses in turn for the name `rebinding.test`. */
const answering = (...addresses: ReadonlyArray<string>) => ({
  env: {
    NODE_OPTIONS: `--import=${fileURLToPath(new URL("../../../fixtures/cli/rebinding.mjs", import.meta.url))}`,
    REBINDING: addresses.join(" ")
  }
})

const questions = ({ stderr }: Wsmux): ReadonlyArray<string> => stderr().match(/^question .*$/gm) ?? []

/** Both addresses have a listener at the same port, which tells its address. Counts what comes to each. */
const targets = Effect.gen(function*() {
  const seen = { [allowed]: 0, [forbidden]: 0 }
  const listen = (host: keyof typeof seen, port: number) =>
    Effect.acquireRelease(
      Effect.async<Net.Server>((resume) => {
        const server: Net.Server = Net.createServer((socket) => {
          seen[host]++
          socket.on("error", () => {}).end(host)
        }).listen(port, host, () => resume(Effect.succeed(server)))
      }),
      (server) => Effect.sync(() => server.close())
    )
  const { port } = (yield* listen(allowed, 0)).address() as Net.AddressInfo
  yield* listen(forbidden, port)
  return { port, seen }
})

/** The same for datagrams. */
const datagramTargets = Effect.gen(function*() {
  const seen = { [allowed]: 0, [forbidden]: 0 }
  const listen = (host: keyof typeof seen, port: number) =>
    Effect.acquireRelease(
      Effect.async<Dgram.Socket>((resume) => {
        const socket = Dgram.createSocket("udp4")
        socket.on("message", (_, sender) => {
          seen[host]++
          socket.send(host, sender.port, sender.address)
        })
        socket.bind(port, host, () => resume(Effect.succeed(socket)))
      }),
      (socket) => Effect.sync(() => socket.close())
    )
  const { port } = (yield* listen(allowed, 0)).address()
  yield* listen(forbidden, port)
  return { port, seen }
})

/** Sends a datagram from a socket of its own, and completes with the socket. */
const send = (port: number) =>
  Effect.acquireRelease(
    Effect.sync(() => {
      const socket = Dgram.createSocket("udp4")
      socket.send("who are you?", port, "127.0.0.1")
      return socket
    }),
    (socket) => Effect.sync(() => socket.close())
  )

const answer = (socket: Dgram.Socket) =>
  Effect.async<string>((resume) => void socket.once("message", (data) => resume(Effect.succeed(data.toString()))))
    .pipe(within("30 seconds", "the answer by UDP"))

const refusal = (what: string): RegExp => new RegExp(`level=WARN message="[^"]*${what}: .*not allow`)

// Other systems have no second address of loopback.
describe.skipIf(process.platform !== "linux")("wsmux serve", () => {
  it.scopedLive("wsmux serve dials the judged address when a name has another one at each question", () =>
    Effect.gen(function*() {
      const { port, seen } = yield* targets
      const server = yield* serveWith(["--allow", `${allowed}:*`], answering(allowed, forbidden))
      const client = yield* connectWith(server.url, ["-L", `0:rebinding.test:${port}`])
      const near = yield* portFor(client, `rebinding.test:${port}`)
      const said = []
      for (let i = 0; i < 4; i++) said.push((yield* ask(near, "")).said)
      expect(said).toEqual([allowed, "", allowed, ""])
      expect(questions(server)).toEqual([
        `question 1: ${allowed}`,
        `question 2: ${forbidden}`,
        `question 3: ${allowed}`,
        `question 4: ${forbidden}`
      ])
      expect(seen).toEqual({ [allowed]: 2, [forbidden]: 0 })
      yield* server.awaitLine(refusal(`rebinding\\.test:${port}`))
      expect(logged(client, "WARN").join("\n")).not.toContain(forbidden) // the client learns no address
    }))

  it.scopedLive("wsmux serve asks once when a client of -D asks for a name that changes", () =>
    Effect.gen(function*() {
      const { port, seen } = yield* targets
      const server = yield* serveWith(["--allow", `${allowed}:*`], answering(allowed, forbidden))
      const client = yield* connectWith(server.url, ["-D", "0"])
      const near = yield* portFor(client, "where clients ask")
      const request = `CONNECT rebinding.test:${port} HTTP/1.1\r\n\r\n`
      const first = yield* ask(near, request)
      const second = yield* ask(near, request)
      expect(first.said).toMatch(new RegExp(`^HTTP/1\\.1 200 .*${allowed}$`, "s"))
      expect(second.said).toMatch(/^HTTP\/1\.1 403 /)
      expect({ questions: questions(server).length, seen }).toEqual({
        questions: 2,
        seen: { [allowed]: 1, [forbidden]: 0 }
      })
    }))

  it.scopedLive("wsmux serve sends datagrams to the judged address when a name has another one later", () =>
    Effect.gen(function*() {
      const { port, seen } = yield* datagramTargets
      const server = yield* serveWith(["--allow", `udp:${allowed}:*`], answering(allowed, forbidden))
      const client = yield* connectWith(server.url, ["-L", `udp:0:rebinding.test:${port}`])
      const near = yield* portFor(client, `udp:rebinding.test:${port}`)
      const first = yield* send(near)
      expect(yield* answer(first)).toBe(allowed)
      first.send("again", near, "127.0.0.1") // the association goes on, and asks no more
      expect(yield* answer(first)).toBe(allowed)
      yield* send(near)
      yield* server.awaitLine(refusal(`udp:rebinding\\.test:${port}`))
      expect(questions(server)).toEqual([`question 1: ${allowed}`, `question 2: ${forbidden}`])
      expect(seen).toEqual({ [allowed]: 2, [forbidden]: 0 })
    }))

  it.scopedLive("wsmux serve refuses datagrams when a rule allows the name and it leads to loopback", () =>
    Effect.gen(function*() {
      const { port, seen } = yield* datagramTargets
      const server = yield* serveWith(["--allow", `udp:rebinding.test:${port}`], answering(forbidden, "::1"))
      const client = yield* connectWith(server.url, ["-L", `udp:0:rebinding.test:${port}`])
      const near = yield* portFor(client, `udp:rebinding.test:${port}`)
      yield* send(near)
      yield* server.awaitLine(refusal(`udp:rebinding\\.test:${port}`))
      yield* client.awaitLine(refusal(`udp:rebinding\\.test:${port}`))
      expect({ questions: questions(server), seen }).toEqual({
        questions: [`question 1: ${forbidden}`],
        seen: { [allowed]: 0, [forbidden]: 0 }
      })
    }))
})
