import { describe, expect, it } from "@effect/vitest"
import type { ByteStream } from "effect-wsmux/ByteStream"
import * as Tcp from "effect-wsmux/cli/tcp"
import * as NodeDuplex from "effect-wsmux/NodeDuplex"
import type { DuplexFailure } from "effect-wsmux/WsmuxError"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Scope from "effect/Scope"
import { readFileSync } from "node:fs"
import * as Net from "node:net"
import { text } from "../../support/bytes.js"
import { listening, portOf, signal } from "../../support/transports.js"

const loopback = "127.0.0.1"
const never = Duration.infinity

/** A connection that the tunnel has dialled or accepted, and the socket of its other end. */
interface Pair {
  readonly stream: ByteStream<DuplexFailure>
  readonly socket: Net.Socket
  readonly other: Net.Socket
}

const destroyed = (socket: Net.Socket) =>
  Effect.as(
    Effect.addFinalizer(() => Effect.sync(() => socket.destroy())),
    socket.on("error", () => {})
  )

const kinds = {
  dialled: (keepAlive: Duration.Duration) =>
    Effect.gen(function*() {
      const server = yield* listening(Net.createServer({ allowHalfOpen: true, pauseOnConnect: true }))
      const connected = signal<[Net.Socket]>(server, "connection")
      let socket: Net.Socket | undefined
      const stream = yield* NodeDuplex.toByteStream(() =>
        socket = Tcp.dial({ host: loopback, port: portOf(server) }, keepAlive)
      )
      const [other] = yield* connected
      return { stream, socket: socket!, other: yield* destroyed(other) }
    }),
  accepted: (keepAlive: Duration.Duration) =>
    Effect.gen(function*() {
      const server = Tcp.makeServer(keepAlive)
      const { port } = yield* Tcp.listen(server, { host: loopback, port: 0 })
      const other = yield* destroyed(Net.connect({ host: loopback, port, allowHalfOpen: true }))
      const scope = yield* Effect.scope
      const [stream, socket] = yield* Effect.async<readonly [ByteStream<DuplexFailure>, Net.Socket], DuplexFailure>(
        (resume) => {
          server.once("connection", (socket) =>
            resume(
              Effect.map(NodeDuplex.toByteStream(() => socket), (stream) => [stream, socket] as const).pipe(
                Scope.extend(scope)
              )
            ))
        }
      )
      return { stream, socket, other }
    })
}

/** The result of a read: the bytes as text, "end", or the code of the error. */
const outcome = ({ stream }: Pair) =>
  Effect.match(stream.read, {
    onFailure: ({ cause }) => (cause as NodeJS.ErrnoException).code,
    onSuccess: (chunk) => Option.isSome(chunk) ? text(chunk.value) : "end"
  })

for (const [kind, makeConnection] of Object.entries(kinds)) {
  const aConnection = kind === "dialled" ? "a dialled connection" : "an accepted connection"
  describe("Tcp", () => {
    it.scopedLive(`Tcp reads the bytes and then fails when ${aConnection} gets bytes with a reset`, () =>
      Effect.gen(function*() {
        for (let i = 0; i < 10; i++) {
          const pair = yield* makeConnection(never)
          pair.other.write("the last words")
          pair.other.resetAndDestroy()
          expect(yield* outcome(pair)).toBe("the last words")
          expect(yield* outcome(pair)).toBe("ECONNRESET")
        }
      }))

    it.scopedLive(`Tcp reads the bytes and then the end when ${aConnection} gets bytes with a FIN`, () =>
      Effect.gen(function*() {
        const pair = yield* makeConnection(never)
        pair.other.end("the last words")
        expect(yield* outcome(pair)).toBe("the last words")
        expect(yield* outcome(pair)).toBe("end")
      }))

    it.scopedLive(`Tcp knows the addresses and counts the bytes of ${aConnection}`, () =>
      Effect.gen(function*() {
        const { other, socket, stream } = yield* makeConnection(never)
        other.write("hello")
        yield* stream.read
        yield* stream.write(new Uint8Array(3))
        expect({ ...Tcp.addressesOf(socket), read: socket.bytesRead, written: socket.bytesWritten }).toEqual({
          peer: `${loopback}:${other.localPort}`,
          local: `${loopback}:${other.remotePort}`,
          read: 5,
          written: 3
        })
      }))

    it.scopedLive(`Tcp probes ${aConnection} when it is silent, unless keep-alive is off`, () =>
      Effect.gen(function*() {
        if (process.platform !== "linux") return // other kernels do not show their timers
        const on = yield* makeConnection(Duration.seconds(30))
        expect(timerOf(on.socket)).toBe("keep-alive")
        const off = yield* makeConnection(never)
        expect(timerOf(off.socket)).toBe("none")
      }))
  })
}

/** The kernel's timer of a connection, from /proc/net/tcp. */
const timerOf = (socket: Net.Socket): string | undefined => {
  const { local, peer } = Tcp.addressesOf(socket)
  const hex = (address: string) => Number(address.split(":")[1]).toString(16).toUpperCase().padStart(4, "0")
  const line = readFileSync("/proc/net/tcp", "utf8").split("\n")
    .find((line) => new RegExp(`^ *\\d+: \\w+:${hex(local)} \\w+:${hex(peer)} `).test(line))
  const timer = line?.trim().split(/\s+/)[5]?.slice(0, 2)
  return timer === "02" ? "keep-alive" : timer === "00" ? "none" : timer
}
