import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Queue from "effect/Queue"
import type { IncomingMessage } from "node:http"
import { type ClientOptions, WebSocket } from "ws"
import * as Frame from "../../../src/internal/wire/frame.js"
import { isHello } from "../../support/records.js"
import { patience, within } from "../../support/within.js"
import { type Flags, start } from "./goPeer.js"

/** The role of a Go session, the id of its first stream, and the id of the first stream that a test opens there. */
export const roles = [
  { role: "server", goes: 0, ours: 1 },
  { role: "client", goes: 1, ours: 0 }
] as const

/** Dials a listening Go process by a bare WebSocket, so that the test sends and reads frames. */
export const dialRaw = (flags: Flags, options?: ClientOptions) =>
  Effect.gen(function*() {
    const go = yield* start({ listen: "127.0.0.1:0", ...flags })
    const { address } = yield* go.next("listening")
    return { go, ...yield* rawLink(`ws://${address}`, options) }
  })

/** Dials by a bare WebSocket, and answers with the response to the upgrade, too. */
export const rawLink = (url: string, options: ClientOptions = {}) =>
  Effect.gen(function*() {
    const frames = yield* Queue.unbounded<Frame.Frame | Frame.Malformed>()
    const ended = yield* Deferred.make<{ readonly code: number; readonly reason: string }>()
    const ws = yield* Effect.acquireRelease(
      Effect.sync(() => new WebSocket(url, options)),
      (ws) => Effect.sync(() => ws.terminate())
    )
    ws.on("message", (data: Buffer) => {
      if (!isHello(data)) frames.unsafeOffer(Frame.decode(new Uint8Array(data)))
    })
    ws.on("close", (code, reason) => Deferred.unsafeDone(ended, Effect.succeed({ code, reason: reason.toString() })))
    const upgrade = yield* Effect.async<IncomingMessage>((resume) => {
      ws.once("upgrade", (response) => ws.once("open", () => resume(Effect.succeed(response))))
    }).pipe(within(patience, "the upgrade"))
    return {
      ws,
      upgrade,
      ended: Deferred.await(ended).pipe(within(patience, "the end of the WebSocket")),
      next: (count: number) =>
        Queue.takeN(frames, count).pipe(
          Effect.map((chunk) => Array.from(chunk)),
          within(patience, `the next ${count} frames of the Go peer`)
        ),
      send: (...sent: ReadonlyArray<Frame.Frame>) =>
        Effect.sync(() => {
          for (const frame of sent) ws.send(Frame.encode(frame))
        })
    }
  })
