import * as Effect from "effect/Effect"
import * as Net from "node:net"

/** A port that was free a moment ago, for programs that cannot choose one themselves. */
export const freePort = Effect.async<number>((resume) => {
  const probe = Net.createServer().listen(0, "127.0.0.1", () => {
    const { port } = probe.address() as Net.AddressInfo
    probe.close(() => resume(Effect.succeed(port)))
  })
})
