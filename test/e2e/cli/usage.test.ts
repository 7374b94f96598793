import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { mkdtempSync, rmSync } from "node:fs"
import { createServer } from "node:http"
import type { AddressInfo } from "node:net"
import { tmpdir } from "node:os"
import { fileURLToPath } from "node:url"
import packageJson from "../../../package.json" with { type: "json" }
import * as inProcess from "./inProcess.js"
import { run, serve, start } from "./inProcess.js"
import * as Tcp from "./tcp.js"
import * as Process from "./wsmux.js"

/** No process listens at port 1. */
const closedPort = "127.0.0.1:1"
const serving = ["serve", "--listen", "127.0.0.1:0", "--target", closedPort]

// `test/unit/cli/main.test.ts` gives all other wrong arguments to the function that the process runs.
describe("wsmux", () => {
  const faults: Readonly<Record<string, readonly [args: ReadonlyArray<string>, complaint: string]>> = {
    "an unknown command": [
      ["serv"],
      "Invalid subcommand for wsmux - use one of 'serve', 'connect', 'relay', 'agent', 'check', 'config', 'status', " +
      "'doctor', 'demo'"
    ],
    "an unreadable file": [
      [...serving, "--token-file", "/nowhere/token"],
      "--token-file: /nowhere/token does not exist"
    ],
    "a wrong address": [
      ["connect", "nonsense", "--listen", "127.0.0.1:0"],
      "cannot connect to nonsense: not a ws:// or wss:// address"
    ],
    "--wizard without a terminal": [["--wizard"], "--wizard: expected a terminal for the questions"],
    "--wizard after a command without a terminal": [
      [...serving, "--wizard"],
      "--wizard: expected a terminal for the questions"
    ]
  }
  for (const [fault, [args, complaint]] of Object.entries(faults)) {
    it.live(`wsmux exits with 2 when its arguments have ${fault}`, () =>
      Effect.gen(function*() {
        expect(yield* Process.run(args)).toEqual({ code: 2, stdout: "", stderr: `wsmux: ${complaint}\n` })
      }))
  }

  it.live("wsmux serve exits with 2 when the environment has an empty WSMUX_TOKEN", () =>
    Effect.gen(function*() {
      const result = yield* Process.run(serving, { env: { WSMUX_TOKEN: "" } })
      const complaint = "WSMUX_TOKEN: the token must be one or more visible ASCII characters"
      expect(result).toEqual({ code: 2, stdout: "", stderr: `wsmux: ${complaint}\n` })
    }))
})

describe("wsmux serve", () => {
  const allowed: ReadonlyArray<ReadonlyArray<string>> = [["--token", "secret"], ["--allow-anonymous"]]
  for (const args of allowed) {
    it.scopedLive(`wsmux serve listens on all interfaces when it has ${args[0]}`, () =>
      Effect.gen(function*() {
        const wsmux = yield* start(["serve", "--listen", "0.0.0.0:0", "--target", closedPort, ...args])
        yield* wsmux.awaitLine(/^listening on ws:\/\/0\.0\.0\.0:\d+, forwarding to 127\.0\.0\.1:1$/)
      }))
  }
})

describe("wsmux", () => {
  const failure = (args: ReadonlyArray<string>, complaint: string, runs = run) =>
    Effect.map(runs(args), (result) => expect(result).toEqual({ code: 1, stdout: "", stderr: `wsmux: ${complaint}\n` }))

  const urls = {
    [`ws://${closedPort}`]: `connect ECONNREFUSED ${closedPort}`
  }
  for (const [url, reason] of Object.entries(urls)) {
    it.live(`wsmux connect exits with 1 when no process listens at ${url}`, () =>
      failure(["connect", url, "--listen", "127.0.0.1:0"], `cannot connect to ${url}: ${reason}`, Process.run))
  }

  for (const reconnect of [[], ["--reconnect"]]) {
    it.scopedLive(
      ["wsmux connect", ...reconnect, "exits with 1 when the token is wrong"].join(" "),
      () =>
        Effect.gen(function*() {
          const { url } = yield* serve(1, ["--token", "secret"])
          const args = ["connect", url, "--listen", "127.0.0.1:0", "--token", "guess", ...reconnect]
          yield* failure(
            args,
            `cannot connect to ${url}: the server answered 401: the token is wrong`
          )
        })
    )
  }

  it.scopedLive("wsmux connect exits with 1 when the server demands a token", () =>
    Effect.gen(function*() {
      const { url } = yield* serve(1, ["--token", "secret"])
      const advice = "give the token by --token-file or WSMUX_TOKEN"
      yield* failure(
        ["connect", url, "--listen", "127.0.0.1:0"],
        `cannot connect to ${url}: the server answered 401: ${advice}`
      )
    }))

  it.scopedLive("wsmux connect exits with 1 when the server is an HTTP server without WebSockets", () =>
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

  it.scopedLive("wsmux connect exits with 1 when the server of a wss:// address has no TLS", () =>
    Effect.gen(function*() {
      const { url } = yield* serve(1)
      const { code, stderr } = yield* run(["connect", url.replace("ws:", "wss:"), "--listen", "127.0.0.1:0"])
      expect(stderr).toMatch(/^wsmux: cannot connect to wss:\/\/127\.0\.0\.1:\d+: .+\n$/)
      expect(code).toBe(1)
    }))

  it.scopedLive("wsmux connect asks for wss:// when the server of a ws:// address has TLS", () =>
    Effect.gen(function*() {
      const tls = ["cert", "key"].flatMap((name) => [
        `--tls-${name}`,
        fileURLToPath(new URL(`../../fixtures/tls/${name}.pem`, import.meta.url))
      ])
      const { url } = yield* serve(1, tls)
      const { code, stderr } = yield* run(["connect", url.replace("wss:", "ws:"), "--listen", "127.0.0.1:0"])
      expect(stderr).toMatch(
        /^wsmux: cannot connect to ws:\S+: .+: the other end hangs up: check the port, and whether it wants wss:\/\/\n$/
      )
      expect(code).toBe(1)
    }))

  it.scopedLive("wsmux exits with 1 when the port is in use", () =>
    Effect.gen(function*() {
      const { port } = yield* Tcp.listen
      const { url } = yield* serve(1)
      const taken = `127.0.0.1:${port}`
      const complaint = `cannot listen on ${taken}: address already in use (EADDRINUSE)`
      yield* failure(["serve", "--listen", taken, "--target", closedPort], complaint)
      yield* failure(["connect", "--log-level", "warning", url, "--listen", taken], complaint)
    }))

  it.scopedLive("wsmux demo exits with 1 when the directory has no files", () =>
    Effect.gen(function*() {
      const empty = yield* Effect.acquireRelease(
        Effect.sync(() => mkdtempSync(`${tmpdir()}/wsmux-`)),
        (path) => Effect.sync(() => rmSync(path, { recursive: true }))
      )
      yield* failure(
        ["demo", "--dir", empty],
        `cannot choose files: ${empty} has none, so name another directory with --dir`
      )
    }))
})

describe("wsmux", () => {
  it.live("wsmux prints the version of the package when it has --version", () =>
    Effect.gen(function*() {
      const { code, stderr, stdout } = yield* Process.run(["--version"])
      expect({ code, stderr, version: stdout.trim() }).toEqual({ code: 0, stderr: "", version: packageJson.version })
    }))

  const helps = {
    "--help": ["serve", "connect", "relay", "agent", "check", "config", "status", "doctor", "demo"],
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
      "-L, --local",
      "-R, --remote",
      "-D, --dynamic",
      "-W, --stdio",
      "--listen",
      "--reconnect",
      "--tls-ca",
      "WSMUX_TOKEN"
    ],
    "doctor --help": ["$ wsmux doctor", "<url>", "--token-file", "--idle", "--json"],
    "relay --help": [
      "$ wsmux relay",
      "--listen",
      "--secret-file",
      "--token-for",
      "--directory",
      "--node-url",
      "--max-agents",
      "--access-log"
    ],
    "agent --help": ["$ wsmux agent", "<url>", "<name>", "--target", "--allow", "--token-file", "--proxy"],
    "check --help": ["$ wsmux check", "--rules", "--remote"],
    "config --help": ["$ wsmux config <command>", "check"],
    "config check --help": ["$ wsmux config check [options] <file>", "The exit code is 0 without a fault"],
    "status --help": ["$ wsmux status", "--json"],
    "demo --help": ["$ wsmux demo", "--dir", "--files", "--keep"]
  }
  for (const [args, words] of Object.entries(helps)) {
    it.live(`wsmux names its commands and options when its arguments are: ${args}`, () =>
      Effect.gen(function*() {
        const { run } = args === "--help" ? Process : inProcess
        const { code, stderr, stdout } = yield* run(args.split(" "))
        expect({ code, stderr }).toEqual({ code: 0, stderr: "" })
        expect(words.filter((word) => !stdout.includes(word))).toEqual([])
        const lines = stdout.split("\n")
        expect([lines.length <= 50, lines.every(({ length }) => length <= 110)]).toEqual([true, true]) // a screen
      }))
  }
})
