import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import { mkdtempSync, rmSync } from "node:fs"
import * as Net from "node:net"
import { tmpdir } from "node:os"
import { text } from "../../../support/bytes.js"
import { within } from "../../../support/within.js"
import * as Tcp from "../tcp.js"
import type { Options, Wsmux } from "../wsmux.js"
import * as Process from "../wsmux.js"

/** The ways to start the commands with forwards, over one to start a command. */
export const commandsOf = (start: typeof Process.start) => {
  /** Starts `wsmux serve` on a free port, with these options for what it allows. */
  const serveWith = (args: ReadonlyArray<string>, options?: Options) =>
    Effect.gen(function*() {
      const wsmux = yield* start(["serve", "--listen", "127.0.0.1:0", ...args], options)
      const [, url] = yield* wsmux.awaitLine(/^listening on (wss?:\/\/\S+:\d+), forwarding to /)
      return { ...wsmux, url: url! }
    })

  /** Starts `wsmux connect` with these forwards. */
  const connectWith = (url: string, args: ReadonlyArray<string>, options?: Options) =>
    start(["connect", url, ...args], options)

  return { serveWith, connectWith }
}

export const { connectWith, serveWith } = commandsOf(Process.start)

/** Awaits the address of the listener, here or at the server, whose connections go to the target. */
export const listenerFor = (wsmux: Wsmux, target: string): Effect.Effect<string> =>
  Effect.map(
    wsmux.awaitLine(new RegExp(`^listening on ([^, ]+).*, forwarding to ${target.replace(/[.[\]*]/g, "\\$&")}(?: |$)`)),
    ([, address]) => address!
  )

/** The port of that listener. */
export const portFor = (wsmux: Wsmux, target: string): Effect.Effect<number> =>
  Effect.map(listenerFor(wsmux, target), (address) => Number(address.slice(address.lastIndexOf(":") + 1)))

/** Sends words and the end to a port. Completes with the answer, and with how it ended. */
export const ask = (port: number, words: string) =>
  Effect.scoped(Effect.gen(function*() {
    const peer = yield* Tcp.connect(port)
    yield* Effect.ignore(peer.write(words)) // a reset may come first, and `over` tells it
    yield* peer.end
    const { bytes, how } = yield* peer.over
    return { how, said: text(bytes) }
  }))

/** Connects to a unix socket, sends words and the end, and completes with the answer. */
export const askPath = (path: string, words: string) =>
  Effect.async<string>((resume) => {
    let answer = ""
    const socket = Net.connect({ path, allowHalfOpen: true })
    socket.setEncoding("utf8").on("data", (more: string) => answer += more)
    socket.on("end", () => resume(Effect.succeed(answer)))
    socket.on("error", (cause) => resume(Effect.die(cause)))
    socket.end(words)
    return Effect.sync(() => socket.destroy())
  }).pipe(within("30 seconds", "the answer at a unix socket"))

/** Echoes the bytes of each connection to a unix socket. */
export const echoAt = (path: string) =>
  Effect.acquireRelease(
    Effect.async<Net.Server>((resume) => {
      const server: Net.Server = Net.createServer({ allowHalfOpen: true }, (socket) => void socket.pipe(socket))
        .listen(path, () => resume(Effect.succeed(server)))
    }),
    (server) => Effect.sync(() => server.close())
  )

/** A folder that the scope removes. */
export const folder = Effect.acquireRelease(
  Effect.sync(() => mkdtempSync(`${tmpdir()}/wsmux-`)),
  (path) => Effect.sync(() => rmSync(path, { recursive: true, force: true }))
)

/** No process listens at port 1. */
export const closed = "127.0.0.1:1"

/** Waits until no process listens at the port. */
export const freed = (port: number, limit: Duration.DurationInput = "30 seconds") =>
  Effect.async<boolean>((resume) => {
    const socket = Net.connect({ port, host: "127.0.0.1" })
    socket.on("connect", () => resume(Effect.succeed(false)))
    socket.on("error", () => resume(Effect.succeed(true)))
    return Effect.sync(() => socket.destroy())
  }).pipe(
    Effect.zipLeft(Effect.sleep(50)),
    Effect.repeat({ until: (isFree) => isFree }),
    within(limit, `the end of the listener at port ${port}`)
  )
