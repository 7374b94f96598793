import * as Socket from "@effect/platform/Socket"
import { describe, expect, it } from "@effect/vitest"
import * as WebSocketTransport from "effect-wsmux/WebSocketTransport"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
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

/** A WebSocket that the test opens. */
class Opening extends Refused {
  override close(): void {
    this.readyState = 2
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

// The tests share the channels of the process.
describe.sequential("WebSocketTransport.connect", () => {
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

  it.scopedLive("WebSocketTransport destroys no socket but its own when two WebSockets of Node 22 open", () =>
    Effect.gen(function*() {
      const destroyed: Array<number> = []
      const [connected, opened] = channels
      const dialling = [1, 2].map((port) => ({ port, ws: new Opening() }))
      const scopes = yield* Effect.forEach(dialling, ({ ws }) =>
        Effect.gen(function*() {
          const scope = yield* Scope.make()
          yield* Effect.forkScoped(
            Scope.extend(WebSocketTransport.fromWebSocket(ws as unknown as globalThis.WebSocket), scope)
          )
          return scope
        }))
      yield* Effect.yieldNow()
      for (const { port } of dialling) {
        connected!.publish({
          socket: { localAddress: "127.0.0.1", localPort: port, destroy: () => destroyed.push(port) }
        })
      }
      for (const { port, ws } of dialling) {
        opened!.publish({ address: { address: "127.0.0.1", port } }) // undici 6 publishes first, and names no WebSocket
        ws.readyState = 1
        ws.dispatchEvent(new Event("open"))
        yield* Effect.sleep(0)
      }
      yield* Scope.close(scopes[0]!, Exit.void)
      expect(destroyed).toEqual([1])
      yield* Scope.close(scopes[1]!, Exit.void)
      expect(destroyed).toEqual([1, 2])
    }))
})
