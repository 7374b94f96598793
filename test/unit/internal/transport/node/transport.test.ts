import { expect, it } from "@effect/vitest"
import * as Address from "effect-wsmux/Address"
import * as Effect from "effect/Effect"
import { EventEmitter } from "node:events"
import type { WebSocket } from "ws"
import { SharedBudget } from "../../../../../src/internal/budget/sharedBudget.js"
import { NodeTransport } from "../../../../../src/internal/transport/node/transport.js"
import { listen } from "../../../../support/transportSuite.js"

const settings = { highWaterMark: 1000, maxMessageSize: 1000, partialMessages: new SharedBudget(1e6) }

/** A WebSocket of Bun's `ws`: without a parser, and with a socket that shows the peer alone. */
const makeBunSocket = () => {
  const sent: Array<Buffer> = []
  const ws = Object.assign(new EventEmitter(), {
    readyState: 1,
    extensions: "",
    bufferedAmount: 0,
    _socket: { remoteAddress: "127.0.0.1", remotePort: 80 },
    send: (data: Uint8Array, done: () => void) => {
      sent.push(Buffer.from(data))
      done()
    },
    close: () => {},
    terminate: () => {}
  })
  return { ws, sent, transport: new NodeTransport(ws as unknown as WebSocket, "client", settings) }
}

for (const shown of [null, undefined]) {
  it.scopedLive(`NodeTransport carries messages by ws when the runtime shows the TCP socket as ${shown}`, () =>
    Effect.gen(function*() {
      const { sent, transport, ws } = makeBunSocket()
      transport.connected(shown)
      const events = yield* listen(transport)
      transport.send([Buffer.from("there")])
      expect(transport.extend([Buffer.from("more")])).toBe(false)
      ws.emit("message", Buffer.from("back"), true)
      expect(Buffer.from(yield* events.next).toString()).toBe("back")
      expect(sent.map(String)).toEqual(["there"])
      expect(transport.slowPath).toBe("the TCP socket is unknown")
      expect(transport.receiveCount()).toBe(1)
      expect([transport.localAddress, transport.remoteAddress]).toEqual([
        Address.opaque("unknown"),
        Address.tcp("127.0.0.1", 80)
      ])
    }))
}
