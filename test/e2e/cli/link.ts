import * as Effect from "effect/Effect"
import * as Net from "node:net"
import { listening, portOf } from "../../support/transports.js"

/** A link to a port, whose connections the test can reset. */
export const makeLink = (port: number) =>
  Effect.gen(function*() {
    const sockets = new Set<Net.Socket>()
    const server = Net.createServer((near) => {
      const far = Net.connect(port, "127.0.0.1")
      for (const [socket, other] of [[near, far], [far, near]] as const) {
        sockets.add(socket)
        socket.on("error", () => {}).on("close", () => {
          sockets.delete(socket)
          other.destroy()
        })
      }
      near.pipe(far).pipe(near)
    })
    yield* listening(server)
    /** Answers how many sockets were reset: two for each connection. */
    const cut = Effect.sync(() => {
      for (const socket of sockets) socket.resetAndDestroy()
      return sockets.size
    })
    return { port: portOf(server), cut }
  })
