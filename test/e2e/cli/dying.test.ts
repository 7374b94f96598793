import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { text } from "../../support/bytes.js"
import * as Tcp from "./tcp.js"
import { connect, type Options, serve, type Wsmux } from "./wsmux.js"

/** The code of each fault. SIGUSR2 triggers the fault in the process. */
const faults = {
  "an uncaught exception": "throw%20Error(`a%20fault`)",
  "process.exit": "process.exit(3)"
}

/** A tunnel with one idle connection that has carried bytes both ways. */
const idle = (options: { readonly serve?: Options; readonly connect?: Options } = {}) =>
  Effect.gen(function*() {
    const target = yield* Tcp.listen
    const server = yield* serve(target.port, ["--grace", "0"], options.serve)
    const client = yield* connect(server.url, [], options.connect)
    const near = yield* Tcp.connect(client.port)
    yield* near.write("hello")
    const far = yield* target.accept
    yield* far.received(5)
    yield* far.write("welcome")
    yield* near.received(7)
    return { server, client, near, far }
  })

describe("wsmux", () => {
  for (const [fault, code] of Object.entries(faults)) {
    const options = { env: { NODE_OPTIONS: `--import=data:text/javascript,process.on(\`SIGUSR2\`,()=>{${code}})` } }
    it.scopedLive(`wsmux connect resets its accepted connections when it dies by ${fault}`, () =>
      Effect.gen(function*() {
        const { client, near } = yield* idle({ connect: options })
        yield* client.signal("SIGUSR2")
        expect((yield* near.over).how).toBe("ECONNRESET")
      }))

    it.scopedLive(`wsmux serve resets its connections to the target when it dies by ${fault}`, () =>
      Effect.gen(function*() {
        const { far, server } = yield* idle({ serve: options })
        yield* server.signal("SIGUSR2")
        expect((yield* far.over).how).toBe("ECONNRESET")
      }))
  }

  for (const command of ["client", "server"] as const) {
    it.scopedLive(`wsmux closes its session and exits with 0 when SIGHUP comes to the ${command}`, () =>
      Effect.gen(function*() {
        const tunnel = yield* idle()
        yield* tunnel[command].signal("SIGHUP")
        expect(yield* tunnel[command].exit).toBe(0)
        expect((yield* tunnel[command === "client" ? "near" : "far"].over).how).toBe("ECONNRESET")
        if (command === "client") yield* tunnel.server.awaitLine(/the session was closed by the peer \(code 1000\)/)
        else expect(yield* tunnel.client.exit).toBe(1)
      }))
  }
})

describe("wsmux connect", () => {
  for (const first of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
    it.scopedLive(`wsmux connect closes its session when a second ${first} follows at once`, () =>
      Effect.gen(function*() {
        const { client, near, server } = yield* idle()
        yield* client.signal(first)
        yield* client.signal(first)
        yield* server.awaitLine(/the session was closed by the peer \(code 1000\)/)
        yield* client.signal(first)
        expect(yield* client.exit).toBe(0)
        expect((yield* near.over).how).toBe("ECONNRESET")
      }))
  }

  it.scopedLive("wsmux connect exits with 130 and resets connections when a second SIGINT comes later", () =>
    Effect.gen(function*() {
      const { client, near, server } = yield* idle()
      yield* server.signal("SIGSTOP") // The client's close waits for the server.
      const again = Effect.zipRight(client.signal("SIGINT"), Effect.sleep("50 millis"))
      expect(yield* Effect.raceFirst(Effect.forever(again), client.exit)).toBe(130)
      expect((yield* near.over).how).toBe("ECONNRESET")
    }))
})

describe("wsmux", () => {
  /** Checks that the tunnel works while wsmux prints and logs to closed outputs. */
  const goesOn = (wsmux: Wsmux, port: number) =>
    Effect.gen(function*() {
      yield* wsmux.stopReading
      for (let i = 0; i < 5; i++) {
        const peer = yield* Tcp.connect(port)
        yield* peer.write("hello")
        yield* peer.end
        const { bytes, how } = yield* peer.over
        expect([how, text(bytes)]).toEqual(["end", "hello"])
        yield* Effect.sleep("50 millis") // Each pause prints counters.
      }
    })
  const verbose = ["--log-level", "all", "--stats", "10ms"]

  it.scopedLive("wsmux serve goes on when the reader of its output has gone", () =>
    Effect.gen(function*() {
      const server = yield* serve(yield* Tcp.echo, verbose)
      const client = yield* connect(server.url)
      yield* goesOn(server, client.port)
      yield* server.signal("SIGINT")
      yield* client.awaitLine(/the server takes no more connections/)
    }))

  it.scopedLive("wsmux connect goes on when the reader of its output has gone", () =>
    Effect.gen(function*() {
      const server = yield* serve(yield* Tcp.echo)
      const client = yield* connect(server.url, verbose)
      yield* goesOn(client, client.port)
      yield* client.signal("SIGINT")
      yield* server.awaitLine(/closed by the peer/)
    }))
})
