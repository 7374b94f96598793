import { once } from "node:events"
import * as Net from "node:net"
import { buffer } from "node:stream/consumers"
import { describe, expect, it } from "vitest"
import { content } from "./peer/tasks.js"
import { startCommand } from "./peers.js"
import { commandOf, names } from "./runtimes.mjs"

describe("wsmux in other runtimes", () => {
  for (const runtime of names.filter((name) => name !== "workerd" && commandOf(name) !== undefined)) {
    it(`wsmux carries a connection with its half-close when both ends run on ${runtime}`, async () => {
      const target = Net.createServer({ allowHalfOpen: true }, (socket) => socket.pipe(socket)).listen(0, "127.0.0.1")
      await once(target, "listening")
      const { port } = target.address() as Net.AddressInfo
      const server = startCommand(runtime, ["serve", "--listen", "127.0.0.1:0", "--target", `127.0.0.1:${port}`])
      const commands = [server]
      try {
        const [, url] = await server.line(/^listening on (ws:\S+:\d+), /)
        const client = startCommand(runtime, ["connect", url!, "--listen", "127.0.0.1:0"])
        commands.push(client)
        const [, here] = await client.line(/^listening on 127\.0\.0\.1:(\d+), /)
        const socket = Net.connect({ host: "127.0.0.1", port: Number(here), allowHalfOpen: true })
        const sent = content(4 * 1024 * 1024, 1)
        socket.end(sent)
        expect(Buffer.compare(await buffer(socket), sent)).toBe(0)
      } finally {
        for (const { child } of commands) child.kill("SIGKILL")
        target.close()
      }
    })
  }
})
