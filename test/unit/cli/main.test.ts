import { describe, expect, it } from "@effect/vitest"
import * as ConfigProvider from "effect/ConfigProvider"
import type * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import { tmpdir } from "node:os"
import { fileURLToPath } from "node:url"
import { main } from "../../../src/cli/main.js"

/** A file that holds neither a certificate nor a token. */
const someFile = fileURLToPath(import.meta.url)

/** No process listens at port 1. */
const closedPort = "127.0.0.1:1"
const serving = ["serve", "--listen", "127.0.0.1:0", "--target", closedPort]
const connecting = ["connect", `ws://${closedPort}`, "--listen", "127.0.0.1:0"]

/** Runs the command line in this process, with these environment variables alone. */
const run = (args: ReadonlyArray<string>, env: Readonly<Record<string, string>> = {}) =>
  Effect.gen(function*() {
    const [stdout, stderr]: [Array<string>, Array<string>] = [[], []]
    const print = (lines: Array<string>): Console.Console["log"] => (...texts) =>
      Effect.sync(() => void lines.push(`${texts.join(" ")}\n`))
    const code = yield* Effect.consoleWith((console) =>
      Effect.withConsole(main(["node", "wsmux", ...args]), { ...console, log: print(stdout), error: print(stderr) })
    ).pipe(Effect.withConfigProvider(ConfigProvider.fromMap(new Map(Object.entries(env)))))
    return { code, stdout: stdout.join(""), stderr: stderr.join("") }
  })

/** The title of a test: the command and its last arguments, since these contain the fault. */
const title = (args: ReadonlyArray<string>): string => {
  const [command, ...others] = args.map((arg) => JSON.stringify(arg.replaceAll(someFile, "a-file")).slice(1, -1))
  const text = others.join(" ").replace(` --listen 127.0.0.1:0 --target ${closedPort}`, "")
  const shown = text.length > 50 ? `... ${text.slice(-46)}` : text || "no arguments"
  return `wsmux ${command} exits with 2 when given: ${shown}`
}

const wants = {
  listen: "--listen: expected host:port, such as 127.0.0.1:8080, [::1]:8080 or 8080",
  target: "--target: expected host:port, such as 127.0.0.1:8080, [::1]:8080 or 8080",
  size: "--buffer-size: expected a size from 1 to 64M, such as 65536, 256K or 4MiB",
  keepAlive: "--keep-alive: expected a duration such as 500ms, 10s or 1m, or off",
  header: "--header: expected name:value in ASCII, such as 'x-api-key: abc'",
  logLevel: "--log-level: expected one of all, trace, debug, info, warning, error, fatal, none",
  stats: "--stats: expected a duration such as 500ms or 10s",
  token: "the token must be one or more visible ASCII characters", // The option's name precedes this.
  authentication: "--listen: other machines can reach 0.0.0.0:0, so give a --token or --allow-anonymous"
}

describe("wsmux", () => {
  const faults: ReadonlyArray<readonly [args: ReadonlyArray<string>, complaint: string]> = [
    [["serv"], "Invalid subcommand for wsmux - use one of 'serve', 'connect', 'demo'"],
    [["serve", "--target", closedPort], "Expected to find option: '--listen'"],
    [["serve"], "Expected to find option: '--listen'; Expected to find option: '--target'"],
    [["serve", "--listen", "127.0.0.1:0"], "Expected to find option: '--target'"],
    [["serve", "--target", closedPort, "--listen"], "Expected a value following option: '--listen'"],
    [["serve", "--listen", "here", "--target", closedPort], wants.listen],
    [["serve", "--listen", "127.0.0.1", "--target", closedPort], wants.listen],
    [["serve", "--listen", ":65536", "--target", closedPort], wants.listen],
    [["serve", "--listen", "127.0.0.1:65536", "--target", closedPort], wants.listen],
    [["serve", "--listen", "999.1.1.1:80", "--target", closedPort], wants.listen],
    [["serve", "--listen", "[localhost]:80", "--target", closedPort], wants.listen],
    [["serve", "--listen", "::1:80", "--target", closedPort], wants.listen],
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
    ...["0", "257", "1.5", "two"].map((workers) =>
      [[...serving, "--workers", workers], "--workers: expected a whole number from 1 to 256"] as const
    ),
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
    [["serve", "--listen", "0.0.0.0:0", "--target", closedPort], wants.authentication],
    [["connect", "--listen", "127.0.0.1:0"], "Missing argument <url>"],
    [["connect", `ws://${closedPort}`], "Expected to find option: '--listen'"],
    [["connect", `ws://${closedPort}`, "--listen", "127.0.0.1:"], wants.listen],
    [[...connecting, "--buffer-size", "-1"], wants.size],
    [[...connecting, "--keep-alive", "never"], wants.keepAlive],
    [[...connecting, "--bogus"], "Received unknown argument: '--bogus'"],
    [[...connecting, "extra"], "Received unknown argument: 'extra'"],
    [[...connecting, "--tls-ca", "/nowhere/ca.pem"], "--tls-ca: /nowhere/ca.pem does not exist"],
    [[...connecting, "--tls-ca", someFile], "--tls-ca: expected a wss:// address beside it"],
    [
      ["connect", `wss://${closedPort}`, "--listen", "127.0.0.1:0", "--tls-ca", someFile],
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
      ["connect", `ws://${closedPort}`, "--listen", "0.0.0.0:0", "--token", "secret"],
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
    it.live(title(args), () =>
      Effect.gen(function*() {
        expect(yield* run(args)).toEqual({ code: 2, stdout: "", stderr: `wsmux: ${complaint}\n` })
      }))
  }

  it.live("wsmux serve exits with 2 when WSMUX_TOKEN is empty", () =>
    Effect.gen(function*() {
      const result = yield* run(serving, { WSMUX_TOKEN: "" })
      expect(result).toEqual({ code: 2, stdout: "", stderr: `wsmux: WSMUX_TOKEN: ${wants.token}\n` })
    }))

  for (const args of [["serve", "--bogus", ...serving.slice(1)], ["connect", "--bogus", ...connecting.slice(1)]]) {
    it.live(`wsmux ${args[0]} names an unknown option when it stands in front of the others`, () =>
      Effect.gen(function*() {
        const { code, stderr } = yield* run(args)
        expect(stderr).toBe("wsmux: Received unknown argument: '--bogus'\n")
        expect(code).toBe(2)
      }))
  }

  it.live("wsmux serve names an unknown log level when it stands in front of the other options", () =>
    Effect.gen(function*() {
      const { code, stderr } = yield* run(["serve", "--log-level", "loud", ...serving.slice(1)])
      expect(stderr).toMatch(/^wsmux: .*loud.*\n$/)
      expect(code).toBe(2)
    }))
})

describe("wsmux", () => {
  for (const args of [serving, connecting, ["demo", "--files", "1"]]) {
    const command = args[0]!
    it.live(`wsmux ${command} accepts --log-level when it is the last option`, () =>
      Effect.gen(function*() {
        const { code, stderr } = yield* run([...args, "--log-level", "warning", "--bogus"])
        expect({ code, stderr }).toEqual({ code: 2, stderr: "wsmux: Received unknown argument: '--bogus'\n" })
      }))

    it.live(`wsmux ${command} prints its help when --help is the last option`, () =>
      Effect.gen(function*() {
        const help = yield* run([command, "--help"])
        expect(help).toMatchObject({ code: 0, stderr: "" })
        expect(yield* run([...args, "--help"])).toEqual(help)
      }))
  }
})
