import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { mkdtempSync, rmSync } from "node:fs"
import { createServer } from "node:http"
import type { AddressInfo } from "node:net"
import { tmpdir } from "node:os"
import { fileURLToPath } from "node:url"
import packageJson from "../../../package.json" with { type: "json" }
import * as Tcp from "./tcp.js"
import { run, serve, start } from "./wsmux.js"

/** It is there, and it is no certificate. */
const someFile = fileURLToPath(import.meta.url)

/** Nobody listens at port 1. */
const nobody = "127.0.0.1:1"
const serving = ["serve", "--listen", "127.0.0.1:0", "--target", nobody]
const connecting = ["connect", `ws://${nobody}`, "--listen", "127.0.0.1:0"]

const wants = {
  listen: "--listen: expected host:port, such as 127.0.0.1:8080, [::1]:8080 or 8080",
  target: "--target: expected host:port, such as 127.0.0.1:8080, [::1]:8080 or 8080",
  size: "--buffer-size: expected a size from 1 to 64M, such as 65536, 256K or 4MiB",
  keepAlive: "--keep-alive: expected a duration such as 500ms, 10s or 1m, or off",
  header: "--header: expected name:value in ASCII, such as 'x-api-key: abc'",
  logLevel: "--log-level: expected one of all, trace, debug, info, warning, error, fatal, none",
  stats: "--stats: expected a duration such as 500ms or 10s",
  token: "the token must be one or more visible ASCII characters", // after the name of what gave it
  authentication: "--listen: other machines can reach 0.0.0.0:0, so give a --token or --allow-anonymous"
}

describe("a fault of the command line is one line, and exits with 2", () => {
  const faults: ReadonlyArray<readonly [args: ReadonlyArray<string>, complaint: string]> = [
    [["serv"], "Invalid subcommand for wsmux - use one of 'serve', 'connect', 'demo'"],
    [["serve", "--target", nobody], "Expected to find option: '--listen'"],
    [["serve"], "Expected to find option: '--listen'; Expected to find option: '--target'"],
    [["serve", "--listen", "127.0.0.1:0"], "Expected to find option: '--target'"],
    [["serve", "--target", nobody, "--listen"], "Expected a value following option: '--listen'"],
    [["serve", "--listen", "here", "--target", nobody], wants.listen],
    [["serve", "--listen", "127.0.0.1", "--target", nobody], wants.listen],
    [["serve", "--listen", ":65536", "--target", nobody], wants.listen],
    [["serve", "--listen", "127.0.0.1:65536", "--target", nobody], wants.listen],
    [["serve", "--listen", "999.1.1.1:80", "--target", nobody], wants.listen],
    [["serve", "--listen", "[localhost]:80", "--target", nobody], wants.listen],
    [["serve", "--listen", "::1:80", "--target", nobody], wants.listen],
    [["serve", "--listen", "127.0.0.1:0", "--target", "there:http"], wants.target],
    [["serve", "--listen", "127.0.0.1:0", "--target", "127.0.0.1:0"], "--target: expected a port from 1 on"],
    [[...serving, "--listen", "127.0.0.1:0"], "--listen: the option is given twice"],
    [[...serving, "--log-level=loud"], `${wants.logLevel}, not loud`],
    [[...serving, "--log-level"], wants.logLevel],
    [[...serving, "--buffer-size", "0"], wants.size],
    [[...serving, "--buffer-size", "64kb"], wants.size],
    [[...serving, "--buffer-size", "65MiB"], wants.size],
    [[...serving, "--buffer-size"], "Expected a value following option: '--buffer-size'"],
    [[...serving, "--token"], "Expected a value following option: '--token'"],
    [[...serving, "--token="], "Expected a value following option: '--token'"],
    [[...serving, "--tls-ca"], "Received unknown argument: '--tls-ca'"],
    [[...serving, "--keep-alive", "10"], wants.keepAlive],
    [[...serving, "--keep-alive", "0s"], wants.keepAlive],
    [
      [...serving, "--keep-alive", "1ms"],
      "--keep-alive: expected 500ms or more, so that a living peer can answer in time"
    ],
    [[...serving, "--tcp-keep-alive", "soon"], "--tcp-keep-alive: expected a duration such as 1s, 30s or 2m, or off"],
    [[...serving, "--tcp-keep-alive", "999ms"], "--tcp-keep-alive: expected 1s to 9h, or off"],
    [[...serving, "--wizard"], "--wizard: expected a terminal for the questions"],
    [["--wizard"], "--wizard: expected a terminal for the questions"],
    [[...serving, "--stats", "often"], wants.stats],
    [[...serving, "--token", ""], `--token: ${wants.token}`],
    [[...serving, "--token", "two words"], `--token: ${wants.token}`],
    [[...serving, "--token-file", "/nowhere/token"], "--token-file: /nowhere/token does not exist"],
    [[...serving, "--token-file", "/dev/null"], `--token-file: ${wants.token}`],
    [[...serving, "--token-file", someFile], `--token-file: ${wants.token}`],
    [[...serving, "--token-file", "/dev/null", "--token", "secret"], "--token, --token-file: give one of them"],
    [[...serving, "--bogus"], "Received unknown argument: '--bogus'"],
    [[...serving, "extra"], "Received unknown argument: 'extra'"],
    [[...serving, "--tls-cert", "/nowhere/cert.pem"], "--tls-cert: /nowhere/cert.pem does not exist"],
    [[...serving, "--tls-cert", tmpdir()], `--tls-cert: ${tmpdir()} is a directory`],
    [[...serving, "--tls-cert", someFile], "--tls-cert, --tls-key: give both"],
    [[...serving, "--tls-key", someFile], "--tls-cert, --tls-key: give both"],
    [
      [...serving, "--tls-cert", "/dev/null", "--tls-key", "/dev/null"],
      "--tls-cert, --tls-key: expected a certificate (PEM) and its key in /dev/null and /dev/null"
    ],
    [
      [...serving, "--tls-cert", someFile, "--tls-key", someFile],
      `--tls-cert, --tls-key: expected a certificate (PEM) and its key in ${someFile} and ${someFile}`
    ],
    [["serve", "--listen", "0.0.0.0:0", "--target", nobody], wants.authentication],
    [["connect", "--listen", "127.0.0.1:0"], "Missing argument <url>"],
    [["connect", `ws://${nobody}`], "Expected to find option: '--listen'"],
    [["connect", `ws://${nobody}`, "--listen", "127.0.0.1:"], wants.listen],
    [[...connecting, "--buffer-size", "-1"], wants.size],
    [[...connecting, "--keep-alive", "never"], wants.keepAlive],
    [[...connecting, "--bogus"], "Received unknown argument: '--bogus'"],
    [[...connecting, "extra"], "Received unknown argument: 'extra'"],
    [[...connecting, "--tls-ca", "/nowhere/ca.pem"], "--tls-ca: /nowhere/ca.pem does not exist"],
    [[...connecting, "--tls-ca", someFile], "--tls-ca: expected a wss:// address beside it"],
    [
      ["connect", `wss://${nobody}`, "--listen", "127.0.0.1:0", "--tls-ca", someFile],
      `--tls-ca: ${someFile} holds no certificate (PEM)`
    ],
    ...["x-key", ": abc", "x key: abc", "x-key: a\nb", "x-key: \u00e4"].map((header) =>
      [[...connecting, "--header", header], wants.header] as const
    ),
    [[...connecting, "--header"], "Expected a value following option: '--header'"],
    [[...connecting, "--header="], "Expected a value following option: '--header'"],
    [[...connecting, "--header", "", "--reconnect"], "Expected a value following option: '--header'"],
    [[...connecting, "--header", "a:1", "--header", "A:2"], "--header: a is given twice"],
    [[...connecting, "--header", "Upgrade: h2c"], "--header: upgrade belongs to the WebSocket handshake"],
    [
      [...connecting, "--header", "authorization: Basic abc", "--token", "secret"],
      "--header: the token is the authorization, so give one of them"
    ],
    [[...connecting, "--max-reconnect-interval", "1m"], "--max-reconnect-interval: expected --reconnect beside it"],
    [
      [...connecting, "--reconnect", "--max-reconnect-interval", "later"],
      "--max-reconnect-interval: expected a duration such as 500ms, 30s or 5m"
    ],
    ...["nonsense", "ftp://127.0.0.1"].map((url) =>
      [["connect", url, "--listen", "127.0.0.1:0"], `cannot connect to ${url}: not a ws:// or wss:// address`] as const
    ),
    [
      ["connect", `ws://${nobody}`, "--listen", "0.0.0.0:0", "--token", "secret"],
      "--listen: other machines can reach 0.0.0.0:0, so give --allow-anonymous"
    ],
    ...["0", "-1", "1.5", "many"].map((files) =>
      [["demo", "--files", files], "--files: expected a whole number from 1 on"] as const
    ),
    [["demo", "--files"], "Expected a value following option: '--files'"],
    [["demo", "--dir", "/nowhere"], "--dir: /nowhere does not exist"],
    [["demo", "extra"], "Received unknown argument: 'extra'"]
  ]

  for (const [args, complaint] of faults) {
    it.live(args.join(" ").replaceAll(someFile, "a-file"), () =>
      Effect.gen(function*() {
        expect(yield* run(args)).toEqual({ code: 2, stdout: "", stderr: `wsmux: ${complaint}\n` })
      }))
  }

  it.live("an empty WSMUX_TOKEN is a fault, and not the lack of a token", () =>
    Effect.gen(function*() {
      const result = yield* run(serving, { env: { WSMUX_TOKEN: "" } })
      expect(result).toEqual({ code: 2, stdout: "", stderr: `wsmux: WSMUX_TOKEN: ${wants.token}\n` })
    }))

  for (const args of [["serve", "--bogus", ...serving.slice(1)], ["connect", "--bogus", ...connecting.slice(1)]]) {
    it.live(`which names what is wrong wherever it stands: ${args.join(" ")}`, () =>
      Effect.gen(function*() {
        const { code, stderr } = yield* run(args)
        expect(stderr).toBe("wsmux: Received unknown argument: '--bogus'\n")
        expect(code).toBe(2)
      }))
  }

  it.live("which names a log level that there is not", () =>
    Effect.gen(function*() {
      const { code, stderr } = yield* run(["serve", "--log-level", "loud", ...serving.slice(1)])
      expect(stderr).toMatch(/^wsmux: .*loud.*\n$/)
      expect(code).toBe(2)
    }))
})

describe("what every command has", () => {
  for (const args of [serving, connecting, ["demo", "--files", "1"]]) {
    const command = args[0]!
    it.live(`--log-level stands at the end of ${command}, too`, () =>
      Effect.gen(function*() {
        const { code, stderr } = yield* run([...args, "--log-level", "warning", "--bogus"])
        expect({ code, stderr }).toEqual({ code: 2, stderr: "wsmux: Received unknown argument: '--bogus'\n" })
      }))

    it.live(`--help stands at the end of ${command}, too`, () =>
      Effect.gen(function*() {
        const help = yield* run([command, "--help"])
        expect(help).toMatchObject({ code: 0, stderr: "" })
        expect(yield* run([...args, "--help"])).toEqual(help)
      }))
  }
})

describe("listening beyond this machine", () => {
  const allowed: ReadonlyArray<ReadonlyArray<string>> = [["--token", "secret"], ["--allow-anonymous"]]
  for (const args of allowed) {
    it.scopedLive(`is possible with ${args.join(" ")}`, () =>
      Effect.gen(function*() {
        const wsmux = yield* start(["serve", "--listen", "0.0.0.0:0", "--target", nobody, ...args])
        yield* wsmux.awaitLine(/^listening on ws:\/\/0\.0\.0\.0:\d+, forwarding to 127\.0\.0\.1:1$/)
      }))
  }
})

describe("a connection that does not come about is one line, and exits with 1", () => {
  const failure = (args: ReadonlyArray<string>, complaint: string) =>
    Effect.map(run(args), (result) => expect(result).toEqual({ code: 1, stdout: "", stderr: `wsmux: ${complaint}\n` }))

  const urls = {
    [`ws://${nobody}`]: `connect ECONNREFUSED ${nobody}`
  }
  for (const [url, reason] of Object.entries(urls)) {
    it.live(url, () => failure(["connect", url, "--listen", "127.0.0.1:0"], `cannot connect to ${url}: ${reason}`))
  }

  for (const reconnect of [[], ["--reconnect"]]) {
    it.scopedLive(["a wrong token", ...reconnect].join(" "), () =>
      Effect.gen(function*() {
        const { url } = yield* serve(1, ["--token", "secret"])
        const args = ["connect", url, "--listen", "127.0.0.1:0", "--token", "guess", ...reconnect]
        yield* failure(
          args,
          `cannot connect to ${url}: the server answered 401: the token is wrong`
        )
      }))
  }

  it.scopedLive("no token", () =>
    Effect.gen(function*() {
      const { url } = yield* serve(1, ["--token", "secret"])
      const advice = "give the token by --token-file or WSMUX_TOKEN"
      yield* failure(
        ["connect", url, "--listen", "127.0.0.1:0"],
        `cannot connect to ${url}: the server answered 401: ${advice}`
      )
    }))

  it.scopedLive("an HTTP server that knows no WebSockets", () =>
    Effect.gen(function*() {
      const server = yield* Effect.acquireRelease(
        Effect.async<ReturnType<typeof createServer>>((resume) => {
          const server = createServer((_, response) => response.writeHead(404).end("no such page"))
          server.listen(0, "127.0.0.1", () => resume(Effect.succeed(server)))
        }),
        (server) => Effect.sync(() => server.close())
      )
      const url = `ws://127.0.0.1:${(server.address() as AddressInfo).port}/`
      yield* failure(["connect", url, "--listen", "127.0.0.1:0"], `cannot connect to ${url}: the server answered 404`)
    }))

  it.scopedLive("a server without TLS behind wss://", () =>
    Effect.gen(function*() {
      const { url } = yield* serve(1)
      const { code, stderr } = yield* run(["connect", url.replace("ws:", "wss:"), "--listen", "127.0.0.1:0"])
      expect(stderr).toMatch(/^wsmux: cannot connect to wss:\/\/127\.0\.0\.1:\d+: .+\n$/)
      expect(code).toBe(1)
    }))

  it.scopedLive("a port in use", () =>
    Effect.gen(function*() {
      const { port } = yield* Tcp.listen
      const { url } = yield* serve(1)
      const taken = `127.0.0.1:${port}`
      const complaint = `cannot listen on ${taken}: address already in use (EADDRINUSE)`
      yield* failure(["serve", "--listen", taken, "--target", nobody], complaint)
      // What it logs is not its complaint.
      yield* failure(["connect", "--log-level", "warning", url, "--listen", taken], complaint)
    }))

  it.scopedLive("a directory without files to demonstrate with", () =>
    Effect.gen(function*() {
      const empty = yield* Effect.acquireRelease(
        Effect.sync(() => mkdtempSync(`${tmpdir()}/wsmux-`)),
        (path) => Effect.sync(() => rmSync(path, { recursive: true }))
      )
      yield* failure(["demo", "--dir", empty], `cannot choose files: ${empty} has none, so name another directory with --dir`)
    }))
})

describe("what the command line tells of itself", () => {
  it.live("--version is that of the package", () =>
    Effect.gen(function*() {
      const { code, stderr, stdout } = yield* run(["--version"])
      expect({ code, stderr, version: stdout.trim() }).toEqual({ code: 0, stderr: "", version: packageJson.version })
    }))

  const helps = {
    "--help": ["serve", "connect", "demo"],
    "serve --help": [
      "$ wsmux serve",
      "--listen",
      "--target",
      "--tcp-keep-alive",
      "--token-file",
      "--buffer-size",
      "--keep-alive",
      "--token",
      "--tls-cert",
      "--stats"
    ],
    "connect --help": [
      "$ wsmux connect",
      "<url>",
      "--header",
      "--max-reconnect-interval",
      "--listen",
      "--reconnect",
      "--tls-ca",
      "WSMUX_TOKEN"
    ],
    "demo --help": ["$ wsmux demo", "--dir", "--files", "--keep"]
  }
  for (const [args, words] of Object.entries(helps)) {
    it.live(`${args} names ${words.join(", ")}`, () =>
      Effect.gen(function*() {
        const { code, stderr, stdout } = yield* run(args.split(" "))
        expect({ code, stderr }).toEqual({ code: 0, stderr: "" })
        expect(words.filter((word) => !stdout.includes(word))).toEqual([])
      }))
  }
})
