import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { tmpdir } from "node:os"
import { fileURLToPath } from "node:url"
import { run } from "../../support/commandLine.js"

/** A file that holds neither a certificate nor a token. */
const someFile = fileURLToPath(import.meta.url)

const cert = fileURLToPath(new URL("../../fixtures/tls/cert.pem", import.meta.url))
const key = fileURLToPath(new URL("../../fixtures/tls/key.pem", import.meta.url))

const secret = fileURLToPath(new URL("../../fixtures/cli/secret.txt", import.meta.url))
const relaying = ["relay", "--listen", "127.0.0.1:0", "--secret-file", secret]

/** A path of 104 bytes. */
const longPath = `/${"a".repeat(103)}`

/** No process listens at port 1. */
const closedPort = "127.0.0.1:1"
const serving = ["serve", "--listen", "127.0.0.1:0", "--target", closedPort]
/** A relay that shares a directory, which is away. */
const sharing = ["--secret-file", secret, "--directory", `redis://${closedPort}`, "--node-secret-file", key]
const connecting = ["connect", `ws://${closedPort}`, "--listen", "127.0.0.1:0"]

/** The title of a test: the command and its last arguments, since these contain the fault. */
const title = (args: ReadonlyArray<string>): string => {
  const [command, ...others] = args.map((arg) => JSON.stringify(arg.replaceAll(someFile, "a-file")).slice(1, -1))
  const text = others.join(" ").replace(` --listen 127.0.0.1:0 --target ${closedPort}`, "")
  const shown = text.length > 50 ? `... ${text.slice(-46)}` : text || "no arguments"
  return `wsmux ${command} exits with 2 when given: ${shown}`
}

const wants = {
  listen: "--listen: expected host:port, such as 127.0.0.1:8080, [::1]:8080 or 8080",
  port: "expected a port from 0 to 65535",
  target: "--target: expected host:port, such as 127.0.0.1:8080, [::1]:8080 or 8080",
  remote: "<remote>: expected a forward such as 5432:db:5432, R:8080:web:80 or socks",
  forward: "expected [bind:]port:host:port, or a path of a unix socket for either side, such as 8080:db:80 or " +
    "8080:/run/db",
  allow: "expected host:port, such as db:5432, *.example.com:443, 10.0.0.0/8:8000-8999, *:*, udp:1.1.1.1:53 or " +
    "/run/db.sock",
  allowRemote: "expected [bind:]port, such as 8080, 8000-8999, *, 0.0.0.0:80, udp:53 or /run/app/*",
  size: "--buffer-size: expected a size from 1 to 64M, such as 65536, 256K or 4MiB",
  keepAlive: "--keep-alive: expected a duration such as 500ms, 10s or 1m, or off",
  header: "--header: expected name:value in ASCII, such as 'x-api-key: abc'",
  logLevel: "--log-level: expected one of all, trace, debug, info, warning, error, fatal, none",
  stats: "--stats: expected a duration such as 500ms or 10s",
  token: "the token must be one or more visible ASCII characters", // The option's name precedes this.
  authentication: "--listen: other machines can reach 0.0.0.0:0, so give a --token, --rules or --allow-anonymous"
}

describe("wsmux", () => {
  const faults: ReadonlyArray<readonly [args: ReadonlyArray<string>, complaint: string]> = [
    [
      ["serv"],
      "Invalid subcommand for wsmux - use one of 'serve', 'connect', 'relay', 'agent', 'check', 'config', 'status', " +
      "'doctor', 'demo'"
    ],
    ...[["--completions", "tcsh"], ["--completions=tcsh"], ["serve", "--completions", "tcsh"]].map((args) =>
      [args, "--completions: expected one of bash, fish, sh, zsh, not tcsh"] as const
    ),
    [["--completions"], "--completions: expected one of bash, fish, sh, zsh"],
    [["serve", "--target", closedPort], "Expected to find option: '--listen'"],
    [["serve"], "Expected to find option: '--listen'"],
    [["serve", "--listen", "127.0.0.1:0"], "--target, --allow, --allow-remote, --rules: expected one of them"],
    [["serve", "--target", closedPort, "--listen"], "Expected a value following option: '--listen'"],
    [["serve", "--listen", "here", "--target", closedPort], wants.listen],
    [["serve", "--listen", "127.0.0.1", "--target", closedPort], wants.listen],
    [["serve", "--listen", ":65536", "--target", closedPort], `--listen: ${wants.port}, not 65536`],
    [["serve", "--listen", "127.0.0.1:99999", "--target", closedPort], `--listen: ${wants.port}, not 99999`],
    [[...serving, "--admin", "[::1]:99999"], `--admin: ${wants.port}, not 99999`],
    [["serve", "--listen", "127.0.0.1:0", "--target", "db:99999"], `--target: ${wants.port}, not 99999`],
    [[...serving, "--allow", "db:80-99999"], `--allow: ${wants.port}, not 99999 in 'db:80-99999'`],
    [[...connecting, "-L", "1:db:99999"], `-L: ${wants.port}, not 99999 in '1:db:99999'`],
    [[...connecting, "--proxy", "http://secret@host:99999"], `--proxy: ${wants.port}, not 99999`],
    [
      ["connect", "ws://host:99999", "--listen", "127.0.0.1:0"],
      `cannot connect to ws://host:99999: ${wants.port}, not 99999`
    ],
    [["doctor", "wss://host:99999/path"], `url: ${wants.port}, not 99999`],
    [["status", "host:99999"], `address: ${wants.port}, not 99999`],
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
    ...["5", "-1s", "off", "soon"].map((grace) =>
      [[...serving, "--grace", grace], "--grace: expected a duration such as 500ms or 10s, or 0"] as const
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
    [
      [...serving, "--token", "a", "--admin", "0.0.0.0:0"],
      "--admin: other machines can reach 0.0.0.0:0, so give --allow-anonymous"
    ],
    [
      [...connecting, "--admin", "example.com:0"],
      "--admin: other machines can reach example.com:0, so give --allow-anonymous"
    ],
    ...["here", "http://user:secret@127.0.0.1:1", "ws://127.0.0.1:1", "http://127.0.0.1:1/?token=secret"].map((
      address
    ) => [["status", address], "address: expected host:port or http://host:port, such as 127.0.0.1:9090"] as const),
    [[...serving, "--admin", "here"], "--admin: expected host:port, such as 127.0.0.1:8080, [::1]:8080 or 8080"],
    [["connect", "--listen", "127.0.0.1:0"], "Missing argument <url>"],
    [["connect", `ws://${closedPort}`], "--listen, -L, -R, -D, -W: expected one of them"],
    [["connect", `ws://${closedPort}`, "--listen", "127.0.0.1:"], wants.listen],
    [[...connecting, "--buffer-size", "-1"], wants.size],
    [[...connecting, "--keep-alive", "never"], wants.keepAlive],
    ...["3", "yes", "falsch"].map((value) =>
      [[...connecting, `--reconnect=${value}`], "--reconnect: expected no value, or =true or =false"] as const
    ),
    [[...connecting, "--proxy", ""], "--proxy: expected http://host:port, https://host:port or socks5://host:port"],
    [[...connecting, "--tls-ca", ""], "--tls-ca: expected the path of a file"],
    [[...connecting, "--header", "@"], "--header: expected the path of a file"],
    [["connect", "--config", ""], "--config: expected the path of a file"],
    [[...serving, "--rules", ""], "--rules: expected the path of a file"],
    [[...connecting, "--bogus"], "Received unknown argument: '--bogus'"],
    [[...connecting, "extra"], `${wants.remote}, not 'extra'`],
    [[...connecting, "R:1:2:3:4:5"], `${wants.remote}, not 'R:1:2:3:4:5'`],
    ...["80", "8080:db", "8080:db:http", "8080:[db]:80", "a:b:8080:db:80"].map((spec) =>
      [[...connecting, "-L", spec], `-L: ${wants.forward}, not '${spec}'`] as const
    ),
    ...[["-L", `8080:${longPath}`], ["-R", `${longPath}:db:80`], ["-D", longPath], ["-W", longPath]].map((args) =>
      [
        ["connect", `ws://${closedPort}`, ...args],
        `${args[0]}: expected a path of at most 103 bytes, not 104 in '${args[1]!.slice(0, 80)}'`
      ] as const
    ),
    [
      ["serve", "--listen", "127.0.0.1:0", "--target", longPath],
      "--target: expected a path of at most 103 bytes, not 104"
    ],
    [
      ["serve", "--listen", "127.0.0.1:0", "--allow", longPath],
      `--allow: expected a path of at most 103 bytes, not 104 in '${longPath.slice(0, 80)}'`
    ],
    ...([
      [["-L", "5001:a:1", "-L", "127.0.0.1:5001:b:2"], "-L: 127.0.0.1:5001 is given twice"],
      [["-L", "udp:5001:a:1", "-L", "udp:5001:b:2"], "-L: 127.0.0.1:5001 is given twice"],
      [["-L", "/run/a:a:1", "-D", "/run/a"], "-L, -D: /run/a is given twice"],
      [["-R", "*:5001:a:1", "-R", ":5001"], "-R: *:5001 is given twice"],
      [["-D", "5001", "-D", "5001"], "-D: 127.0.0.1:5001 is given twice"],
      [["5001:a:1", "-D", "5001"], "-D, -L: 127.0.0.1:5001 is given twice"],
      [["--listen", "127.0.0.1:5001", "-L", "5001:a:1"], "--listen, -L: 127.0.0.1:5001 is given twice"]
    ] as const).map(([args, complaint]) => [["connect", `ws://${closedPort}`, ...args], complaint] as const),
    [[...connecting, "-L8080:db"], `-L: ${wants.forward}, not '8080:db'`],
    [[...connecting, "--local=8080:db"], `-L: ${wants.forward}, not '8080:db'`],
    [[...connecting, "-L"], "Expected a value following option: '-L'"],
    [[...connecting, "-X", "8080"], "Received unknown argument: '-X'"],
    [[...connecting, "-R", "http:80:db:80:1"], `-R: ${wants.forward}, or [bind:]port, not 'http:80:db:80:1'`],
    [[...connecting, "-D", "socks"], "-D: expected [bind:]port, such as 1080, not 'socks'"],
    [[...connecting, "-W", "22"], "-W: expected host:port or a path, not '22'"],
    [[...connecting, "-L", "*:80:db:80"], "-L: other machines can reach *:80, so give --allow-anonymous"],
    [[...connecting, "-D", "[::]:80"], "-D: other machines can reach [::]:80, so give --allow-anonymous"],
    ...["db", "db:http", "10.0.0.0/33:80", "*"].map((rule) =>
      [[...serving, "--allow", rule], `--allow: ${wants.allow}, not '${rule}'`] as const
    ),
    [[...serving, "--allow", "db:80", "--allow", "db"], `--allow: ${wants.allow}, not 'db'`],
    [[...serving, "--allow-remote", "web"], `--allow-remote: ${wants.allowRemote}, not 'web'`],
    [[...connecting, "--tls-ca", "/nowhere/ca.pem"], "--tls-ca: /nowhere/ca.pem does not exist"],
    ...["", "a b", "https://a.example"].map((name) =>
      [
        ["connect", `wss://${closedPort}`, "--listen", "127.0.0.1:0", "--sni", name],
        "--sni: expected the name of a host, such as www.example.com"
      ] as const
    ),
    ...["127.0.0.1", "::1", "[::1]"].map((address) =>
      [
        ["connect", `wss://${closedPort}`, "--listen", "127.0.0.1:0", "--sni", address],
        "--sni: expected the name of a host, such as www.example.com, since TLS takes no addresses there"
      ] as const
    ),
    [[...connecting, "--sni", "a.example"], "--sni: expected a wss:// address beside it"],
    [
      [...connecting, "--proxy", "ftp://user:secret@host"],
      "--proxy: expected http://host:port, https://host:port or socks5://host:port"
    ],
    [[...connecting, "--resume", "never"], "--resume: expected a duration such as 30s or 2m, or off"],
    [[...serving, "--tls-client-ca", someFile], "--tls-client-ca: expected --tls-cert and --tls-key beside it"],
    [
      [...serving, ...["--tls-cert", cert, "--tls-key", key, "--tls-client-ca", cert]],
      "--tls-client-ca: expected --rules beside it"
    ],
    [
      [...serving, "--rules", someFile, "--token", "a"],
      "--rules: the file names users and rules, so give no --token or --allow"
    ],
    [[...serving, "--rules", `${someFile}.missing`], `--rules: ${someFile}.missing cannot be read`],
    [[...connecting, "--tls-ca", someFile], "--tls-ca: expected a wss:// address beside it"],
    [
      ["connect", `wss://${closedPort}`, "--listen", "127.0.0.1:0", "--tls-ca", someFile],
      `--tls-ca: ${someFile} holds no certificate (PEM)`
    ],
    ...["x-key", ": abc", "x key: abc", "x-key: a\nb", "x-key: \u00e4"].map((header) =>
      [[...connecting, "--header", header], wants.header] as const
    ),
    [[...connecting, "--header", "@/nowhere/headers"], "--header: /nowhere/headers does not exist"],
    [[...connecting, "--header", "@/"], "--header: / is a directory"],
    [[...connecting, "--header", `@${someFile}`], `--header: ${someFile}:1: expected name:value in ASCII`],
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
    ...["1ms", "499ms"].map((longest) =>
      [
        [...connecting, "--reconnect", "--max-reconnect-interval", longest],
        "--max-reconnect-interval: expected 500ms or more, so that attempts do not flood the server"
      ] as const
    ),
    ...["nonsense", "ftp://127.0.0.1"].map((url) =>
      [["connect", url, "--listen", "127.0.0.1:0"], `cannot connect to ${url}: not a ws:// or wss:// address`] as const
    ),
    [
      [...connecting, "--fallback-url", "ws://host", "--fallback-url", "wss//other"],
      "--fallback-url: cannot connect to wss//other: not a ws:// or wss:// address"
    ],
    [
      [...connecting, "--fallback-url", "ws://host:99999"],
      `--fallback-url: cannot connect to ws://host:99999: ${wants.port}, not 99999`
    ],
    [
      ["agent", "nonsense", "site", "--target", closedPort, "--token", "secret"],
      "cannot connect to nonsense: not a ws:// or wss:// address"
    ],
    [
      ["connect", `ws://${closedPort}`, "--listen", "0.0.0.0:0", "--token", "secret"],
      "--listen: other machines can reach 0.0.0.0:0, so give --allow-anonymous"
    ],
    [[...connecting, "--target", closedPort], "--target: expected --websocktunnel beside it"],
    [
      ["connect", `ws://${closedPort}`, "--websocktunnel", "a b", "--target", closedPort],
      "--websocktunnel: expected an id of letters, digits and _ ~ . % -"
    ],
    [["connect", `ws://${closedPort}`, "--websocktunnel", "a"], "--websocktunnel: expected --target beside it"],
    [
      [...connecting, "--websocktunnel", "a", "--target", closedPort],
      "--websocktunnel: expected no other forward beside it"
    ],
    [
      [
        ...["connect", `ws://${closedPort}`, "--websocktunnel", "a", "--target", closedPort],
        ...["--header", "x-websocktunnel-id: b"]
      ],
      "--header: --websocktunnel gives x-websocktunnel-id"
    ],
    [["relay", "--secret-file", secret], "--listen, --token-for: expected one of them"],
    ...["@web", "ada@", "a b"].map((owner) =>
      [
        ["relay", "--secret-file", secret, "--token-for", owner],
        "--token-for: expected NAME or USER@NAME, with a name of letters, digits and _ ~ . % -"
      ] as const
    ),
    [
      ["relay", "--secret-file", secret, "--token-for", "web", "--requests-per-second", "1", "--max-streams", "1"],
      "--max-streams: expected --token-for USER@NAME, as tokens of agents have no limit"
    ],
    [["relay", "--listen", "0", "--secret-file", "/dev/null"], "--secret-file: expected one or two lines in /dev/null"],
    [[...relaying, "--max-agents", "0"], "--max-agents: expected a whole number of connections from 1 on"],
    [[...relaying, "--bytes-per-second", "1K"], "--bytes-per-second: expected a whole number of bytes from 1 on"],
    [[...relaying, "--grace", "5"], "--grace: expected a duration such as 500ms or 10s, or 0"],
    [[...relaying, "--public-url", "host"], "--public-url: expected http://host:port or https://host:port"],
    [[...relaying, "--node-url", "ws://host:99999"], `--node-url: ${wants.port}, not 99999`],
    [
      [...relaying, "--directory", "host:6379", "--node-secret-file", secret],
      "--directory: expected redis://host:port"
    ],
    [[...relaying, "--directory", "redis://host:6379"], "--directory: expected --node-secret-file beside it"],
    [
      [...relaying, "--directory", "redis://host:6379/99x", "--node-secret-file", key],
      "--directory: expected the number of a database behind the port, as redis://host:port/0"
    ],
    [[...relaying, "--node-url", "ws://host"], "--node-url: expected --directory beside it"],
    [[...relaying, "--node-secret-file", key], "--node-secret-file: expected --directory beside it"],
    ...["foo bar", "..", "a..b", "-a", "relay.example:80"].map((domain) =>
      [[...relaying, "--domain", domain], "--domain: expected the name of a host, such as relay.example"] as const
    ),
    ...["http://ada:pw@host", "http://ada@host", "http://host/?a", "http://host/#a"].map((url) =>
      [
        [...relaying, "--public-url", url],
        "--public-url: expected a URL without user, password, query and fragment, since others are told it"
      ] as const
    ),
    ...["0.0.0.0:0", "[::]:0"].map((listen) =>
      [
        ["relay", ...sharing, "--listen", listen],
        "--node-url: expected the URL at which other nodes reach this one, beside an address such as 0.0.0.0"
      ] as const
    ),
    [
      ["relay", ...sharing, "--listen", "127.0.0.1:0", "--node-url", "ws://[::]:80/"],
      "--node-url: expected the URL at which other nodes reach this one, not ws://[::]:80/"
    ],
    [
      [...relaying, "--access-log", "/nowhere/log"],
      "--access-log: ENOENT: no such file or directory, open '/nowhere/log'"
    ],
    [[...relaying, "--audience", "wsmux-relay-client"], "--audience: wsmux-relay-client is that of clients"],
    [
      ["agent", `ws://${closedPort}`, "we b", "--target", "1", "--token", "a"],
      "name: expected at most 256 letters, digits and _ ~ . % -"
    ],
    [["agent", `ws://${closedPort}`, "web"], "--target, --allow: expected one of them"],
    [["agent", `ws://${closedPort}`, "web", "--target", "1"], "--token-file: expected the token of the name"],
    [["doctor"], "Missing argument <url>"],
    [["doctor", "nonsense"], "url: expected ws://host:port or wss://host:port"],
    [["doctor", `ws://${closedPort}`, "--idle", "soon"], "--idle: expected a duration such as 60s or 5m"],
    [["doctor", `ws://${closedPort}`, "--sni", "a.example"], "--sni: expected a wss:// address beside it"],
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

  it.live("wsmux relay exits with 2 and names WSMUX_DIRECTORY when its value is malformed", () =>
    Effect.gen(function*() {
      const args = [...relaying, "--node-secret-file", secret]
      expect(yield* run(args, { WSMUX_DIRECTORY: "http://user:correct-horse@host" })).toEqual({
        code: 2,
        stdout: "",
        stderr: "wsmux: WSMUX_DIRECTORY: expected redis://host:port\n"
      })
    }))

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
