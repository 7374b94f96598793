import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import type * as Scope from "effect/Scope"
import { createHash } from "node:crypto"
import { readFileSync } from "node:fs"
import { createServer, type IncomingMessage, type ServerResponse } from "node:http"
import type { AddressInfo } from "node:net"
import { concat, pattern, text } from "../../support/bytes.js"
import { syn } from "../../support/scriptedPeer.js"
import * as inProcess from "./inProcess.js"
import * as Tcp from "./tcp.js"
import * as Wire from "./wire.js"
import * as Process from "./wsmux.js"
import { connect, logged, serve } from "./wsmux.js"

const mebibyte = 1024 * 1024

const sha256 = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex")

/** The end of a connection, and the text before the end. */
const fate = (peer: Tcp.Tcp) => Effect.map(peer.over, ({ bytes, how }) => ({ how, said: text(bytes) }))

type Connection = Effect.Effect.Success<ReturnType<typeof makeConnection>>

/**
 * The bytes that the kernel holds for the connections of the ports: sent and not acknowledged, or received and not
 * read. Kernels grow these buffers up to 36 MiB for a connection that is read quickly.
 */
const kernelBytes = (ports: ReadonlyArray<number>): number => {
  const hexes = ports.map((port) => port.toString(16).toUpperCase().padStart(4, "0"))
  const ofPort = new RegExp(`^ *\\d+: (?:\\w+:(?:${hexes.join("|")}) |\\w+:\\w+ \\w+:(?:${hexes.join("|")}) )`)
  return readFileSync("/proc/net/tcp", "utf8").split("\n")
    .filter((line) => ofPort.test(line) && line.trim().split(/\s+/)[3] === "01") // established
    .flatMap((line) => line.trim().split(/\s+/)[4]!.split(":"))
    .reduce((sum, hex) => sum + parseInt(hex, 16), 0)
}

type Starts = Pick<typeof Process, "tunnel">

/** A tunnel, and both ends of a connection through the tunnel that has carried bytes both ways. */
const makeConnection = (args: Parameters<typeof Process.tunnel>[1] = {}, { tunnel }: Starts = Process) =>
  Effect.gen(function*() {
    const target = yield* Tcp.listen
    const { client, server } = yield* tunnel(target.port, args)
    const near = yield* Tcp.connect(client.port)
    yield* near.write("hello")
    const far = yield* target.accept
    yield* far.received(5)
    yield* far.write("welcome")
    yield* near.received(7)
    return { client, server, target, near, far }
  })

describe("wsmux serve", () => {
  it.scopedLive("wsmux serve accepts all connections of a client when 4,100 are open and idle", () =>
    Effect.gen(function*() {
      const target = yield* Tcp.listen
      const wire = yield* Wire.dial((yield* serve(target.port)).url)
      const ids = Array.from({ length: 4100 }, (_, i) => 2 * i + 1)
      yield* Effect.forEach(ids, (id) => wire.send(syn(id)), { discard: true })
      for (let left = ids.length; left > 0;) {
        const answer = yield* wire.next
        expect(answer).not.toMatchObject({ _tag: "Fin" })
        if (answer._tag === "Ack") left--
      }
    }))
})

describe("wsmux", () => {
  it.scopedLive("wsmux carries HTTP when both bodies have 8 MiB", () =>
    Effect.gen(function*() {
      const request = Buffer.from(pattern(8 * mebibyte, 7))
      const response = pattern(8 * mebibyte, 8)
      const port = yield* httpServer(async (incoming, outgoing) => {
        const hash = createHash("sha256")
        for await (const chunk of incoming) hash.update(chunk)
        outgoing.writeHead(201, { "x-request": `${incoming.method} ${incoming.url} ${hash.digest("hex")}` })
        outgoing.end(response)
      })
      const { client } = yield* Process.tunnel(port)
      const answer = yield* Effect.promise(() =>
        fetch(`http://127.0.0.1:${client.port}/some/path?query`, { method: "PUT", body: request })
      )
      const body = new Uint8Array(yield* Effect.promise(() => answer.arrayBuffer()))
      expect({ status: answer.status, request: answer.headers.get("x-request"), response: sha256(body) }).toEqual({
        status: 201,
        request: `PUT /some/path?query ${sha256(request)}`,
        response: sha256(response)
      })
    }))

  it.scopedLive("wsmux carries each connection to its own end when 64 are open at once", () =>
    Effect.gen(function*() {
      const target = yield* Tcp.listen
      const { client } = yield* inProcess.tunnel(target.port)
      const words = Array.from({ length: 64 }, (_, i) => `connection ${i}`)
      const near = yield* Effect.forEach(words, (word) =>
        Effect.gen(function*() {
          const peer = yield* Tcp.connect(client.port)
          yield* peer.write(word)
          yield* peer.end
          return peer
        }))
      // The target answers after it has accepted all connections.
      const far = yield* Effect.forEach(words, () => target.accept)
      yield* Effect.forEach(far, (peer) =>
        Effect.gen(function*() {
          const { said } = yield* fate(peer)
          yield* peer.write(`to ${said}`)
          yield* peer.end
        }), { concurrency: "unbounded" })
      expect(yield* Effect.forEach(near, fate)).toEqual(words.map((word) => ({ how: "end", said: `to ${word}` })))
    }))
})

describe("wsmux", () => {
  it.scopedLive("wsmux carries an answer when the client has ended its direction", () =>
    Effect.gen(function*() {
      const { far, near } = yield* makeConnection({}, inProcess)
      yield* near.write(", and that is all")
      yield* near.end
      expect(yield* fate(far)).toEqual({ how: "end", said: "hello, and that is all" })
      yield* far.write(", I have read to the end")
      yield* far.end
      expect(yield* fate(near)).toEqual({ how: "end", said: "welcome, I have read to the end" })
    }))

  it.scopedLive("wsmux carries an upload when the target has ended its direction", () =>
    Effect.gen(function*() {
      const { far, near } = yield* makeConnection({}, inProcess)
      yield* far.end
      expect(yield* fate(near)).toEqual({ how: "end", said: "welcome" })
      const upload = pattern(4 * mebibyte)
      yield* near.write(upload)
      yield* near.end
      const { bytes, how } = yield* far.over
      expect({ how, sha256: sha256(bytes.subarray(5)) }).toEqual({ how: "end", sha256: sha256(upload) })
    }))
})

describe("wsmux", () => {
  it.scopedLive("wsmux serve delivers all bytes to a slow target when the session has ended", () =>
    Effect.gen(function*() {
      const window = ["--buffer-size", "64MiB"]
      const target = yield* Tcp.listen
      const server = yield* serve(target.port, window)
      const client = yield* connect(server.url, [...window, "--stats", "100ms"])
      const near = yield* Tcp.connect(client.port)
      const sent = pattern(30_000_000)
      yield* Effect.fork(Effect.zipRight(near.write(sent), near.end))
      const far = yield* target.accept
      yield* far.end
      expect((yield* near.over).how).toBe("end") // The client has seen both ends.
      yield* client.awaitLine(/^\{.*"streams":0,.*"bytesOut":30000000,.*\}$/)
      yield* client.signal("SIGINT")
      expect(yield* client.exit).toBe(0)
      const { bytes, how } = yield* far.over
      expect([how, sha256(bytes)]).toEqual(["end", sha256(sent)])
    }))

  it.scopedLive("wsmux connect resets its connections when wsmux serve is killed", () =>
    Effect.gen(function*() {
      const { near, server } = yield* makeConnection({ connect: ["--reconnect"] })
      yield* server.signal("SIGKILL")
      expect(yield* fate(near)).toEqual({ how: "ECONNRESET", said: "welcome" })
    }))

  it.scopedLive("wsmux serve resets its connections to the target when wsmux connect is killed", () =>
    Effect.gen(function*() {
      const { client, far } = yield* makeConnection()
      yield* client.signal("SIGKILL")
      expect(yield* fate(far)).toEqual({ how: "ECONNRESET", said: "hello" })
    }))
})

describe("wsmux", () => {
  it.scopedLive("wsmux serve resets the connection to the target when the client resets its own", () =>
    Effect.gen(function*() {
      const { far, near, server } = yield* makeConnection()
      yield* near.reset
      expect(yield* fate(far)).toEqual({ how: "ECONNRESET", said: "hello" })
      expect(logged(server, "WARN")).toEqual([])
    }))

  it.scopedLive("wsmux connect resets the connection of the client when the target resets its own", () =>
    Effect.gen(function*() {
      const { far, near, server } = yield* makeConnection({}, inProcess)
      yield* far.reset
      expect(yield* fate(near)).toEqual({ how: "ECONNRESET", said: "welcome" })
      expect(logged(server, "WARN")).toEqual([])
    }))

  it.scopedLive("wsmux carries other connections when a client resets its own", () =>
    Effect.gen(function*() {
      const { client, far, near, target } = yield* makeConnection({}, inProcess)
      const other = yield* Tcp.connect(client.port)
      yield* other.write("I")
      const answering = yield* target.accept
      yield* near.reset
      yield* fate(far)
      yield* other.write(" am alive")
      yield* other.end
      expect(yield* fate(answering)).toEqual({ how: "end", said: "I am alive" })
    }))
})

describe("wsmux", () => {
  const upload = Array.from({ length: 40 }, (_, i) => pattern(mebibyte, i + 1))

  /** The largest window of a stream, the bytes that wait for it, and the chunk that is being written. */
  const bound = 6 * mebibyte

  for (const from of ["client", "target"] as const) {
    const reads = from === "client" ? "target" : "client"
    it.scopedLive(`wsmux blocks only the ${from}'s writer, without loss, when the ${reads} does not read`, () =>
      Effect.gen(function*() {
        const { client, far, near, target } = yield* makeConnection()
        const [writer, reader, greeting] = from === "client" ? [near, far, "hello"] : [far, near, "welcome"]
        let written = 0
        const writing = yield* Effect.fork(Effect.forEach(upload, (chunk) =>
          Effect.tap(writer.write(chunk), () => {
            written += chunk.byteLength
          }), { discard: true }))

        // An unbounded writer finishes in the time that the same upload needs on a connection with a reader.
        const otherNear = yield* Tcp.connect(client.port)
        yield* otherNear.write("!")
        const otherFar = yield* target.accept
        yield* otherFar.write("!")
        const [source, sink] = from === "client" ? [otherNear, otherFar] : [otherFar, otherNear]
        yield* Effect.fork(Effect.forEach(upload, source.write, { discard: true }))
        yield* sink.received(1 + upload.length * mebibyte)
        expect(written - kernelBytes([client.port, target.port])).toBeLessThan(bound)
        expect(writing.unsafePoll()).toBeNull()

        yield* Effect.fork(Effect.zipRight(Fiber.join(writing), writer.end))
        const { bytes, how } = yield* reader.over
        expect({ how, sha256: sha256(bytes.subarray(greeting.length)) }).toEqual({
          how: "end",
          sha256: sha256(concat(upload))
        })
      }))
  }
})

describe("wsmux", () => {
  const send = (writer: Tcp.Tcp) => Effect.forkScoped(Effect.forever(writer.write(pattern(mebibyte))))

  const transfer = (writer: Tcp.Tcp, reader: Tcp.Tcp) =>
    Effect.gen(function*() {
      yield* send(writer)
      yield* reader.received(4 * mebibyte)
      yield* Effect.forkScoped(reader.over)
    })

  // The test checks senders only, since Node reports a reset as an end when bytes come together with the reset.
  const states = {
    "while idle": { ends: ["near", "far"], reach: () => Effect.void },
    "in an upload": { ends: ["near"], reach: ({ far, near }) => transfer(near, far) },
    "in an unread upload": { ends: ["near"], reach: ({ near }) => send(near) },
    "in a download": { ends: ["far"], reach: ({ far, near }) => transfer(far, near) },
    "in an unread download": { ends: ["far"], reach: ({ far }) => send(far) }
  } satisfies Record<string, {
    readonly ends: ReadonlyArray<"near" | "far">
    readonly reach: (connection: Connection) => Effect.Effect<unknown, never, Scope.Scope>
  }>

  for (const command of ["client", "server"] as const) {
    for (const [state, { ends, reach }] of Object.entries(states)) {
      it.scopedLive(`wsmux exits with 0 and resets TCP when the ${command} gets SIGINT ${state}`, () =>
        Effect.gen(function*() {
          const connection = yield* makeConnection({ serve: ["--grace", "0"] })
          yield* reach(connection)
          const fates = yield* Effect.fork(
            Effect.forEach(ends, (end) => fate(connection[end]), { concurrency: "unbounded" })
          )
          yield* connection[command].signal("SIGINT")
          expect(yield* connection[command].exit).toBe(0)
          expect((yield* Fiber.join(fates)).map(({ how }) => how)).toEqual(ends.map(() => "ECONNRESET"))
        }))
    }
  }
})

/** Starts an HTTP server on a free port for the lifetime of the scope. */
const httpServer = (handler: (incoming: IncomingMessage, outgoing: ServerResponse) => void) =>
  Effect.gen(function*() {
    const server = yield* Effect.acquireRelease(
      Effect.sync(() => createServer(handler)),
      (server) =>
        Effect.sync(() => {
          server.close()
          server.closeAllConnections()
        })
    )
    yield* Effect.async<void>((resume) => void server.listen(0, "127.0.0.1", () => resume(Effect.void)))
    return (server.address() as AddressInfo).port
  })
