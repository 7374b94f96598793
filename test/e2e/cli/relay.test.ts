import { describe, expect, it } from "@effect/vitest"
import * as ByteStream from "effect-wsmux/ByteStream"
import * as Session from "effect-wsmux/Session"
import * as Effect from "effect/Effect"
import { existsSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs"
import * as Http from "node:http"
import { tmpdir } from "node:os"
import { dirname, join } from "node:path"
import { WebSocket, WebSocketServer } from "ws"
import { makeAuthority } from "../../support/certificates.js"
import { freePort } from "../../support/freePort.js"
import { ask, clientToken, dialClient, tokenOf } from "../../support/relay.js"
import { eventually, listening, portOf } from "../../support/transports.js"
import { patience, within } from "../../support/within.js"
import { run, start } from "./inProcess.js"
import * as Tcp from "./tcp.js"
import * as Process from "./wsmux.js"

/** A file with a secret, in a folder that the scope removes. */
const secretFile = Effect.acquireRelease(
  Effect.sync(() => mkdtempSync(join(tmpdir(), "wsmux-relay-"))),
  (folder) => Effect.sync(() => rmSync(folder, { recursive: true }))
).pipe(Effect.map((folder) => {
  const path = join(folder, "secret")
  writeFileSync(path, "0123456789abcdef0123456789abcdef\n")
  return path
}))

/** A web service of this process, which tells the path of each request and WebSocket. */
const service = Effect.suspend(() => {
  const server = Http.createServer((request, response) => response.end(`inside ${request.url}`))
  new WebSocketServer({ server }).on(
    "connection",
    (ws, { url }) => ws.on("message", (data) => ws.send(`${url} ${String(data)}`))
  )
  return Effect.map(listening(server), portOf)
})

/** A relay and an agent as commands. */
const startBoth = Effect.gen(function*() {
  const file = yield* secretFile
  const relay = yield* Process.start(["relay", "--listen", "127.0.0.1:0", "--secret-file", file])
  const [, ws] = yield* relay.awaitLine(/^listening on (ws:\S+), agents are reached at http/)
  const token = (yield* run(["relay", "--secret-file", file, "--token-for", "web"])).stdout.trim()
  const target = `127.0.0.1:${yield* service}`
  const agent = yield* Process.start(["agent", ws!, "web", "--target", target], { env: { WSMUX_TOKEN: token } })
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

  it.scopedLive("wsmux connect forwards by a name to what wsmux agent --allow names, and to nothing else", () =>
    Effect.gen(function*() {
      const file = yield* secretFile
      const relay = yield* start(["relay", "--listen", "127.0.0.1:0", "--secret-file", file])
      const [, ws] = yield* relay.awaitLine(/^listening on (ws:\S+),/)
      const tokenFor = (owner: string) =>
        Effect.map(run(["relay", "--secret-file", file, "--token-for", owner]), ({ stdout }) => stdout.trim())
      const port = yield* service
      const agent = yield* start(["agent", ws!, "web", "--allow", `127.0.0.1:${port}`], {
        env: { WSMUX_TOKEN: yield* tokenFor("web") }
      })
      yield* agent.awaitLine(/^reached at /)
      const [good, bad] = yield* Effect.all([freePort, freePort])
      const forwards = ["--resume", "2m", "-L", `${good}:127.0.0.1:${port}`, "-L", `${bad}:127.0.0.1:1`]
      const env = { WSMUX_TOKEN: yield* tokenFor("ada@web") }
      const client = yield* start(["connect", `${ws}/web`, ...forwards], { env })
      yield* client.awaitLine(/connected to/)
      const asking = ask(`http://127.0.0.1:${good}/path`)
      const refused = (error: Error) => (error as NodeJS.ErrnoException).code === "ECONNREFUSED"
      const answer = yield* Effect.retry(Effect.delay(asking, 20), { while: refused }) // until the port is open
      expect(answer).toMatchObject({ status: 200, body: "inside /path" })
      yield* Effect.flip(ask(`http://127.0.0.1:${bad}/`))
      yield* client.awaitLine(/cannot forward .*127\.0\.0\.1:1/)
      const { code, stderr } = yield* run(["connect", `${ws}/other`, ...forwards], { env })
      expect([code, stderr]).toEqual([1, expect.stringMatching(/the server answered 403/)])
    }))

  it.scopedLive("wsmux connect tells why when the token of --token-for has used up its streams", () =>
    Effect.gen(function*() {
      const file = yield* secretFile
      const relay = yield* start(["relay", "--listen", "127.0.0.1:0", "--secret-file", file])
      const [, ws] = yield* relay.awaitLine(/^listening on (ws:\S+),/)
      const tokenFor = (...args: ReadonlyArray<string>) =>
        Effect.map(run(["relay", "--secret-file", file, "--token-for", ...args]), ({ stdout }) => ({
          env: { WSMUX_TOKEN: stdout.trim() }
        }))
      const echo = yield* Tcp.echo
      const agent = yield* start(["agent", ws!, "web", "--allow", `127.0.0.1:${echo}`], yield* tokenFor("web"))
      yield* agent.awaitLine(/^reached at /)
      const limited = yield* tokenFor("ada@web", "--max-streams", "1")
      const client = yield* start(["connect", `${ws}/web`, "-L", `0:127.0.0.1:${echo}`], limited)
      const [, port] = yield* client.awaitLine(/^listening on 127\.0\.0\.1:(\d+),/)
      const first = yield* Tcp.connect(Number(port))
      yield* first.write("hello")
      yield* first.received(5)
      const second = yield* Tcp.connect(Number(port))
      yield* second.write("hello")
      yield* client.awaitLine(/cannot forward 127\.0\.0\.1:\d+ to .*: the token has too many streams/)
    }))

  it.scopedLive("wsmux relay passes https and wss by NAME.domain when it has a certificate", () =>
    Effect.gen(function*() {
      const file = yield* secretFile
      const authority = makeAuthority("the authority of the tests")
      const { cert, key } = authority.issue("127.0.0.1")
      const [ca, chain, pem] = Object.entries({ ca: authority.cert, cert, key }).map(([name, text]) => {
        const path = join(dirname(file), `${name}.pem`)
        writeFileSync(path, text)
        return path
      })
      const secure = ["--tls-cert", chain!, "--tls-key", pem!, "--domain", "relay.test"]
      const relay = yield* start(["relay", "--listen", "127.0.0.1:0", "--secret-file", file, ...secure])
      const [, wss, port] = yield* relay.awaitLine(/^listening on (wss:\S+:(\d+)), agents are reached at https:/)
      const args = ["agent", wss!, "web", "--target", `127.0.0.1:${yield* service}`, "--tls-ca", ca!]
      const by = readFileSync(file, "utf8").trim()
      const agent = yield* start(args, { env: { WSMUX_TOKEN: tokenOf("web", { by }) } })
      yield* agent.awaitLine(new RegExp(`^reached at https://web\\.relay\\.test:${port}$`))
      const trusting = { ca: authority.cert, servername: "", headers: { host: `web.relay.test:${port}` } }
      const answer = yield* ask(`https://127.0.0.1:${port}/path`, trusting)
      expect(answer).toMatchObject({ status: 200, body: "inside /path" })
      const echo = yield* Effect.async<string, Error>((resume) => {
        const ws = new WebSocket(`${wss}/chat`, trusting)
        ws.on("open", () => ws.send("hello"))
        ws.on("message", (data) => resume(Effect.succeed(String(data))))
        ws.on("error", (error) => resume(Effect.fail(error)))
        return Effect.sync(() => ws.terminate())
      }).pipe(within(patience, "the message of the service"))
      expect(echo).toBe("/chat hello")
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
      const relay = yield* Process.start(["relay", ...args])
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

  it.scopedLive("wsmux relay tells NAME.domain, and ADDRESS where it listens at each address", () =>
    Effect.gen(function*() {
      const args = ["relay", "--secret-file", yield* secretFile]
      const everywhere = yield* start([...args, "--listen", "0.0.0.0:0"])
      const [, port] = yield* everywhere.awaitLine(/reached at http:\/\/ADDRESS:(\d+)\/NAME, .*--public-url/)
      const env = { WSMUX_TOKEN: (yield* run([...args, "--token-for", "web"])).stdout.trim() }
      const agent = yield* start(["agent", `ws://127.0.0.1:${port}`, "web", "--target", "1"], { env })
      yield* agent.awaitLine(new RegExp(`^reached at http://127\\.0\\.0\\.1:${port}/web$`))
      const below = yield* start([...args, "--listen", "127.0.0.1:0", "--domain", "relay.example"])
      yield* below.awaitLine(/reached at http:\/\/NAME\.relay\.example:\d+$/)
    }))

  it.scopedLive("wsmux relay opens --access-log again at SIGHUP", () =>
    Effect.gen(function*() {
      const file = yield* secretFile
      const log = join(dirname(file), "log")
      const relay = yield* start(["relay", "--listen", "127.0.0.1:0", "--secret-file", file, "--access-log", log])
      const [, http] = yield* relay.awaitLine(/agents are reached at (http:.*)\/NAME$/)
      renameSync(log, `${log}.1`)
      yield* relay.signal("SIGHUP")
      yield* eventually(() => existsSync(log))
      const answered = Effect.zipRight(ask(`${http}/none`), Effect.sync(() => readFileSync(log, "utf8")))
      yield* Effect.repeat(Effect.delay(answered, 20), { until: (text) => text.includes("/none") }).pipe(
        within(patience, "a line in the new file")
      )
    }))

  it.scopedLive.skipIf(!existsSync("/dev/full"))(
    "wsmux relay warns once when the disk of --access-log is full",
    () =>
      Effect.gen(function*() {
        const args = ["relay", "--listen", "127.0.0.1:0", "--secret-file", yield* secretFile]
        const relay = yield* start([...args, "--access-log", "/dev/full"])
        const [, http] = yield* relay.awaitLine(/agents are reached at (http:.*)\/NAME$/)
        yield* ask(`${http}/none`)
        yield* relay.awaitLine(/--access-log: ENOSPC/)
        expect((yield* ask(`${http}/none`)).status).toBe(404)
      })
  )

  it.scopedLive("wsmux relay warns when its directory is away, and when only its machine can dial it", () =>
    Effect.gen(function*() {
      const file = yield* secretFile
      const nodes = join(dirname(file), "nodes")
      writeFileSync(nodes, "the secret of the nodes")
      const cluster = ["--directory", "redis://127.0.0.1:1", "--node-secret-file", nodes]
      const relay = yield* start(["relay", "--secret-file", file, "--listen", "127.0.0.1:0", ...cluster])
      yield* relay.awaitLine(/cannot ask the directory: connect ECONNREFUSED 127\.0\.0\.1:1/)
      yield* relay.awaitLine(/only relays of this machine can dial ws:\/\/127\.0\.0\.1:\d+; --node-url/)
    }))

  it.scopedLive("wsmux relay ends with 2 when no file has its secret", () =>
    Effect.gen(function*() {
      const { code, stderr } = yield* Process.run(["relay", "--listen", "0"])
      expect([code, stderr]).toEqual([2, expect.stringMatching(/^wsmux: --secret-file: expected|^--secret-file/m)])
    }))
})
