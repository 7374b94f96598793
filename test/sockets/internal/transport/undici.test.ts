import * as Socket from "@effect/platform/Socket"
import { describe, expect, it } from "@effect/vitest"
import * as WebSocketTransport from "effect-wsmux/WebSocketTransport"
import * as Effect from "effect/Effect"
import { channel } from "node:diagnostics_channel"

const channels = ["undici:client:connected", "undici:websocket:open"].map((name) => channel(name))

/** The number of channels that have a subscriber. */
const watched = () => channels.filter(({ hasSubscribers }) => hasSubscribers).length

/** A WebSocket that never opens and fires no `close`, as Node 22's does when the server refuses the handshake. */
class Refused extends EventTarget {
  readonly url = "ws://refused"
  readyState = 0
  binaryType = "blob"

  close(): void {
    this.readyState = 3
  }
}

/** Dials by `Refused`. The transport watches the process's TCP sockets meanwhile. */
const dial = (openTimeout: number, begun: (ws: Refused) => void) =>
  WebSocketTransport.connect("ws://refused", { openTimeout }).pipe(
    Effect.provideService(Socket.WebSocketConstructor, () => {
      const ws = new Refused()
      begun(ws)
      return ws as unknown as globalThis.WebSocket
    }),
    Effect.scoped,
    Effect.flip
  )

describe("WebSocketTransport.connect", () => {
  it.live("WebSocketTransport.connect unsubscribes from undici when the WebSocket fails without close", () =>
    Effect.gen(function*() {
      const seen: Array<number> = []
      const failed = yield* dial(10_000, (ws) =>
        setTimeout(() => {
          seen.push(watched())
          ws.dispatchEvent(new Event("error"))
        }))
      expect([failed.reason, ...seen, watched()]).toEqual(["Unreachable", 2, 0])
      expect([(yield* dial(10, () => {})).reason, watched()]).toEqual(["Timeout", 0])
    }))
})
