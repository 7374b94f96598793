import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as Tcp from "./tcp.js"
import { run, start } from "./wsmux.js"

const folder = Effect.acquireRelease(
  Effect.sync(() => mkdtempSync(join(tmpdir(), "wsmux-"))),
  (path) => Effect.sync(() => rmSync(path, { recursive: true }))
)

/** Writes a file of the folder, and returns its path. */
const written = (folder: string, name: string, text: string): string => {
  writeFileSync(join(folder, name), text)
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
      const server = yield* start(["serve", "--config", serving, "--listen", "127.0.0.1:0"])
      const [, url] = yield* server.awaitLine(/^listening on (ws:\/\/\S+), forwarding to 127\.0\.0\.1:\d+$/)
      const connecting = written(
        files,
        "connect.yaml",
        `url: ${url}\ntoken-file: ${token}\nremotes: ["0:127.0.0.1:${echo}"]\nresume: off\n`
      )
      const client = yield* start(["connect", `--config=${connecting}`])
      const [, port] = yield* client.awaitLine(/^listening on 127\.0\.0\.1:(\d+), forwarding to /)
      const near = yield* Tcp.connect(Number(port))
      yield* near.write("hello")
      yield* near.received(5)
    }))

  it.scopedLive("wsmux exits with 2 when the file of --config has a fault", () =>
    Effect.gen(function*() {
      const files = yield* folder
      const wrong = written(files, "wrong.yaml", "listen: 127.0.0.1:0\ntarget: 127.0.0.1:1\nalow-anonymous: true\n")
      expect(yield* run(["serve", "--config", wrong])).toEqual({
        code: 2,
        stdout: "",
        stderr: `wsmux: --config: ${wrong}:3:1: unknown key 'alow-anonymous'; did you mean 'allow-anonymous'?\n`
      })
      expect(yield* run(["serve", "--config", "/nowhere"])).toMatchObject({
        code: 2,
        stderr: "wsmux: --config: /nowhere: cannot be read\n"
      })
    }))

  it.scopedLive("wsmux config check exits with 0, or prints a line for each fault and exits with 2", () =>
    Effect.gen(function*() {
      const files = yield* folder
      const good = written(files, "good.yaml", "listen: 8080\ntarget: 127.0.0.1:1\n")
      const client = written(files, "client.yaml", "url: wss://host\nlocal: [\"1:db:2\"]\n")
      expect(yield* run(["config", "check", good])).toEqual({
        code: 0,
        stdout: `${good}: options of wsmux serve\n`,
        stderr: ""
      })
      expect(yield* run(["config", "check", client])).toMatchObject({
        code: 0,
        stdout: `${client}: options of wsmux connect\n`
      })
      const keys = written(files, "keys.yaml", "url: wss://host\nlocl: [\"1:db:2\"]\nreconnect: 3\n")
      expect(yield* run(["config", "check", keys])).toEqual({
        code: 2,
        stdout: "",
        stderr: `wsmux: ${keys}:2:1: unknown key 'locl'; did you mean 'local'?\n` +
          `wsmux: ${keys}:3:1: reconnect: expected true or false\n`
      })
      const value = written(files, "value.yaml", "listen: 8080\nallow: [db]\n")
      expect(yield* run(["config", "check", value])).toMatchObject({
        code: 2,
        stderr: expect.stringMatching(/^wsmux: \S+value\.yaml: --allow: expected host:port, .*, not 'db'\n$/)
      })
    }))
})
