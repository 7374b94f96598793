import { describe, expect, it } from "@effect/vitest"
import * as ByteStream from "effect-wsmux/ByteStream"
import * as Session from "effect-wsmux/Session"
import * as Effect from "effect/Effect"
import * as Http from "node:http"
import * as Net from "node:net"
import { WebSocket, WebSocketServer } from "ws"
import { clientToken, dialAgent, dialClient, serveAgent } from "../../support/relay.js"
import { known, startNodes } from "../../support/relayNodes.js"
import { eventually, standstill } from "../../support/transports.js"
import { patience, within } from "../../support/within.js"

/** The agents are at the first of two nodes, and what reaches them comes by the second. */
const startBoth = startNodes(2, { ttl: "1 minute" })

const mib = 2 ** 20

describe("what passes from node to node", () => {
  it.scopedLive("a client's stream keeps its label, metadata and reset when its agent is at another node", () =>
    Effect.gen(function*() {
      const { directory, first, second } = yield* startBoth
      const agent = yield* dialAgent(first.ws, "site", { program: "p" })
      yield* Effect.forkScoped(agent.session.run((stream) =>
        stream.label === "reset"
          ? stream.reset({ code: 4242, reason: "mine" })
          : ByteStream.writeEnd(stream, `${stream.label} ${JSON.stringify(stream.metadata)}`)
      ))
      yield* known(directory, "site")
      const client = yield* dialClient(second.ws, "site", clientToken("site"))
      const read = (label: string) =>
        Session.withStream(client, ByteStream.readText, { label, metadata: { target: "db:5432" } }).pipe(
          within(patience, `the end of the stream ${label}`)
        )
      expect(yield* read("tcp")).toBe("tcp {\"target\":\"db:5432\",\"relay-user\":\"ada\"}")
      expect(yield* Effect.flip(read("reset"))).toMatchObject({ _tag: "StreamReset", by: "peer", code: 4242 })
    }))

  it.scopedLive("an upgraded WebSocket passes both ways when its agent is at another node", () =>
    Effect.gen(function*() {
      const { directory, first, second } = yield* startBoth
      const server = Http.createServer()
      new WebSocketServer({ server }).on("connection", (socket, { url }) => {
        socket.on("message", (data) => socket.send(`${url} ${String(data)}`))
      })
      yield* serveAgent(first.ws, "site", () => {}, { program: "p", server })
      yield* known(directory, "site")
      const answer = Effect.async<string>((resume) => {
        const socket = new WebSocket(`${second.ws}site/chat`)
        socket.on("open", () => socket.send("hello")).on("error", (cause) => resume(Effect.die(cause)))
        socket.on("message", (data) => {
          resume(Effect.succeed(String(data)))
          socket.close()
        })
      })
      expect(yield* answer.pipe(within(patience, "the answer"))).toBe("/chat hello")
    }))

  it.scopedLive("an aborted request is an abort at its agent when that is at another node", () =>
    Effect.gen(function*() {
      const { directory, first, second } = yield* startBoth
      let response: Http.ServerResponse | undefined
      const agent = yield* serveAgent(first.ws, "site", (_request, given) => void (response = given), { program: "p" })
      yield* known(directory, "site")
      const request = Http.get(`${second.http}/site`, { agent: false }).on("error", () => {})
      yield* eventually(() => response !== undefined)
      request.destroy()
      yield* eventually(() => response!.destroyed && !response!.writableFinished)
      yield* eventually(() => Effect.runSync(agent.session.snapshot).streams.length === 0)
    }))

  for (const where of ["the same node", "another node"] as const) {
    it.scopedLive(`an agent at ${where} stops to send when the client does not read`, () =>
      Effect.gen(function*() {
        const { directory, first, second } = yield* startBoth
        let sent = 0
        yield* serveAgent(first.ws, "site", (_request, response) => {
          const send = () => {
            do sent += 65_536
            while (!response.destroyed && response.write(Buffer.alloc(65_536)))
          }
          response.on("drain", send)
          send()
        }, { program: "p" })
        yield* known(directory, "site")
        const { port } = where === "another node" ? second : first
        const socket = yield* Effect.acquireRelease(
          Effect.sync(() => Net.connect(port, "127.0.0.1").pause().on("error", () => {})),
          (socket) => Effect.sync(() => socket.destroy())
        )
        socket.write("GET /site HTTP/1.1\r\nhost: a\r\n\r\n")
        yield* eventually(() => sent > mib)
        yield* standstill(() => sent)
        expect(sent).toBeLessThan(64 * mib)
      }))

    it.scopedLive(`a client stops to send when the agent at ${where} does not read`, () =>
      Effect.gen(function*() {
        const { directory, first, second } = yield* startBoth
        let isAsked = false
        yield* serveAgent(first.ws, "site", (request) => {
          isAsked = true
          request.pause()
        }, { program: "p" })
        yield* known(directory, "site")
        const { http } = where === "another node" ? second : first
        let sent = 0
        const request = yield* Effect.acquireRelease(
          Effect.sync(() => Http.request(`${http}/site`, { agent: false, method: "POST" }).on("error", () => {})),
          (request) => Effect.sync(() => request.destroy())
        )
        const send = () => {
          do sent += 65_536
          while (!request.destroyed && request.write(Buffer.alloc(65_536)))
        }
        request.on("drain", send)
        send()
        yield* eventually(() => isAsked)
        yield* standstill(() => sent)
        expect(sent).toBeLessThan(64 * mib)
      }))
  }
})
