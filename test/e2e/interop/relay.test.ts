import { expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Scope from "effect/Scope"
import { pattern } from "../../support/bytes.js"
import { freePort } from "../../support/freePort.js"
import { ask, secret, startRelay, tokenOf } from "../../support/relay.js"
import { known, startNodes } from "../../support/relayNodes.js"
import { eventually } from "../../support/transports.js"
import { describeGo, start } from "./goPeer.js"
import { sha256 } from "./traffic.js"

/** A relay with an agent of Go, which answers by net/http. */
const goAgent = (buffer: number) =>
  Effect.gen(function*() {
    const relay = yield* startRelay()
    const go = yield* start({ dial: relay.ws, tunnel: "go", token: tokenOf("go"), serve: "http", buffer })
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
})
