import { describe, expect, it } from "@effect/vitest"
import * as Habits from "effect-wsmux/cli/habits"
import * as Effect from "effect/Effect"
import { run } from "../../support/commandLine.js"

const url = "ws://127.0.0.1:1"
const fault = (args: ReadonlyArray<string>) => Effect.map(run(args), ({ code, stderr }) => [code, stderr.trimEnd()])

describe("Habits", () => {
  const typed: ReadonlyArray<readonly [args: ReadonlyArray<string>, advice: string]> = [
    [["client", url, "8080:db:80"], "Invalid subcommand 'client': write wsmux connect ws://host:port -L 5432:db:5432"],
    [["server", "-p", "8080"], "Invalid subcommand 'server': write wsmux serve --listen 8080 --allow db:5432"],
    [["http", "3000"], "Invalid subcommand 'http': write wsmux connect ws://host:port -R 9000:localhost:80"],
    [
      ["serve", "--port", "8080", "--reverse"],
      "Received unknown argument: '--port': give --listen host:port"
    ],
    [
      ["serve", "--listen", "8080", "--reverse"],
      "Received unknown argument: '--reverse': give --allow-remote with the ports that clients may listen at"
    ],
    [
      ["serve", "--listen", "8080", "-R", "80:a:80"],
      "Received unknown argument: '-R': forwards belong to wsmux connect: give --allow-remote here"
    ],
    [
      ["connect", "-NL", "8080:db:80", url],
      "Received unknown argument: '-N': leave it out, since the command only forwards"
    ],
    [
      ["connect", "-p", "443", "-L", "8080:db:80", url],
      "Received unknown argument: '-p': the port belongs to the URL, such as wss://host:443"
    ],
    [
      ["connect", url, "--auth", "user:secret", "3000"],
      "Received unknown argument: '--auth': give the token by --token-file or WSMUX_TOKEN"
    ],
    [
      ["connect", "http://localhost:8080", "3000"],
      "cannot connect to http://localhost:8080: not a ws:// or wss:// address; write ws://localhost:8080"
    ],
    [
      ["connect", "https://host/path?token=secret", "3000"],
      "cannot connect to https://host/path?***: not a ws:// or wss:// address; write wss://host/path?***"
    ],
    [
      ["connect", "localhost:8080", "-L", "8000:db:80"],
      "cannot connect to localhost:8080: not a ws:// or wss:// address; " +
      "write ws://localhost:8080, or wss://localhost:8080 for TLS"
    ],
    [
      ["connect", "HTTP://host:80", "3000"],
      "cannot connect to HTTP://host:80: not a ws:// or wss:// address; write ws://host:80"
    ],
    [
      ["doctor", "localhost:8080"],
      "url: expected ws://host:port or wss://host:port; write ws://localhost:8080, or wss://localhost:8080 for TLS"
    ],
    [
      ["connect", url, "-D", "socks5://127.0.0.1:8888"],
      "-D: expected [bind:]port, such as 1080, not 'socks5://127.0.0.1:8888'; write -D 127.0.0.1:8888"
    ],
    [
      ["connect", url, "tcp://8080:db:80"],
      "<remote>: expected a forward such as 5432:db:5432, R:8080:web:80 or socks, not 'tcp://8080:db:80'; " +
      "write -L 8080:db:80"
    ]
  ]
  for (const [args, advice] of typed) {
    it.live(`wsmux tells what to write when given: ${args.join(" ").slice(0, 46)}`, () =>
      Effect.gen(function*() {
        expect(yield* fault(args)).toEqual([2, `wsmux: ${advice}`])
      }))
  }

  const forwards: ReadonlyArray<readonly [option: string, text: string, advice: string]> = [
    ["-L", "tcp://8080:db:80", "; write -L 8080:db:80"],
    ["-L", "udp://1212:1.1.1.1:53?timeout_sec=0", "; write -L udp:1212:1.1.1.1:53"],
    ["-L", "http://127.0.0.1:8888", "; write -D 127.0.0.1:8888"],
    ["-L", "unix:///run/a:db:80", "; write -L /run/a:db:80"],
    ["-L", "stdio://host:22", "; write -W host:22"],
    ["-R", "tcp://[::]:8000:localhost:3000", "; write -R [::]:8000:localhost:3000"],
    ["-R", "socks5://[::]:8888", "; write -R [::]:8888"],
    ["-W", "http://host:22", "; write -W host:22"],
    ["-L", "UDP://53:1.1.1.1:53", "; write -L udp:53:1.1.1.1:53"],
    ["-L", "socks5://user:secret@127.0.0.1:8888", ""],
    ["-L", "tcp://nonsense", ""],
    ["--allow", "tcp://db:80", ""]
  ]
  it("Habits.ofForward returns the option when wstunnel's form of a forward has one", () => {
    expect(forwards.map(([option, text]) => [option, text, Habits.ofForward(option, text)])).toEqual(forwards)
  })

  const urls = ["nonsense", "user@host", "ftp://host:80", "wss//other", "http://user:secret@host", "host:99999", ""]
  it("Habits.ofUrl returns nothing when a text names no server", () => {
    expect(urls.map((text) => [text, Habits.ofUrl(text)])).toEqual(urls.map((text) => [text, ""]))
  })

  it("Habits.ofOption returns nothing when no other tunnel has the option or command", () => {
    for (const [command, option] of [["connect", "--bogus"], ["connect", "constructor"], ["constructor", "-v"]]) {
      expect(Habits.ofOption(command!, option!)).toBe("")
    }
    expect(Habits.ofCommand("toString")).toBeUndefined()
  })
})
