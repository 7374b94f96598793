import * as Socket from "@effect/platform/Socket"
import { describe, expect, it } from "@effect/vitest"
import * as MuxSocket from "effect-wsmux/MuxSocket"
import * as NodeDuplex from "effect-wsmux/NodeDuplex"
import { type Session, StreamOpener } from "effect-wsmux/Session"
import * as TcpTunnel from "effect-wsmux/TcpTunnel"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as Http from "node:http"
import * as Https from "node:https"
import * as Net from "node:net"
import { quietly } from "../support/observe.js"
import { makeSessions } from "../support/sessions.js"
import { listening, portOf } from "../support/transports.js"
import { patience, within } from "../support/within.js"

const options = { label: "inside" }

/** Opens a stream by an adapter. */
type Open = (session: Session) => Effect.Effect<unknown, unknown, Scope.Scope>

const adapters: Readonly<Record<string, Open>> = {
  "MuxSocket.fromSession": (session) =>
    Effect.flatMap(MuxSocket.fromSession(session, options), (socket) => socket.run(() => {})),
  "MuxSocket.layer": (session) =>
    Effect.flatMap(Socket.Socket, (socket) => socket.run(() => {})).pipe(
      Effect.provide(MuxSocket.layer(options)),
      Effect.provideService(StreamOpener, session)
    ),
  "NodeDuplex.open": (session) => NodeDuplex.open(session, options),
  "NodeDuplex.connector": (session) => Effect.map(NodeDuplex.connector(session, options), (connect) => connect()),
  "NodeDuplex.agent": (session) =>
    Effect.map(
      NodeDuplex.agent(session, options),
      (agent) => Http.get({ agent, host: "inside" }).on("error", () => {})
    ),
  "NodeDuplex.httpsAgent": (session) =>
    Effect.map(
      NodeDuplex.httpsAgent(session, options),
      (agent) => Https.get({ agent, host: "inside" }).on("error", () => {})
    ),
  "TcpTunnel.forward": (session) =>
    Effect.gen(function*() {
      const near = yield* listening(Net.createServer({ allowHalfOpen: true }))
      yield* TcpTunnel.forward(session, near, options)
      Net.connect(portOf(near), "127.0.0.1").on("error", () => {})
    })
}

describe("labels of adapters", () => {
  for (const [name, open] of Object.entries(adapters)) {
    it.scopedLive(`${name} opens its streams with the label of its options`, () =>
      Effect.gen(function*() {
        const { client, server } = yield* makeSessions(quietly())
        yield* Effect.forkScoped(open(client))
        const stream = yield* server.accept.pipe(within(patience, "the stream of the adapter"))
        expect(stream.label).toBe("inside")
      }))
  }
})
