import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { writeFileSync } from "node:fs"
import * as Http from "node:http"
import * as Https from "node:https"
import * as Net from "node:net"
import { WebSocketServer } from "ws"
import type { Finding } from "../../../src/cli/doctor/finding.js"
import { makeAuthority } from "../../support/certificates.js"
import { describeGo, start as startGo } from "../interop/goPeer.js"
import { secrets, startProxy, token } from "../interop/websocktunnel.js"
import { folder, serveWith } from "./forwards/commands.js"
import { run, start } from "./wsmux.js"

const secret = "correct-horse-battery-staple"

/** Runs the doctor, and completes with its findings by their checks. */
const examine = (url: string, args: ReadonlyArray<string> = [], env: Readonly<Record<string, string>> = {}) =>
  Effect.map(run(["doctor", url, ...args, "--json"], { env: { ...noProxy, ...env } }), ({ code, stderr, stdout }) => {
    const findings = stdout.trim().split("\n").map((line) => JSON.parse(line) as Finding)
    return {
      code,
      stderr,
      stdout,
      verdicts: Object.fromEntries(findings.map(({ check, verdict }) => [check, verdict])),
      of: (check: string) => findings.find((finding) => finding.check === check)
    }
  })

/** The environment of the tests may name a proxy. */
const noProxy = Object.fromEntries(["http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"]
  .map((name) => [name, ""]))

/** Listens at a free port, and completes with the port. */
const listen = (server: Net.Server & Pick<Http.Server, "closeAllConnections">) =>
  Effect.acquireRelease(
    Effect.async<number>((resume) => {
      server.listen(0, "127.0.0.1", () => resume(Effect.succeed((server.address() as Net.AddressInfo).port)))
    }),
    () =>
      Effect.sync(() => {
        server.close()
        server.closeAllConnections()
      })
  )

const answering = (status: number, headers: Http.OutgoingHttpHeaders, body: string) =>
  listen(Http.createServer((_, response) => response.writeHead(status, headers).end(body)))

describe("wsmux doctor", () => {
  it.scopedLive("wsmux doctor finds each step ok when wsmux serve demands a token", () =>
    Effect.gen(function*() {
      const { url } = yield* serveWith(["--token", secret, "--allow", "db:1"])
      const { code, of, stderr, stdout, verdicts } = yield* examine(url, [], { WSMUX_TOKEN: secret })
      const { buffering, ...others } = verdicts
      expect(others).toEqual({
        proxy: "ok",
        names: "ok",
        tcp: "ok",
        upgrade: "ok",
        "round trip": "ok",
        peer: "ok",
        throughput: "ok",
        clock: "ok"
      })
      expect(buffering).toMatch(/^(ok|warn)$/) // a busy machine may hold messages back
      expect(of("peer")?.detail).toMatch(/^wsmux serve \(.*open reset.*\); forwards tcp unix udp listen measure$/)
      expect(of("throughput")?.detail).toMatch(/^\d+\.\d MB\/s to the server, \d+\.\d MB\/s from it$/)
      expect(of("buffering")?.detail).toMatch(/^64 bytes come back in .* ms, and 64 KiB in .* ms/)
      expect({ code, stderr, leaks: stdout.includes(secret) }).toEqual({ code: 0, stderr: "", leaks: false })
    }))

  it.scopedLive("wsmux doctor leaves no session at the server when it has ended", () =>
    Effect.gen(function*() {
      const server = yield* serveWith(["--token", secret, "--allow", "db:1", "--admin", "127.0.0.1:0"])
      const [, page] = yield* server.awaitLine(/status page: (\S+)\//)
      expect((yield* examine(server.url, ["--idle", "100ms"], { WSMUX_TOKEN: secret })).code).toBe(0)
      const { stdout } = yield* run(["status", "--json", page!])
      const { lastEnd, sessions } = JSON.parse(stdout)
      expect({ sessions, reason: lastEnd.reason }).toEqual({
        sessions: [],
        reason: "the session was closed by the peer (code 1000)"
      })
    }))

  it.scopedLive("wsmux doctor does not measure when wsmux serve demands no token", () =>
    Effect.gen(function*() {
      const { url } = yield* serveWith(["--allow", "db:1"])
      const { code, of, verdicts } = yield* examine(url)
      expect({ code, peer: verdicts.peer, throughput: of("throughput"), buffering: verdicts.buffering }).toEqual({
        code: 0,
        peer: "ok",
        buffering: "warn",
        throughput: {
          check: "throughput",
          verdict: "warn",
          detail: "not measured: the peer does not offer it",
          advice: "wsmux serve measures only with --token-file or --rules, for clients who authenticate"
        }
      })
    }))

  it.scopedLive("wsmux doctor names the relay when it dials as a client of a name, and as an agent", () =>
    Effect.gen(function*() {
      const path = yield* folder
      writeFileSync(`${path}/secret`, `${secret}-of-the-relay\n`)
      const relaying = ["relay", "--secret-file", `${path}/secret`]
      const relay = yield* start([...relaying, "--listen", "127.0.0.1:0"])
      const [, url] = yield* relay.awaitLine(/^listening on (ws:\S+), agents are reached at /)
      const tokenFor = (owner: string) =>
        Effect.map(run([...relaying, "--token-for", owner]), ({ stdout }) => ({ WSMUX_TOKEN: stdout.trim() }))
      const env = yield* tokenFor("ada@web")
      const alone = yield* examine(`${url}/web`, [], env)
      expect({ code: alone.code, ...alone.of("peer") }).toMatchObject({
        code: 0,
        verdict: "warn",
        detail: expect.stringMatching(/^wsmux relay \(.*\), for clients of web; no agent tells what it forwards$/),
        advice: "start wsmux agent with this name, and --allow"
      })
      const agent = yield* start(["agent", url!, "web", "--allow", "db:1"], { env: yield* tokenFor("web") })
      yield* agent.awaitLine(/^reached at /)
      const { code, of } = yield* examine(`${url}/web`, [], env)
      expect({ code, ...of("peer") }).toMatchObject({
        code: 0,
        verdict: "ok",
        detail: expect.stringMatching(/^wsmux relay \(.*\), for clients of web; the agent forwards tcp unix udp /)
      })
      expect(of("throughput")).toMatchObject({ verdict: "warn", advice: "only wsmux serve measures, and no relay" })
      const other = yield* examine(url!, ["--header", "x-websocktunnel-id: other"], yield* tokenFor("other"))
      expect(other.of("peer")).toMatchObject({
        verdict: "ok",
        detail: expect.stringMatching(/^wsmux relay \(.*\), which serves this agent at http:\S+\/other$/)
      })
    }))

  it.scopedLive("wsmux doctor prints a line for each check, and the advice below, without --json", () =>
    Effect.gen(function*() {
      const { code, stderr, stdout } = yield* run(["doctor", "ws://127.0.0.1:1"], { env: noProxy })
      expect({ code, stderr, stdout }).toEqual({
        code: 1,
        stderr: "wsmux: doctor: tcp failed\n",
        stdout: [
          "ok    proxy       none",
          "ok    names       the server 127.0.0.1 is an address",
          "fail  tcp         127.0.0.1:1: ECONNREFUSED",
          "                  no process listens there: check the port, and that the server runs",
          ""
        ].join("\n")
      })
    }))

  it.live("wsmux doctor stops at the name when the name has no address", () =>
    Effect.gen(function*() {
      const { code, of, verdicts } = yield* examine("ws://nowhere.invalid")
      expect({ code, verdicts }).toEqual({ code: 1, verdicts: { proxy: "ok", names: "fail" } })
      expect(of("names")?.detail).toMatch(/^the server nowhere\.invalid has no address \(E\w+\)$/)
    }))

  it.live("wsmux doctor exits with 2 when the address is no WebSocket's", () =>
    Effect.gen(function*() {
      const { code, stderr, stdout } = yield* run(["doctor", `http://user:${secret}@127.0.0.1`])
      const complaint = "wsmux: url: expected ws://host:port or wss://host:port\n"
      expect({ code, stderr, stdout }).toEqual({ code: 2, stderr: complaint, stdout: "" })
    }))

  it.live("wsmux doctor names the proxy and its variable without the password when one is set", () =>
    Effect.gen(function*() {
      const env = { HTTP_PROXY: `http://user:${secret}@127.0.0.1:1` }
      const { of, stdout, verdicts } = yield* examine("ws://db.example", [], env)
      expect(of("proxy")?.detail).toBe("http://127.0.0.1:1, from HTTP_PROXY")
      expect({ verdicts, leaks: stdout.includes(secret) }).toEqual({
        verdicts: { proxy: "ok", names: "ok", tcp: "fail" },
        leaks: false
      })
      const passed = yield* examine("ws://127.0.0.1:1", [], { ...env, NO_PROXY: "127.0.0.1" })
      expect(passed.of("proxy")?.detail).toBe("none, since NO_PROXY names the host in spite of HTTP_PROXY")
    }))
})

describe("wsmux doctor", () => {
  const answers: Readonly<
    Record<string, readonly [status: number, headers: Http.OutgoingHttpHeaders, body: string, finding: object]>
  > = {
    "401": [401, {}, "", {
      detail: "the answer is 401 instead of 101",
      advice: "give the token by --token-file or WSMUX_TOKEN"
    }],
    "404 with a page": [404, { "content-type": "text/html" }, "<h1>not here</h1>", {
      detail: "the answer is 404, an HTML page instead of 101",
      advice: "a web server or a login page answers: check host and path, and what the proxy passes on"
    }],
    "403": [403, {}, "", { advice: "the server or a proxy refuses this client: check its rules, and --header" }],
    "426": [426, { connection: "upgrade", upgrade: "websocket" }, "", {
      advice: "the headers of the upgrade are lost on the way: the proxy must pass Upgrade and Connection on"
    }],
    "502": [502, {}, "", {
      advice: "a proxy before the server does not reach it: check that the server runs, and the address in the proxy"
    }],
    "a redirect": [302, { location: `https://login.example/?next=${secret}` }, "", {
      detail: "the answer is 302 to https://login.example/?*** instead of 101"
    }]
  }
  for (const [what, [status, headers, body, finding]] of Object.entries(answers)) {
    it.scopedLive(`wsmux doctor explains the answer to the upgrade when it is ${what}`, () =>
      Effect.gen(function*() {
        const port = yield* answering(status, headers, body)
        const { code, of, stdout } = yield* examine(`ws://127.0.0.1:${port}`)
        expect(of("upgrade")).toMatchObject({ verdict: "fail", ...finding })
        expect({ code, leaks: stdout.includes(secret) }).toEqual({ code: 1, leaks: false })
      }))
  }

  /** Go's wire up to v102 as its users know it: no frame that is unknown or malformed ends the session. */
  it.scopedLive("wsmux doctor knows Go up to v102 when a peer ignores unknown frames", () =>
    Effect.gen(function*() {
      const server = Http.createServer()
      new WebSocketServer({ server }).on("connection", (ws) =>
        ws.on("message", (data: Buffer) => {
          if (data[0] === 1) ws.send(Buffer.concat([Buffer.of(2), data.subarray(1, 5), Buffer.of(0, 4, 0, 0)]))
        }))
      const port = yield* listen(server)
      const { code, of, verdicts } = yield* examine(`ws://127.0.0.1:${port}`)
      expect(of("peer")).toEqual({
        check: "peer",
        verdict: "warn",
        detail: "Go wsmux up to v102; accepts streams with a window of 1024 bytes",
        advice: "use connect --listen: -L, -R, -D and -W need a wsmux serve as new as this command"
      })
      expect({ code, upgrade: verdicts.upgrade, trip: verdicts["round trip"] }).toEqual({
        code: 0,
        upgrade: "ok",
        trip: "ok"
      })
    }))

  /** Holds the bytes of each direction back: until as many have come, or for one second. */
  const holding = (target: number, enough: number) =>
    listen(Object.assign(
      Net.createServer({ allowHalfOpen: true }, (near) => {
        const far = Net.connect({ port: target, host: "127.0.0.1", allowHalfOpen: true })
        for (const [from, to] of [[near, far], [far, near]] as const) {
          let held: Array<Buffer> = []
          let size = 0
          let timer: NodeJS.Timeout | undefined
          const flush = () => {
            clearTimeout(timer)
            timer = undefined
            for (const bytes of held) to.write(bytes)
            held = []
            size = 0
          }
          from.on("data", (bytes: Buffer) => {
            held.push(bytes)
            size += bytes.length
            if (size >= enough) flush()
            else timer ??= setTimeout(flush, 1000)
          })
          from.on("end", () => {
            flush()
            to.end()
          })
          from.on("error", () => {
            clearTimeout(timer)
            to.destroy()
          })
        }
      }),
      { closeAllConnections: () => {} }
    ))

  for (const [what, enough] of [["every byte", Infinity], ["less than 16 KiB", 16 * 1024]] as const) {
    it.scopedLive(`wsmux doctor warns of a proxy when it holds ${what} back for a second`, () =>
      Effect.gen(function*() {
        const { url } = yield* serveWith(["--token", secret, "--allow", "db:1"])
        const port = yield* holding(Number(new URL(url).port), enough)
        const { code, of, verdicts } = yield* examine(`ws://127.0.0.1:${port}`, [], { WSMUX_TOKEN: secret })
        expect(of("round trip")).toMatchObject({
          verdict: "warn",
          detail: expect.stringMatching(/^\d{4} ms, .* pings?; at most \d{4} ms, where TCP connects in \S+ ms$/),
          advice: "a proxy on the way holds bytes back, or is far from the server: turn off its buffers and scanners"
        })
        expect({ code, peer: verdicts.peer }).toEqual({ code: 0, peer: "ok" })
        for (const check of ["throughput", "buffering"]) { // some round trips more than the server allows
          const finding = of(check)
          expect(["ok", "see the round trip: answers come too late"]).toContain(finding?.advice ?? finding?.verdict)
        }
      }))
  }

  it.scopedLive("wsmux doctor knows an echo when a WebSocket server sends each message back", () =>
    Effect.gen(function*() {
      const server = Http.createServer()
      new WebSocketServer({ server }).on("connection", (ws) => ws.on("message", (data) => ws.send(data)))
      const port = yield* listen(server)
      const { code, of, verdicts } = yield* examine(`ws://127.0.0.1:${port}`)
      expect(of("peer")).toMatchObject({ verdict: "fail", detail: "a WebSocket server that echoes messages" })
      expect({ code, upgrade: verdicts.upgrade, trip: verdicts["round trip"] }).toEqual({
        code: 1,
        upgrade: "ok",
        trip: "ok"
      })
    }))

  it.scopedLive("wsmux doctor tells that a WebSocket is cut when it idles and --idle is given", () =>
    Effect.gen(function*() {
      const server = Http.createServer()
      let dials = 0
      new WebSocketServer({ server }).on("connection", (ws) => {
        ws.on("message", (data) => ws.send(data))
        if (++dials === 2) setTimeout(() => ws.terminate(), 500) // the one that idles comes behind all other checks
      })
      const port = yield* listen(server)
      const { of } = yield* examine(`ws://127.0.0.1:${port}`, ["--idle", "20s"])
      expect(of("idle")).toMatchObject({
        verdict: "fail",
        detail: expect.stringMatching(/^the WebSocket was cut after/)
      })
    }))

  it.scopedLive("wsmux doctor tells that a WebSocket lives when it idles and --idle is given", () =>
    Effect.gen(function*() {
      const { url } = yield* serveWith(["--allow", "db:1"])
      const { of } = yield* examine(url, ["--idle", "300ms"])
      expect(of("idle")).toMatchObject({
        verdict: "ok",
        detail: expect.stringMatching(/^the WebSocket lives after 0\.3 s/)
      })
    }))
})

describe("wsmux doctor", () => {
  const authority = makeAuthority("an authority of the test")
  const day = 86_400_000
  const secure = (end: number) => listen(Https.createServer(authority.issue("server", new Date(Date.now() + end))))

  it.scopedLive("wsmux doctor warns of a certificate when it ends soon, and trusts --tls-ca", () =>
    Effect.gen(function*() {
      const path = yield* folder
      writeFileSync(`${path}/ca.pem`, authority.cert)
      const { cert, key } = authority.issue("server", new Date(Date.now() + 5 * day))
      writeFileSync(`${path}/cert.pem`, cert)
      writeFileSync(`${path}/key.pem`, key)
      const files = ["--tls-cert", `${path}/cert.pem`, "--tls-key", `${path}/key.pem`]
      const { url } = yield* serveWith([...files, "--allow", "db:1"])
      const { code, of, verdicts } = yield* examine(url, ["--tls-ca", `${path}/ca.pem`])
      expect(of("tls")).toMatchObject({
        verdict: "warn",
        detail: expect.stringMatching(/^TLSv1\.3, certificate of 127\.0\.0\.1 by an authority of the test, ends on /),
        advice: "renew the certificate of the server: 4 days are left"
      })
      expect({ code, peer: verdicts.peer }).toEqual({ code: 0, peer: "ok" })
    }))

  it.scopedLive("wsmux doctor fails and sends no request when the authority is not trusted", () =>
    Effect.gen(function*() {
      let requests = 0
      const server = Https.createServer(authority.issue("server"), () => requests++)
      const port = yield* listen(server.on("upgrade", () => requests++))
      const { code, of, verdicts } = yield* examine(`wss://127.0.0.1:${port}`, ["--token", secret])
      expect(of("tls")).toMatchObject({ advice: "the authority is not known here: name it by --tls-ca" })
      expect({ code, verdict: verdicts.tls, upgrade: verdicts.upgrade, requests }).toEqual({
        code: 1,
        verdict: "fail",
        upgrade: undefined,
        requests: 0
      })
    }))

  it.scopedLive("wsmux doctor names the fault of a certificate when it has expired or is self-signed", () =>
    Effect.gen(function*() {
      const path = yield* folder
      writeFileSync(`${path}/ca.pem`, authority.cert)
      const expired = yield* secure(-3_600_000)
      const first = yield* examine(`wss://127.0.0.1:${expired}`, ["--tls-ca", `${path}/ca.pem`])
      expect(first.of("tls")).toMatchObject({
        verdict: "fail",
        detail: expect.stringMatching(/: CERT_HAS_EXPIRED$/),
        advice: "the certificate has expired: renew it at the server"
      })
      const own = makeAuthority("self")
      const selfSigned = yield* listen(Https.createServer({ cert: own.cert, key: own.key }))
      const second = yield* examine(`wss://127.0.0.1:${selfSigned}`, ["--tls-ca", `${path}/ca.pem`])
      expect(second.of("tls")).toMatchObject({
        verdict: "fail",
        detail: expect.stringMatching(
          /^TLSv1\.3, certificate of self by itself, until .*: DEPTH_ZERO_SELF_SIGNED_CERT$/
        ),
        advice: "--tls-ca names another authority"
      })
    }))

  it.scopedLive("wsmux doctor tells to dial another name when the certificate is for other names", () =>
    Effect.gen(function*() {
      const path = yield* folder
      writeFileSync(`${path}/ca.pem`, authority.cert)
      const port = yield* secure(day)
      const { of } = yield* examine(`wss://localhost:${port}`, ["--tls-ca", `${path}/ca.pem`])
      expect(of("tls")).toMatchObject({
        verdict: "fail",
        advice: "the certificate is for other names: dial one of them"
      })
    }))

  it.scopedLive("wsmux doctor knows a server without TLS when the address is of wss://", () =>
    Effect.gen(function*() {
      const port = yield* answering(200, {}, "")
      const { of } = yield* examine(`wss://127.0.0.1:${port}`)
      expect(of("tls")).toMatchObject({
        verdict: "fail",
        advice: "the server speaks no TLS at this port: dial ws:// or another port"
      })
    }))
})

describeGo("wsmux doctor", () => {
  it.scopedLive("wsmux doctor knows Go and its generation when a Go peer accepts streams", () =>
    Effect.gen(function*() {
      const go = yield* startGo({ listen: "127.0.0.1:0", serve: "echo" })
      const { address } = yield* go.next("listening")
      const { code, of, verdicts } = yield* examine(`ws://${address}`)
      expect(of("peer")).toMatchObject({
        verdict: "warn",
        detail: "Go wsmux from v103 on, or an older wsmux serve; accepts streams with a window of 1024 bytes"
      })
      expect({ code, throughput: verdicts.throughput }).toEqual({ code: 0, throughput: "warn" })
    }))

  it.scopedLive("wsmux doctor tells the public address when the peer is a websocktunnel proxy", () =>
    Effect.gen(function*() {
      const { url, viewers } = yield* startProxy
      const args = ["--token", token(secrets[0]), "--header", "x-websocktunnel-id: tunnel"]
      const { of } = yield* examine(url, args)
      expect(of("peer")).toMatchObject({
        verdict: "ok",
        detail: `a websocktunnel proxy, which serves this client at ${viewers}`
      })
    }))
})
