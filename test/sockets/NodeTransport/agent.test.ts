import { describe, expect, it } from "@effect/vitest"
import * as Proxy from "effect-wsmux/cli/proxy"
import * as NodeTransport from "effect-wsmux/NodeTransport"
import * as NodeTransportServer from "effect-wsmux/NodeTransportServer"
import * as Session from "effect-wsmux/Session"
import * as SessionServer from "effect-wsmux/SessionServer"
import { Transport } from "effect-wsmux/Transport"
import { TransportServer } from "effect-wsmux/TransportServer"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import * as Http from "node:http"
import * as Net from "node:net"
import { bytes, text } from "../../support/bytes.js"
import { readAll } from "../../support/sessions.js"
import { listening, portOf } from "../../support/transports.js"

const credentials = `Basic ${Buffer.from("ada:secret").toString("base64")}`

/** An HTTP proxy that carries connections for one user. Counts the connections that it has carried. */
const makeProxy = Effect.gen(function*() {
  const seen: Array<string> = []
  const server = Http.createServer()
  server.on("connect", (request: Http.IncomingMessage, client: Net.Socket, head: Buffer) => {
    client.on("error", () => {})
    if (request.headers["proxy-authorization"] !== credentials) {
      return client.end("HTTP/1.1 407 Proxy Authentication Required\r\ncontent-length: 0\r\n\r\n")
    }
    seen.push(request.url!)
    const { hostname, port } = new URL(`http://${request.url}`)
    const target = Net.connect(Number(port), hostname, () => {
      client.write("HTTP/1.1 200 OK\r\n\r\n")
      target.write(head)
      client.pipe(target).pipe(client)
    })
    target.on("error", () => client.destroy())
  })
  yield* listening(server)
  return { port: portOf(server), seen }
})

const echoServer = Effect.gen(function*() {
  const transports = yield* NodeTransportServer.make()
  const server = yield* Effect.provideService(SessionServer.make(), TransportServer, transports)
  yield* Effect.forkScoped(
    server.run((session) => session.run((stream) => Stream.run(stream.readable, stream.writable)))
  )
  if (server.address._tag !== "TcpAddress") throw new Error("no port")
  return server.address.port
})

describe("NodeTransport.connect", () => {
  it.scopedLive("NodeTransport.connect goes through the proxy of its agent", () =>
    Effect.gen(function*() {
      const proxy = yield* makeProxy
      const port = yield* echoServer
      const agent = Proxy.agent(new URL(`http://ada:secret@127.0.0.1:${proxy.port}`))
      const transport = yield* NodeTransport.connect(`ws://127.0.0.1:${port}`, { agent })
      const session = yield* Effect.provideService(Session.makeClient(), Transport, transport)
      const stream = yield* session.open()
      yield* Stream.run(Stream.make(bytes("through the proxy")), stream.writable)
      expect(text(yield* readAll(stream))).toBe("through the proxy")
      expect(proxy.seen).toEqual([`127.0.0.1:${port}`])
    }))

  it.scopedLive("NodeTransport.connect fails with the status of a proxy that refuses", () =>
    Effect.gen(function*() {
      const proxy = yield* makeProxy
      const agent = Proxy.agent(new URL(`http://127.0.0.1:${proxy.port}`))
      const failure = yield* Effect.flip(NodeTransport.connect("ws://127.0.0.1:1", { agent }))
      expect(failure).toMatchObject({ reason: "Rejected", status: 407 })
    }))
})
