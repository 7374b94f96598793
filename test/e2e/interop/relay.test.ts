import { expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Schedule from "effect/Schedule"
import * as Scope from "effect/Scope"
import * as Net from "node:net"
import { pattern } from "../../support/bytes.js"
import { freePort } from "../../support/freePort.js"
import { ask, dialAgent, secret, serveAgent, startRelay, tokenOf } from "../../support/relay.js"
import { known, saying, startNodes } from "../../support/relayNodes.js"
import { eventually, tcpServer } from "../../support/transports.js"
import { patience, within } from "../../support/within.js"
import { describeGo, type Flags, start } from "./goPeer.js"
import { sha256 } from "./traffic.js"

/** A relay with an agent of Go, which answers by net/http. */
const goAgent = (buffer: number, flags: Flags = {}) =>
  Effect.gen(function*() {
    const relay = yield* startRelay()
    const go = yield* start({ dial: relay.ws, tunnel: "go", token: tokenOf("go"), serve: "http", buffer, ...flags })
    const { address } = yield* go.next("listening")
    return { relay, go, url: address }
  })

describeGo("an agent of Go at the relay", () => {
  // the first connection of websocktunnel's client, its further ones, and those of newer versions
  for (const buffer of [1024, 4096, 4 * 1024 * 1024]) {
    it.scopedLive(`the relay tells Go its URL and passes requests when the windows have ${buffer} bytes`, () =>
      Effect.gen(function*() {
        const { relay, url } = yield* goAgent(buffer)
        expect(url).toBe(`${relay.http}/go`)
        const content = pattern(300_000)
        const [hello, download, upload] = yield* Effect.all([
          ask(`${url}/hello`),
          ask(`${url}/bytes?n=${content.byteLength}`),
          ask(`${url}/echo`, { method: "POST" }, content)
        ], { concurrency: "unbounded" })
        expect(hello).toMatchObject({ status: 200, body: "hello from go\n" })
        expect(sha256(Buffer.from(download.body, "latin1"))).toBe(sha256(content))
        expect(sha256(Buffer.from(upload.body, "latin1"))).toBe(sha256(content))
      }))
  }

  it.scopedLive("the relay answers 100 requests at once when the agent is one of Go", () =>
    Effect.gen(function*() {
      const { url } = yield* goAgent(4096)
      const bodies = yield* Effect.all(
        Array.from({ length: 100 }, () => ask(`${url}/bytes?n=20000`)),
        { concurrency: "unbounded" }
      )
      const expected = sha256(pattern(20_000))
      expect(bodies.every(({ body }) => sha256(Buffer.from(body, "latin1")) === expected)).toBe(true)
    }))

  it.scopedLive("an agent of Go takes the place of its frozen connection when it dials again", () =>
    Effect.gen(function*() {
      const { go, relay, url } = yield* goAgent(4096)
      yield* go.signal("SIGSTOP")
      const again = yield* start({ dial: relay.ws, tunnel: "go", token: tokenOf("go"), serve: "http" })
      yield* again.next("listening")
      expect((yield* ask(`${url}/hello`)).body).toBe("hello from go\n")
      yield* go.signal("SIGCONT")
    }))

  it.scopedLive("an agent of Go takes the place of its frozen connection when it dials another node", () =>
    Effect.gen(function*() {
      const { directory, first, second } = yield* startNodes(2, { ttl: "1 minute" })
      const token = tokenOf("go")
      const go = yield* start({ dial: first.ws, tunnel: "go", token, serve: "http" })
      yield* go.next("listening")
      yield* known(directory, "go")
      yield* go.signal("SIGSTOP")
      const again = yield* start({ dial: second.ws, tunnel: "go", token, serve: "http" })
      yield* again.next("listening")
      yield* eventually(() =>
        Option.getOrThrow(Effect.runSync(directory.find("go"))).nodes.map(({ id }) => id).join() === "node1"
      )
      for (const { http } of [first, second]) expect((yield* ask(`${http}/go/hello`)).body).toBe("hello from go\n")
      yield* go.signal("SIGCONT")
    }))

  it.scopedLive("an agent of Go dials again when its connection is lost, and is reached again", () =>
    Effect.gen(function*() {
      const scope = yield* Scope.make()
      const port = yield* freePort
      const relay = yield* Scope.extend(startRelay({ port }), scope)
      const go = yield* start({ dial: relay.ws, tunnel: "go", token: tokenOf("go"), serve: "http", redial: "50ms" })
      yield* go.next("listening")
      expect((yield* ask(`${relay.http}/go/hello`)).body).toBe("hello from go\n")
      yield* Scope.close(scope, Exit.void)
      yield* go.next("closed")
      const again = yield* startRelay({ port })
      yield* go.next("listening")
      expect((yield* ask(`${again.http}/go/hello`)).body).toBe("hello from go\n")
    }))

  it.scopedLive("Go learns that it is refused when another secret has signed its token", () =>
    Effect.gen(function*() {
      const relay = yield* startRelay()
      const token = tokenOf("go", { by: `${secret} but another` })
      const go = yield* start({ dial: relay.ws, tunnel: "go", token, serve: "http" })
      expect((yield* go.next("error")).message).toMatch(/bad handshake/)
    }))

  it.scopedLive("an agent of Go dials again when the relay has maxAgents, until there is room", () =>
    Effect.gen(function*() {
      const relay = yield* startRelay({ limits: { maxAgents: 1 } })
      const way = yield* wayTo(relay.port)
      const go = yield* start({ dial: way.ws, tunnel: "go", token: tokenOf("go"), serve: "http", redial: "50ms" })
      yield* go.next("listening")
      way.cut()
      yield* go.next("closed")
      // the relay may still hold the lost connection
      const other = yield* Effect.retry(dialAgent(relay.ws, "other"), Schedule.spaced(20)).pipe(
        within(patience, "the place of the lost connection")
      )
      way.open()
      yield* eventually(() => way.statuses.filter((status) => status === "503").length >= 2)
      yield* other.session.close
      yield* go.next("listening")
      expect((yield* ask(`${relay.http}/go/hello`)).body).toBe("hello from go\n")
    }))

  it.scopedLive("an agent of Go gives up when an agent with a newer token has taken its name", () =>
    Effect.gen(function*() {
      const { go, relay, url } = yield* goAgent(4096, { redial: "50ms" })
      yield* serveAgent(relay.ws, "go", saying("new"), { token: tokenOf("go", { at: 50 }) })
      yield* go.next("closed")
      expect((yield* go.next("error")).message).toMatch(/bad handshake/)
      expect(yield* go.next("exited")).toMatchObject({ code: 1 })
      expect((yield* ask(url)).body).toBe("new")
    }))
})

/** A way to a relay that can be cut, and that tells the status of each answer. */
const wayTo = (port: number) =>
  Effect.gen(function*() {
    const statuses: Array<string> = []
    let sockets: Array<Net.Socket> = []
    let isOpen = true
    const { port: own } = yield* tcpServer((near) => {
      if (!isOpen) return void near.destroy()
      const far = Net.connect(port, "127.0.0.1")
      far.once("data", (head) => statuses.push(String(head).slice(9, 12)))
      for (const [one, other] of [[near, far], [far, near]] as const) {
        sockets.push(one.on("error", () => {}).on("close", () => void other.destroy()))
        one.pipe(other)
      }
    })
    return {
      ws: `ws://127.0.0.1:${own}/`,
      statuses,
      open: () => void (isOpen = true),
      cut: () => {
        isOpen = false
        for (const socket of sockets) socket.destroy()
        sockets = []
      }
    }
  })
