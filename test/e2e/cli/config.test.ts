import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { createHash } from "node:crypto"
import { renameSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { ask, connectWith, folder, portFor } from "./forwards/commands.js"
import { run } from "./inProcess.js"
import * as Tcp from "./tcp.js"
import * as Process from "./wsmux.js"

/** Writes a file of the folder in one step, since a command may follow the file, and returns its path. */
const written = (folder: string, name: string, text: string): string => {
  writeFileSync(join(folder, "new"), text)
  renameSync(join(folder, "new"), join(folder, name))
  return join(folder, name)
}

describe("wsmux --config", () => {
  it.scopedLive("wsmux serve and connect take options from files, and the command line wins", () =>
    Effect.gen(function*() {
      const files = yield* folder
      const echo = yield* Tcp.echo
      const token = written(files, "token", "secret\n")
      const serving = written(
        files,
        "serve.yaml",
        `listen: 127.0.0.1:1\ntoken-file: ${token}\nallow: ["127.0.0.1:${echo}"]\n`
      )
      const server = yield* Process.start(["serve", "--config", serving, "--listen", "127.0.0.1:0"])
      const [, url] = yield* server.awaitLine(/^listening on (ws:\/\/\S+), forwarding to 127\.0\.0\.1:\d+$/)
      const connecting = written(
        files,
        "connect.yaml",
        `url: ${url}\ntoken-file: ${token}\nremotes: ["0:127.0.0.1:${echo}"]\nresume: off\n`
      )
      const client = yield* Process.start(["connect", `--config=${connecting}`])
      const [, port] = yield* client.awaitLine(/^listening on 127\.0\.0\.1:(\d+), forwarding to /)
      const near = yield* Tcp.connect(Number(port))
      yield* near.write("hello")
      yield* near.received(5)
    }))

  it.scopedLive("wsmux exits with 2 when the file of --config has a fault", () =>
    Effect.gen(function*() {
      const files = yield* folder
      const wrong = written(files, "wrong.yaml", "listen: 127.0.0.1:0\ntarget: 127.0.0.1:1\nalow-anonymous: true\n")
      expect(yield* Process.run(["serve", "--config", wrong])).toEqual({
        code: 2,
        stdout: "",
        stderr: `wsmux: --config: ${wrong}:3:1: unknown key 'alow-anonymous'; did you mean 'allow-anonymous'?\n`
      })
      expect(yield* Process.run(["serve", "--config", "/nowhere"])).toMatchObject({
        code: 2,
        stderr: "wsmux: --config: /nowhere: cannot be read\n"
      })
    }))

  it.scopedLive("wsmux tells file, line, column and option when a value of the file has a fault", () =>
    Effect.gen(function*() {
      const files = yield* folder
      const rules = written(files, "rules.yaml", "users:\n  ada: {allow: [db]}\n")
      const serving: ReadonlyArray<readonly [text: string, fault: string]> = [
        ["listen: nonsense\ntarget: 1", "1:9: listen: expected host:port"],
        ["listen: 0\nallow:\n  - db:1\n  - db\n", "4:5: allow: expected host:port"],
        ["listen: 0\ntarget: 1\nkeep-alive: 5", "3:13: keep-alive: expected a duration"],
        ["listen: 0\ntarget: 1\ntoken-file: /nowhere", "3:13: token-file: /nowhere does not exist"],
        ["listen: 0.0.0.0:0\ntarget: 1", "1:9: listen: other machines can reach"],
        [`listen: 0\nrules: ${rules}`, `2:8: rules: ${rules}:2:17: users.ada.allow.0: expected`],
        ["listen: 0\ntarget: 1\nlog-level: loud", "3:12: log-level: expected one of"],
        ["listen: ''\ntarget: 1", "1:9: listen: expected host:port"],
        ["listen: [1]\ntarget: 1", "1:9: listen: expected a text"]
      ]
      const connecting: ReadonlyArray<readonly [text: string, fault: string]> = [
        ["url: host\nlocal: [\"1:db:2\"]", "1:6: url: cannot connect to host: not a ws:// or wss:// address"],
        ["url: ws://host\nlocal: [\"1:db:2\", \"1:db\"]", "2:19: local: expected [bind:]port:host:port"],
        ["url: ws://host\nremotes:\n- x/y\n", "3:3: remotes: expected a forward"],
        ["url: ws://host\ndynamic: 1\nsni: a", "3:6: sni: expected a wss:// address beside it"],
        ["url: ws://host\nlocal: [\"0.0.0.0:1:db:2\"]", "2:9: local: other machines can reach 0.0.0.0:1"]
      ]
      const faulty = [
        ...serving.map((one) => ["serve", ...one] as const),
        ...connecting.map((one) => ["connect", ...one] as const)
      ]
      yield* Effect.forEach(
        faulty,
        ([command, text, fault], i) =>
          Effect.gen(function*() {
            const path = written(files, `${i}.yaml`, text)
            const { code, stderr, stdout } = yield* run([command, "--config", path])
            const line = stderr.slice(0, `wsmux: --config: ${path}:${fault}`.length)
            expect({ code, stdout, line, lines: stderr.split("\n").length }).toEqual({
              code: 2,
              stdout: "",
              line: `wsmux: --config: ${path}:${fault}`,
              lines: 2
            })
          }),
        { concurrency: 2 }
      )
    }))

  it.scopedLive("wsmux serve follows the rules file of its configuration file when either file changes", () =>
    Effect.gen(function*() {
      const files = yield* folder
      const echo = yield* Tcp.echo
      const digest = createHash("sha256").update("ada-token").digest("hex")
      const ruling = (port: number) => `users: {ada: {tokens: ["sha256:${digest}"], allow: ["127.0.0.1:${port}"]}}\n`
      const rules = written(files, "rules.yaml", ruling(1))
      const config = written(files, "serve.yaml", `listen: 127.0.0.1:0\nrules: ${rules}\ngrace: 1s\n`)
      const server = yield* Process.start(["serve", "--config", config])
      const [, url] = yield* server.awaitLine(/^listening on (ws:\/\/\S+), forwarding to where /)
      const client = yield* connectWith(url!, ["-L", `0:127.0.0.1:${echo}`], { env: { WSMUX_TOKEN: "ada-token" } })
      const port = yield* portFor(client, `127.0.0.1:${echo}`)
      expect((yield* ask(port, "hello")).how).toBe("ECONNRESET")
      written(files, "rules.yaml", ruling(echo))
      written(files, "serve.yaml", `listen: 127.0.0.1:0\nrules: ${rules}\ngrace: 2s\n`)
      yield* server.signal("SIGHUP")
      yield* server.awaitLine(/read \S+rules\.yaml again: 1 users/)
      yield* server.awaitLine(/serve\.yaml: grace: changed at a restart only/)
      expect(yield* ask(port, "hello")).toEqual({ how: "end", said: "hello" })
      written(files, "rules.yaml", "users: {ada: {allow: [db]}}\n")
      yield* server.awaitLine(/rules\.yaml:1:23: users\.ada\.allow\.0: .*the former rules stay in force/)
      expect(yield* ask(port, "hello")).toEqual({ how: "end", said: "hello" })
    }))

  it.scopedLive("wsmux config check exits with 0, or prints a line for each fault and exits with 2", () =>
    Effect.gen(function*() {
      const files = yield* folder
      const good = written(files, "good.yaml", "listen: 8080\ntarget: 127.0.0.1:1\n")
      const client = written(files, "client.yaml", "url: wss://host\nlocal: [\"1:db:2\"]\n")
      expect(yield* Process.run(["config", "check", good])).toEqual({
        code: 0,
        stdout: `${good}: options of wsmux serve\n`,
        stderr: ""
      })
      expect(yield* Process.run(["config", "check", client])).toMatchObject({
        code: 0,
        stdout: `${client}: options of wsmux connect\n`
      })
      const keys = written(files, "keys.yaml", "url: wss://host\nlocl: [\"1:db:2\"]\nreconnect: 3\n")
      expect(yield* Process.run(["config", "check", keys])).toEqual({
        code: 2,
        stdout: "",
        stderr: `wsmux: ${keys}:2:1: unknown key 'locl'; did you mean 'local'?\n` +
          `wsmux: ${keys}:3:12: reconnect: expected true or false\n`
      })
    }))

  it.scopedLive("wsmux config check tells the place of each value when several have a fault", () =>
    Effect.gen(function*() {
      const files = yield* folder
      const serving = "listen: nonsense\nlog-level: loud\nallow: [db, \"db:1\", db]\nkeep-alive: 5\ngrace: x\n"
      const connecting = "url: ws://host\nlocal: [\"1:db\", x]\nremotes: [x/y]\nresume: soon\n"
      const placesOf = (name: string, text: string) =>
        Effect.map(run(["config", "check", written(files, name, text)]), ({ code, stderr, stdout }) => {
          const lines = stderr.trimEnd().split("\n").map((line) => line.replace(`wsmux: ${files}/${name}:`, ""))
          return { code, stdout, places: lines.map((line) => line.replace(/: expected .*$/, "")) }
        })
      expect(yield* placesOf("serve.yaml", serving)).toEqual({
        code: 2,
        stdout: "",
        places: ["1:9: listen", "2:12: log-level", "3:9: allow", "3:21: allow", "4:13: keep-alive", "5:8: grace"]
      })
      expect(yield* placesOf("connect.yaml", connecting)).toEqual({
        code: 2,
        stdout: "",
        places: ["2:9: local", "2:17: local", "3:11: remotes", "4:9: resume"]
      })
      const mixed = "url: ws://host\nlocal: [\"1:db\", {a: 1}]\nreconnect: 3\ntoken:\nkeep-alive: 5\n"
      expect((yield* placesOf("mixed.yaml", mixed)).places).toEqual([
        "2:9: local",
        "2:17: local",
        "3:12: reconnect",
        "4:1: token",
        "5:13: keep-alive"
      ])
      const path = written(files, "two.yaml", "listen: nonsense\ntarget: 1\ngrace: x\n")
      const { stderr } = yield* run(["serve", "--config", path])
      expect(stderr).toContain(`--config: ${path}:1:9: listen: expected`)
      expect(stderr).toContain(`; ${path}:3:8: grace: expected`)
    }))

  it.scopedLive("wsmux serve and connect tell all faults of their files at the start, in one line", () =>
    Effect.gen(function*() {
      const files = yield* folder
      const placesOf = (args: ReadonlyArray<string>, path: string) =>
        Effect.map(run(args), ({ code, stderr, stdout }) => {
          expect({ code, stdout, line: /^wsmux: --(config|rules): .*\n$/.test(stderr) }).toEqual({
            code: 2,
            stdout: "",
            line: true
          })
          return stderr.split(`${path}:`).slice(1).map((fault) => fault.replace(/: (expected|unknown) .*\n?$/, ""))
        })
      const serving = "listen: 127.0.0.1:0\ntarget: {a: 1}\ngrace: x\nallow: [db, \"db:1\", {a: 1}]\nalow: 1\n"
      const serve = written(files, "serve.yaml", serving)
      const all = ["2:9: target", "3:8: grace", "4:9: allow", "4:21: allow", "5:1"]
      expect(yield* placesOf(["serve", "--config", serve], serve)).toEqual(all)
      // the command line replaces a value
      expect(yield* placesOf(["serve", "--grace", "1s", "--config", serve], serve)).toEqual(
        all.filter((place) => place !== "3:8: grace")
      )
      // a command line that asks for help or for the version gets no answer beside the faults
      for (const option of ["--help", "--version"]) {
        expect(yield* placesOf(["serve", "--config", serve, option], serve)).toEqual(
          all.filter((place) => !/grace|4:9/.test(place))
        )
      }
      const connect = written(files, "connect.yaml", "url: ws://host\nlocal: [x, \"1:db\"]\nreconnect: 3\n")
      expect(yield* placesOf(["connect", `--config=${connect}`], connect)).toEqual([
        "2:9: local",
        "2:12: local",
        "3:12: reconnect"
      ])
      const rules = written(files, "rules.yaml", "users:\n  ada: {allow: [db]}\n  bob: {alow: []}\njwks: a\n")
      const places = yield* placesOf(["serve", "--listen", "127.0.0.1:0", "--rules", rules], rules)
      expect(places.map((place) => place.replace(/: .*$/, ""))).toEqual(["2:17", "3:9", "4:1"])
    }))

  it.scopedLive("wsmux config check checks a rules file, and names it where options are expected", () =>
    Effect.gen(function*() {
      const files = yield* folder
      const good = written(files, "good.yaml", "users:\n  ada: {allow: [\"db:1\"]}\n")
      expect(yield* run(["config", "check", good])).toEqual({
        code: 0,
        stdout: `${good}: rules for 1 users\n`,
        stderr: ""
      })
      const wrong = written(files, "wrong.yaml", "users:\n  ada: {allow: [db]}\n  bob: {alow: []}\njwks: a\n")
      const { code, stderr } = yield* run(["config", "check", wrong])
      const places = stderr.trimEnd().split("\n").map((line) => line.replace(/^wsmux: \S+wrong\.yaml:(\S+): .*$/, "$1"))
      expect({ code, places }).toEqual({ code: 2, places: ["2:17", "3:9", "4:1"] })
      const naming = written(files, "serve.yaml", `listen: 8080\nrules: ${wrong}\n`)
      expect((yield* run(["config", "check", naming])).stderr).toBe(stderr)
      expect(yield* run(["serve", "--config", good])).toMatchObject({
        code: 2,
        stderr: `wsmux: --config: ${good}:1:1: users: the key of a rules file, which --rules takes\n`
      })
    }))
})
