import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Http from "node:http"
import type { AddressInfo } from "node:net"
import { within } from "../../support/within.js"
import { describeGo, start as startGo } from "../interop/goPeer.js"
import { answerOf, secrets, startProxy, token, view } from "../interop/websocktunnel.js"
import { serveWith } from "./forwards/commands.js"
import { logged, run, start } from "./wsmux.js"

/** A local service that tells the request, and echoes its body. */
const service = Effect.acquireRelease(
  Effect.async<Http.Server>((resume) => {
    const server = Http.createServer((request, response) => {
      response.setHeader("x-asked", `${request.method} ${request.url}`)
      request.pipe(response)
    })
    server.listen(0, "127.0.0.1", () => resume(Effect.succeed(server)))
  }),
  (server) =>
    Effect.sync(() => {
      server.close()
      server.closeAllConnections()
    })
).pipe(Effect.map((server) => `127.0.0.1:${(server.address() as AddressInfo).port}`))

const joining = (url: string, target: string, ...args: ReadonlyArray<string>) => [
  ...["connect", url, "--websocktunnel", "tunnel", "--target", target],
  ...args
]

/** The environment with the token of the tunnel. */
const env = { WSMUX_TOKEN: token(secrets[0]) }

const ask = (url: string, body = "") =>
  Effect.scoped(Effect.gen(function*() {
    const { response } = yield* view(url, { method: "POST" }, Buffer.from(body))
    const message = yield* Effect.promise(() => response)
    const answer = yield* answerOf(response)
    return { status: answer.status, asked: message.headers["x-asked"], body: answer.body.toString() }
  }))

describeGo("wsmux connect --websocktunnel", () => {
  it.scopedLive("wsmux connect --websocktunnel prints the public URL first, and serves the target there", () =>
    Effect.gen(function*() {
      const { url, viewers } = yield* startProxy
      const client = yield* start(joining(url, yield* service), { env })
      yield* client.awaitLine(/connected to/)
      expect(client.stdout()).toBe(`${viewers}\n`)
      expect(yield* ask(`${viewers}/path?query`, "hello")).toEqual({
        status: 200,
        asked: "POST /path?query",
        body: "hello"
      })
      const many = yield* Effect.forEach(
        Array.from({ length: 20 }, (_, i) => "x".repeat(i * 5000)),
        (body) => Effect.map(ask(viewers, body), (answer) => answer.body === body),
        { concurrency: "unbounded" }
      )
      expect(new Set(many)).toEqual(new Set([true]))
    }))

  it.scopedLive("wsmux connect --websocktunnel serves again when the proxy restarts, by --reconnect", () =>
    Effect.gen(function*() {
      const { go, url, viewers } = yield* startProxy
      const client = yield* start(joining(url, yield* service, "--reconnect"), { env })
      yield* client.awaitLine(/connected to/)
      yield* go.signal("SIGKILL")
      yield* client.awaitLine(/level=WARN.*the next attempt is in/)
      const again = yield* startGo({ listen: new URL(url).host, proxy: secrets.join(",") })
      yield* again.next("listening")
      const isBack = Effect.sync(() => logged(client, "INFO").filter((line) => /^connected to/.test(line)).length > 1)
      yield* Effect.repeat(Effect.delay(isBack, 50), { until: (back) => back }).pipe(
        within("60 seconds", "the second session")
      )
      expect(yield* ask(viewers, "again")).toMatchObject({ status: 200, body: "again" })
      expect(client.stdout()).toBe(`${viewers}\n`) // the same URL is not told again
    }))

  it.scopedLive("wsmux connect --websocktunnel exits with 1 when the token is for another tunnel", () =>
    Effect.gen(function*() {
      const { url } = yield* startProxy
      const { code, stderr, stdout } = yield* run(joining(url, "127.0.0.1:1"), {
        env: { WSMUX_TOKEN: token(secrets[0], { tid: "other" }) }
      })
      expect({ code, stdout }).toEqual({ code: 1, stdout: "" })
      expect(stderr).toMatch(/^wsmux: cannot connect to ws:\/\/\S+: the server answered 4\d\d.*\n$/)
    }))
})

describe("wsmux connect --websocktunnel", () => {
  it.scopedLive("wsmux connect --websocktunnel exits with 1 when the server is wsmux serve", () =>
    Effect.gen(function*() {
      const { url } = yield* serveWith(["--allow", "db:1"])
      const { code, stderr } = yield* run(joining(url, "127.0.0.1:1"))
      const reason = "the server is no websocktunnel: its answer has no x-websocktunnel-client-url"
      expect({ code, stderr }).toEqual({ code: 1, stderr: `wsmux: cannot connect to ${url}: ${reason}\n` })
    }))
})
