import { describe, expect, it } from "@effect/vitest"
import * as Reading from "effect-wsmux/cli/reading"
import * as Tcp from "effect-wsmux/cli/tcp"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as FiberId from "effect/FiberId"
import * as FiberSet from "effect/FiberSet"
import * as Option from "effect/Option"
import { readFileSync } from "node:fs"
import * as Net from "node:net"
import { text } from "../../support/bytes.js"
import { listening, portOf, signal } from "../../support/transports.js"
import { patience, within } from "../../support/within.js"

const loopback = "127.0.0.1"
const never = Duration.infinity

/** A connection that the tunnel has dialled or accepted, with the socket of its other end. */
const kinds = {
  dialled: (keepAlive: Duration.Duration) =>
    Effect.gen(function*() {
      const server = yield* listening(Net.createServer({ allowHalfOpen: true, pauseOnConnect: true }))
      const connected = signal<[Net.Socket]>(server, "connection")
      const connection = yield* Tcp.connect({ host: loopback, port: portOf(server) }, keepAlive)
      const [other] = yield* connected
      yield* Effect.addFinalizer(() => Effect.sync(() => other.destroy()))
      return { connection, other: other.on("error", () => {}) }
    }),
  accepted: (keepAlive: Duration.Duration) =>
    Effect.gen(function*() {
      const accepted = Deferred.unsafeMake<Tcp.Connection>(FiberId.none)
      const connections = yield* FiberSet.make<void>()
      const { port } = yield* Tcp.listen({ host: loopback, port: 0 }, keepAlive, connections, (connection) =>
        Effect.zipRight(Deferred.succeed(accepted, connection), Effect.never))
      const other = Net.connect({ host: loopback, port, allowHalfOpen: true })
      yield* Effect.addFinalizer(() =>
        Effect.sync(() =>
          other.destroy()
        )
      )
      return {
        connection: yield* Deferred.await(accepted).pipe(within(patience, "the accepted connection")),
        other: other.on("error", () => {})
      }
    })
}

/** The result of a read: the bytes as text, "end", or the code of the error. */
const outcome = ({ read }: Tcp.Connection) =>
  Effect.match(read, {
    onFailure: ({ cause }) => (cause as NodeJS.ErrnoException).code,
    onSuccess: (chunk) => Option.isSome(chunk) ? text(chunk.value) : "end"
  })

for (const [kind, makeConnection] of Object.entries(kinds)) {
  const aConnection = kind === "dialled" ? "a dialled connection" : "an accepted connection"
  describe("Tcp", () => {
    it.scopedLive(`Tcp reads the bytes and then fails when ${aConnection} gets bytes with a reset`, () =>
      Effect.gen(function*() {
        for (let i = 0; i < 10; i++) {
          const { connection, other } = yield* makeConnection(never)
          other.write("the last words")
          other.resetAndDestroy()
          expect(yield* outcome(connection)).toBe("the last words")
          expect(yield* outcome(connection)).toBe("ECONNRESET")
        }
      }))

    it.scopedLive(`Tcp reads the bytes and then the end when ${aConnection} gets bytes with a FIN`, () =>
      Effect.gen(function*() {
        const { connection, other } = yield* makeConnection(never)
        other.end("the last words")
        expect(yield* outcome(connection)).toBe("the last words")
        expect(yield* outcome(connection)).toBe("end")
      }))

    it.scopedLive(`Tcp calls onBroken when ${aConnection} is reset`, () =>
      Effect.gen(function*() {
        const { connection, other } = yield* makeConnection(never)
        const reading = yield* Effect.fork(outcome(connection))
        const broken = yield* Effect.fork(
          Effect.async<Error>((resume) => connection.onBroken((cause) => resume(Effect.succeed(cause))))
        )
        yield* Effect.yieldNow()
        other.resetAndDestroy()
        expect((yield* Fiber.join(broken)).message).toContain("ECONNRESET")
        yield* Fiber.join(reading)
      }))

    it.scopedLive(`Tcp knows the addresses and counts the bytes of ${aConnection}`, () =>
      Effect.gen(function*() {
        const { connection, other } = yield* makeConnection(never)
        other.write("hello")
        yield* connection.read
        yield* connection.write(new Uint8Array(3))
        expect({ peer: connection.peer, local: connection.local, ...connection.bytes() }).toEqual({
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
        expect(timerOf(on.connection)).toBe("keep-alive")
        const off = yield* makeConnection(never)
        expect(timerOf(off.connection)).toBe("none")
      }))
  })
}

/** The kernel's timer of a connection, from /proc/net/tcp. */
const timerOf = ({ local, peer }: Tcp.Connection): string | undefined => {
  const hex = (address: string) => Number(address.split(":")[1]).toString(16).toUpperCase().padStart(4, "0")
  const line = readFileSync("/proc/net/tcp", "utf8").split("\n")
    .find((line) => new RegExp(`^ *\\d+: \\w+:${hex(local)} \\w+:${hex(peer)} `).test(line))
  const timer = line?.trim().split(/\s+/)[5]?.slice(0, 2)
  return timer === "02" ? "keep-alive" : timer === "00" ? "none" : timer
}

describe("Reading", () => {
  it.scopedLive("Reading takes one chunk from a target that sends without end, until the next read", () =>
    Effect.gen(function*() {
      const { connection, other } = yield* kinds.dialled(never)
      other.write(new Uint8Array(8 * 1024 * 1024))
      const { byteLength } = Option.getOrThrow(yield* connection.read)
      // Further reads would happen within these turns.
      yield* Effect.repeatN(turn, 100)
      expect(connection.bytes().read).toBe(byteLength)
      expect(byteLength).toBeLessThanOrEqual(64 * 1024)
    }))

  it("Reading takes fewer bytes at once the more bytes wait", () => {
    const kibibyte = 1024
    expect([0, 0.5, 0.95, 1, 2].map((share) => Reading.readSize(share * Reading.budget))).toEqual([
      64 * kibibyte,
      64 * kibibyte,
      13_107,
      4 * kibibyte,
      4 * kibibyte
    ])
  })
})

const turn = Effect.async<void>((resume) => void setImmediate(() => resume(Effect.void)))
