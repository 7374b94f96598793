import { describe, it } from "@effect/vitest"
import * as Tcp from "effect-wsmux/cli/tcp"
import * as NodeTransport from "effect-wsmux/NodeTransport"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import { fork } from "node:child_process"
import Dns from "node:dns"
import * as Net from "node:net"
import { afterAll, beforeAll, vi } from "vitest"
import { signal } from "../../support/transports.js"

const loopback = "127.0.0.1"

/**
 * A port whose next connection loses its first packet: the listener's process is stopped, and its backlog is full.
 * `accept` continues the process, so the kernel's second packet arrives.
 */
const lossyPort = Effect.gen(function*() {
  const child = yield* Effect.acquireRelease(
    Effect.sync(() => fork(new URL("./lossyServer.mjs", import.meta.url))),
    (child) => Effect.sync(() => child.kill("SIGKILL"))
  )
  const [port] = yield* signal<[number]>(child, "message")
  child.kill("SIGSTOP")
  // One more than the backlog of one fills it.
  const fillers = Array.from({ length: 2 }, () => Net.connect({ host: loopback, port }).on("error", () => {}))
  yield* Effect.forEach(fillers, (filler) => signal(filler, "connect"), { concurrency: "unbounded" })
  yield* Effect.addFinalizer(() => Effect.sync(() => fillers.forEach((filler) => filler.destroy())))
  return { port, accept: Effect.sync(() => child.kill("SIGCONT")) }
})

describe.runIf(process.platform === "linux")("Tcp.dial and NodeTransport.connect", () => {
  const addresses = [{ address: loopback, family: 4 }, { address: "::1", family: 6 }]
  type Lookup = (host: string, options: unknown, done: (error: null, addresses: unknown) => void) => void
  const lookup: Lookup = (_host, _options, done) => done(null, addresses)

  const diallers: Record<string, (port: number) => Effect.Effect<unknown, unknown, never>> = {
    "Tcp.dial": (port) => connected(() => Tcp.dial({ host: "two.example", port }, Duration.infinity)),
    "NodeTransport.connect": (port) => Effect.scoped(NodeTransport.connect(`ws://two.example:${port}`))
  }
  const spy = vi.spyOn(Dns, "lookup")
  beforeAll(() => void spy.mockImplementation(lookup as never))
  afterAll(() => spy.mockRestore())

  for (const [dialler, dial] of Object.entries(diallers)) {
    it.scopedLive(`${dialler} connects when one address has no route and a packet to the other is lost`, () =>
      Effect.gen(function*() {
        const { accept, port } = yield* lossyPort
        const dialling = yield* Effect.fork(dial(port))
        yield* turn // the kernel has dropped the first packet by then
        yield* accept
        yield* dialling
      }))
  }
})

/** Waits until a socket is connected, and destroys the socket. */
const connected = (dial: () => Net.Socket) =>
  Effect.acquireUseRelease(
    Effect.sync(dial),
    (socket) => signal(socket, "connect"),
    (socket) => Effect.sync(() => socket.destroy())
  )

const turn = Effect.async<void>((resume) => void setImmediate(() => resume(Effect.void)))
