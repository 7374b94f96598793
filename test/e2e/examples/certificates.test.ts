import { expect, it } from "@effect/vitest"
import * as Address from "effect-wsmux/Address"
import * as NodeTransport from "effect-wsmux/NodeTransport"
import * as NodeTransportServer from "effect-wsmux/NodeTransportServer"
import * as Session from "effect-wsmux/Session"
import * as SessionServer from "effect-wsmux/SessionServer"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Stream from "effect/Stream"
import type { TLSSocket } from "node:tls"
import { makeAuthority } from "../../support/certificates.js"

// The program has an authority of its own, which issues the certificates of the server and of each client.
const authority = makeAuthority("our authority")

/** Lets in a client with a certificate of the authority whose name the server knows. */
const Server = SessionServer.layer().pipe(
  Layer.provide(NodeTransportServer.layer({
    tls: { ...authority.issue("server"), ca: authority.cert, requestCert: true, rejectUnauthorized: true },
    authorize: ({ socket }) =>
      (socket as TLSSocket).getPeerCertificate().subject.CN === "alice" ? Effect.void : Effect.fail({ status: 403 })
  }))
)

/** Sends hello with these credentials, or without. */
const greet = (url: string, credentials: { readonly cert?: string; readonly key?: string }) =>
  Effect.gen(function*() {
    const stream = yield* Effect.flatMap(Session.Session, (session) => session.open())
    yield* Stream.make("hello").pipe(Stream.encodeText, Stream.run(stream.writable))
    return yield* stream.readable.pipe(Stream.decodeText(), Stream.mkString)
  }).pipe(
    Effect.scoped,
    Effect.provide(
      Session.layerClient().pipe(
        Layer.provide(NodeTransport.layer(url, { tls: { ...credentials, ca: authority.cert } }))
      )
    )
  )

it.scopedLive("server lets in only known clients when it demands certificates of its authority", () =>
  Effect.gen(function*() {
    const server = yield* SessionServer.SessionServer
    let sessions = 0
    yield* Effect.fork(server.run((session) => {
      sessions++
      return session.run((stream) => Stream.run(stream.readable, stream.writable))
    }))
    const url = `wss://${Address.format(server.address)}`
    expect(yield* greet(url, authority.issue("alice"))).toBe("hello")
    expect(sessions).toBe(1)

    const failure = (credentials: { readonly cert?: string; readonly key?: string }) =>
      Effect.flip(greet(url, credentials))
    expect(yield* failure(authority.issue("mallory"))).toMatchObject({ reason: "Rejected", status: 403 })
    expect(yield* failure({})).toMatchObject({ _tag: "ConnectFailure", reason: "Unreachable" })
    const impostor = makeAuthority("our authority").issue("alice")
    expect(yield* failure(impostor)).toMatchObject({ _tag: "ConnectFailure", reason: "Unreachable" })
    const mixed = { cert: authority.issue("alice").cert, key: impostor.key }
    expect(yield* failure(mixed)).toMatchObject({ _tag: "ConnectFailure", reason: "Unreachable" })
    expect(sessions).toBe(1)
  }).pipe(Effect.provide(Server)))
