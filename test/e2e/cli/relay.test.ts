import { describe, expect, it } from "@effect/vitest"
import * as ByteStream from "effect-wsmux/ByteStream"
import * as Session from "effect-wsmux/Session"
import * as Effect from "effect/Effect"
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import * as Http from "node:http"
import type { AddressInfo } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { ask, clientToken, dialClient, tokenOf } from "../../support/relay.js"
import { patience, within } from "../../support/within.js"
import { run, start } from "./wsmux.js"

/** A file with a secret, in a folder that the scope removes. */
const secretFile = Effect.acquireRelease(
  Effect.sync(() => mkdtempSync(join(tmpdir(), "wsmux-relay-"))),
  (folder) => Effect.sync(() => rmSync(folder, { recursive: true }))
).pipe(Effect.map((folder) => {
  const path = join(folder, "secret")
  writeFileSync(path, "0123456789abcdef0123456789abcdef\n")
  return path
}))

/** A web service of this process. */
const service = Effect.acquireRelease(
  Effect.async<Http.Server>((resume) => {
    const server = Http.createServer((request, response) => response.end(`inside ${request.url}`))
    server.listen(0, "127.0.0.1", () => resume(Effect.succeed(server)))
  }),
  (server) => Effect.sync(() => void server.close().closeAllConnections())
).pipe(Effect.map((server) => (server.address() as AddressInfo).port))

/** A relay and an agent as commands. */
const startBoth = Effect.gen(function*() {
  const file = yield* secretFile
  const relay = yield* start(["relay", "--listen", "127.0.0.1:0", "--secret-file", file])
  const [, ws] = yield* relay.awaitLine(/^listening on (ws:\S+), agents are reached at http/)
  const token = (yield* run(["relay", "--secret-file", file, "--token-for", "web"])).stdout.trim()
  const target = `127.0.0.1:${yield* service}`
  const agent = yield* start(["agent", ws!, "web", "--target", target], { env: { WSMUX_TOKEN: token } })
  const [, url] = yield* agent.awaitLine(/^reached at (http:\S+)$/)
  return { relay, agent, url: url!, ws: ws! }
})

describe("wsmux relay", () => {
  it.scopedLive("wsmux relay passes a request to the target of wsmux agent", () =>
    Effect.gen(function*() {
      const { url } = yield* startBoth
      expect(yield* ask(`${url}/path`)).toMatchObject({ status: 200, body: "inside /path" })
    }))

  it.scopedLive("a client's stream reaches a target that wsmux agent --allow names, and no other", () =>
    Effect.gen(function*() {
      const file = yield* secretFile
      const relay = yield* start(["relay", "--listen", "127.0.0.1:0", "--secret-file", file])
      const [, ws] = yield* relay.awaitLine(/^listening on (ws:\S+),/)
      const by = readFileSync(file, "utf8").trim()
      const port = yield* service
      const args = ["agent", ws!, "web", "--allow", `127.0.0.1:${port}`]
      const agent = yield* start(args, { env: { WSMUX_TOKEN: tokenOf("web", { by }) } })
      yield* agent.awaitLine(/^reached at /)
      const client = yield* dialClient(`${ws}/`, "web", clientToken("web", "ada", undefined, by))
      const read = (target: string) =>
        Session.withStream(
          client,
          (stream) =>
            Effect.zipRight(
              stream.write(Buffer.from("GET /path HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")),
              ByteStream.readText(stream)
            ),
          { label: "tcp", metadata: { target } }
        ).pipe(within(patience, `the end of the stream to ${target}`))
      expect(yield* read(`127.0.0.1:${port}`)).toMatch(/^HTTP\/1.1 200 [^]*inside \/path/)
      expect(yield* Effect.flip(read("127.0.0.1:1"))).toMatchObject({ _tag: "StreamReset", by: "peer" })
    }))

  it.scopedLive("wsmux relay ends with 0 when it is signalled, and its agent dials again", () =>
    Effect.gen(function*() {
      const { agent, relay } = yield* startBoth
      yield* relay.signal("SIGTERM")
      expect(yield* relay.exit).toBe(0)
      yield* agent.awaitLine(/dialling again/)
    }))

  it.scopedLive("wsmux agent ends with 1 when the relay refuses its token", () =>
    Effect.gen(function*() {
      const { ws } = yield* startBoth
      const { code, stderr } = yield* run(["agent", ws, "other", "--target", "1"], { env: { WSMUX_TOKEN: "wrong" } })
      expect([code, stderr]).toEqual([1, expect.stringMatching(/401.*the token is wrong/)])
    }))

  it.scopedLive("wsmux relay tells health and metrics at --admin", () =>
    Effect.gen(function*() {
      const file = yield* secretFile
      const args = ["--listen", "127.0.0.1:0", "--secret-file", file, "--admin", "127.0.0.1:0"]
      const relay = yield* start(["relay", ...args])
      const [, admin] = yield* relay.awaitLine(/status page: (http:\S+)\//)
      expect(yield* ask(`${admin}/healthz`)).toMatchObject({ status: 200, body: "ready\n" })
      expect((yield* ask(`${admin}/metrics`)).body).toMatch(/^wsmux_relay_agents 0$/m)
    }))

  it.scopedLive("wsmux relay answers 429 when a name has used up --requests-per-second", () =>
    Effect.gen(function*() {
      const file = yield* secretFile
      const args = ["relay", "--listen", "127.0.0.1:0", "--secret-file", file, "--requests-per-second", "1"]
      const relay = yield* start(args)
      const [, http] = yield* relay.awaitLine(/agents are reached at (http:.*)\/NAME$/)
      const answers = yield* Effect.all(Array.from({ length: 20 }, () => ask(`${http}/none`)), {
        concurrency: "unbounded"
      })
      expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([404, 429]))
      const { code, stderr } = yield* run([...args.slice(0, -1), "0"])
      expect([code, stderr]).toEqual([2, expect.stringContaining("--requests-per-second: expected a whole")])
    }))

  it.scopedLive("wsmux relay ends with 2 when no file has its secret", () =>
    Effect.gen(function*() {
      const { code, stderr } = yield* run(["relay", "--listen", "0"])
      expect([code, stderr]).toEqual([2, expect.stringMatching(/^wsmux: --secret-file: expected|^--secret-file/m)])
    }))
})
