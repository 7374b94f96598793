import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { execSync } from "node:child_process"
import { bytes } from "../../support/bytes.js"
import { syn } from "../../support/scriptedPeer.js"
import { connect, dial, frame, messages } from "./attacker.js"
import { attacking, full, makeVictim, patience, perSession, report, slack } from "./support.js"

/** The limit of open files of this process and its children. Node raises its own limit to the hard limit. */
const files = Number(execSync("ulimit -Hn", { encoding: "utf8" }).replace("unlimited", "Infinity"))

describe.sequential("a server with pings", () => {
  const pings = Buffer.concat(Array.from({ length: 20 }, (_, i) => frame(0x9, bytes("x".repeat(6 * i)))))

  it.scopedLive(
    "server holds no memory when a peer floods it with pings and reads the pongs",
    () =>
      Effect.gen(function*() {
        const count = full(1_000_000, 4000)
        const victim = yield* makeVictim()
        yield* attacking(victim, (before) =>
          Effect.gen(function*() {
            const attacker = yield* connect(victim.port, { path: "/ignore" })
            for (let sent = 0; sent < count; sent += 20) {
              yield* attacker.send(pings)
              yield* attacker.answered
            }
            const grown = (yield* victim.memory) - before
            yield* report("a ping flood that reads", { pings: count, "bytes in all": grown })
            expect((yield* victim.condition).sessions).toBe(1)
            expect(grown).toBeLessThan(slack)
          }))
      }),
    patience
  )

  it.scopedLive(
    "server ends the connection when a peer floods it with pings and reads no pong",
    () =>
      Effect.gen(function*() {
        const rounds = full(100, 3)
        const victim = yield* makeVictim()
        yield* attacking(victim, (before) =>
          Effect.gen(function*() {
            let sent = 0
            for (let round = 1; round <= rounds; round++) {
              const attacker = yield* connect(victim.port, { path: "/ignore", reading: false })
              while (((yield* victim.condition).ended.TransportFailure ?? 0) < round) {
                yield* attacker.push(Buffer.concat(Array.from({ length: 50 }, () => pings)))
                sent += 1000
              }
              yield* attacker.setReading(true)
              yield* attacker.closed
            }
            const grown = (yield* victim.memory) - before
            yield* report("a ping flood that does not read", { sessions: rounds, pings: sent, "bytes left": grown })
            expect((yield* victim.condition).sessions).toBe(0)
            expect(grown).toBeLessThan(slack)
          }))
      }),
    patience
  )

  it.scopedLive(
    "server bounds the fragments of a message when a peer sends pongs between them",
    () =>
      Effect.gen(function*() {
        // a small fragment keeps the whole read buffer of its socket alive, up to 64 KiB
        const victim = yield* makeVictim({ settings: { maxPeerWindow: 32 * 1024 } })
        const most = 64 + 33
        yield* attacking(victim, (before) =>
          Effect.gen(function*() {
            const attacker = yield* connect(victim.port, { path: "/ignore" })
            const noise = Buffer.concat(Array.from({ length: 500 }, () => frame(0xa, bytes("x".repeat(125)))))
            const send = (first: boolean) =>
              attacker.send(Buffer.concat([frame(first ? 0x2 : 0, bytes("x"), { fin: false }), noise]))
            for (let i = 0; i < most; i++) yield* send(i === 0)
            yield* attacker.answered
            const grown = (yield* victim.memory) - before
            yield* report("fragments between pongs", { fragments: most, "bytes in all": grown })
            expect((yield* victim.condition).sessions).toBe(1)
            expect(grown).toBeLessThan(most * 66 * 1024 + slack)
            for (let i = 0; i < 50; i++) yield* send(false)
            expect((yield* victim.until(({ sessions }) => sessions === 0)).ended).toEqual({ TransportFailure: 1 })
          }))
      }),
    patience
  )
})

describe.sequential("a server with strangers", () => {
  it.scopedLive(
    "server ends a connection after upgradeTimeout when the upgrade is never finished",
    () =>
      Effect.gen(function*() {
        const count = full(5000, 300)
        const upgradeTimeout = full(20_000, 2000) // all strangers connect within this time
        const victim = yield* makeVictim({ server: { upgradeTimeout } })
        yield* attacking(victim, (before) =>
          Effect.gen(function*() {
            const sockets = yield* Effect.replicateEffect(dial(victim.port), count)
            const { sockets: open } = yield* victim.until(({ sockets }) => sockets > count)
            const each = ((yield* victim.memory) - before) / count
            let sent = 0
            // every second stranger sends a header in each round, and the others send nothing
            const drip = Effect.sync(() => {
              for (const [i, socket] of sockets.entries()) {
                if (i % 2 === 0 || socket.destroyed) continue
                socket.write(sent === 0 ? "GET / HTTP/1.1\r\nhost: x\r\n" : `x-${sent}: y\r\n`)
              }
              sent++
            })
            const { sessions } = yield* Effect.zipRight(Effect.delay(drip, 50), victim.condition).pipe(
              Effect.repeat({ until: ({ sockets }) => sockets < 10 })
            )
            const grown = (yield* victim.memory) - before
            yield* report("a slow-loris", { connections: count, "bytes each": each, "bytes left": grown })
            expect(open).toBeGreaterThan(count)
            expect(sessions).toBe(0)
            expect(each).toBeLessThan(16 * 1024 + slack / count)
            expect(grown).toBeLessThan(slack)
          }))
      }),
    patience
  )

  it.scopedLive(
    "server holds 104 KiB a session when peers only connect, and answers 503 at its limit",
    () =>
      Effect.gen(function*() {
        const count = Math.min(full(10_000, 500), files - 1000)
        const maxConnections = count + 1 // one connection belongs to the other client
        const victim = yield* makeVictim({ server: { maxConnections } })
        yield* attacking(victim, (before) =>
          Effect.gen(function*() {
            const headers = ["x: " + "y".repeat(12_000)] // headers of an upgrade are not kept by its session
            const attackers = Array.from({ length: count }, () => connect(victim.port, { path: "/ignore", headers }))
            yield* Effect.all(attackers, { concurrency: 50, discard: true })
            yield* victim.until(({ sessions }) => sessions === count)
            const each = ((yield* victim.memory) - before) / count
            const late = yield* connect(victim.port, { path: "/ignore" })
            yield* late.push(messages(syn(1)))
            yield* late.closed
            yield* report("sessions that only connect", { sessions: count, "bytes each": each })
            expect((yield* victim.condition).sessions).toBe(count)
            expect(each).toBeLessThan(perSession)
          }))
      }),
    patience
  )
})
