import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { redacted } from "../../Address.js"
import type { Transport } from "../../Transport.js"
import { ConnectFailure } from "../../WsmuxError.js"
import { errorOf, type Settings, StandardTransport } from "./standardTransport.js"
import { constructorFailure } from "./webSocketUrl.js"

interface ConnectSettings extends Settings {
  readonly openTimeout: Duration.Duration
}

/** Makes a WebSocket, waits until it is open, and terminates its transport with the scope. */
export const connect = (
  url: string,
  construct: () => globalThis.WebSocket,
  settings: ConnectSettings
): Effect.Effect<Transport, ConnectFailure, Scope.Scope> =>
  Effect.gen(function*() {
    const { transport, ws } = yield* Effect.acquireRelease(
      Effect.map(
        Effect.try({ try: construct, catch: (cause) => constructorFailure(url, cause) }),
        (ws) => ({ ws, transport: makeTransport(ws, settings) })
      ),
      ({ transport }) => transport.terminate
    )
    yield* awaitOpen(ws, url).pipe(
      Effect.timeoutFail({
        duration: settings.openTimeout,
        onTimeout: () => new ConnectFailure({ url: redacted(url), reason: "Timeout" })
      }),
      Effect.onError(() => transport.terminate)
    )
    yield* transport.begin
    return transport
  })

/** Makes a transport, or closes the WebSocket: a peer would wait at a WebSocket that no code listens to. */
const makeTransport = (ws: globalThis.WebSocket, settings: Settings): StandardTransport => {
  try {
    return new StandardTransport(ws, settings)
  } catch (defect) {
    ws.close(4011, "an internal error")
    throw defect
  }
}

const awaitOpen = (ws: globalThis.WebSocket, url: string): Effect.Effect<void, ConnectFailure> =>
  Effect.async((resume) => {
    if (ws.readyState === 1) return resume(Effect.void)
    const fail = (cause: unknown) =>
      resume(Effect.fail(new ConnectFailure({ url: redacted(url), reason: "Unreachable", cause })))
    if (ws.readyState > 1) return fail(new Error("the socket is closed"))
    ws.addEventListener("open", () => resume(Effect.void), { once: true })
    ws.addEventListener("error", (event) => fail(errorOf(event)), { once: true })
    ws.addEventListener("close", (event) => fail(new Error(`closed with code ${event.code}`)), { once: true })
  })
