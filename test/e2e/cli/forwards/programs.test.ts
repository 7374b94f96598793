import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { execFile, spawn, spawnSync } from "node:child_process"
import { readFileSync, writeFileSync } from "node:fs"
import * as Http from "node:http"
import type * as Net from "node:net"
import { userInfo } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { chromium } from "playwright-core"
import { pattern } from "../../../support/bytes.js"
import { findProgram, programs } from "../../../support/programs.js"
import { listening, portOf } from "../../../support/transports.js"
import { within } from "../../../support/within.js"
import { postgres, redis } from "../../databases/servers.js"
import { connectWith, folder, portFor, serveWith } from "./commands.js"
import { run, sshd } from "./programs.js"

const bin = fileURLToPath(new URL("../../../../dist/cli/bin.js", import.meta.url))

const { Chromium, OpenSSH, PostgreSQL, Redis, curl, git } = programs
const [psql, redisCli] = [findProgram("psql"), findProgram("redis-cli")]

describe.skipIf(OpenSSH === undefined || git === undefined)("OpenSSH", () => {
  it.scopedLive("ssh, scp and git clone work when wsmux connect -W is their ProxyCommand", () =>
    Effect.gen(function*() {
      const { options, port } = yield* sshd
      const { url } = yield* serveWith(["--allow", `127.0.0.1:${port}`])
      const through = [...options, "-o", `ProxyCommand=${process.execPath} ${bin} connect ${url} -W %h:%p`]
      const host = `${userInfo().username}@127.0.0.1`
      expect(yield* run("ssh", [...through, "-p", String(port), host, "echo $((6 * 7))"])).toEqual({
        code: 0,
        stdout: "42\n",
        stderr: ""
      })

      const here = yield* folder
      const content = Buffer.from(pattern(3_000_000))
      writeFileSync(join(here, "up"), content)
      const copied = yield* run("scp", [...through, "-P", String(port), join(here, "up"), `${host}:${here}/copy`])
      expect([copied.code, readFileSync(join(here, "copy")).compare(content)]).toEqual([0, 0])

      const author = ["-c", "user.name=a", "-c", "user.email=a@example", "-c", "commit.gpgsign=false"]
      spawnSync(git!, ["init", "-q", join(here, "work")])
      writeFileSync(join(here, "work", "file"), content)
      spawnSync(git!, ["-C", join(here, "work"), "add", "file"])
      spawnSync(git!, ["-C", join(here, "work"), ...author, "commit", "-q", "-m", "all"])
      const quoted = through.map((option) => `'${option}'`).join(" ")
      const cloned = yield* run(git!, ["clone", "-q", `ssh://${host}:${port}${here}/work`, join(here, "clone")], {
        GIT_SSH_COMMAND: `ssh ${quoted}`
      })
      expect([cloned.code, readFileSync(join(here, "clone", "file")).compare(content)]).toEqual([0, 0])
    }))
})

describe.skipIf(Chromium === undefined)("Chromium", () => {
  it.scopedLive("Chromium shows a site by SOCKS 5 and by HTTP when wsmux connect -D is its proxy", () =>
    Effect.gen(function*() {
      const [site, other] = [yield* siteOf("the site"), yield* siteOf("another")]
      // a rule for a name allows no address, so the name is resolved at the server
      const { url } = yield* serveWith(["--allow", `localhost:${site.port}`])
      const client = yield* connectWith(url, ["-D", "0", "--log-level", "error"])
      const port = yield* portFor(client, "where clients ask")
      for (const scheme of ["socks5", "http"]) {
        const chrome = yield* Effect.acquireRelease(
          Effect.promise(() =>
            chromium.launch({ executablePath: Chromium!, args: browsing(`${scheme}://127.0.0.1:${port}`) })
          ),
          (chrome) => Effect.promise(() => chrome.close())
        )
        const page = yield* Effect.promise(() => chrome.newPage())
        yield* Effect.promise(() => page.goto(`http://localhost:${site.port}/`))
        yield* Effect.promise(() => page.waitForFunction("document.title !== 'loading'"))
        expect([scheme, yield* Effect.promise(() => page.title())]).toEqual([scheme, "the site: 1000000"])
        const forbidden = yield* Effect.promise(() =>
          page.goto(`http://localhost:${other.port}/`).then((answer) => String(answer?.status()), String)
        )
        expect(forbidden).toMatch(scheme === "http" ? /^403$/ : /ERR_SOCKS_CONNECTION_FAILED/)
      }
      expect([site.asked(), other.asked()]).toEqual([["/", "/data", "/", "/data"], []])
    }))
})

/** A site whose page loads data, and tells in its title how many bytes it got. */
const siteOf = (name: string) =>
  Effect.gen(function*() {
    const asked: Array<string> = []
    const script = `fetch("/data").then((answer) => answer.arrayBuffer())
      .then(({ byteLength }) => document.title = "${name}: " + byteLength)`
    const server = yield* listening(Http.createServer(({ url }, response) => {
      if (url === "/favicon.ico") return void response.writeHead(404).end()
      asked.push(url!)
      if (url === "/data") return void response.end(pattern(1_000_000))
      response.setHeader("content-type", "text/html")
      response.end(`<!doctype html><title>loading</title><script>${script}</script>`)
    }))
    return { port: portOf(server), asked: () => asked }
  })

/** The arguments of Chromium that send all requests through a proxy, also those for this machine. */
const browsing = (proxy: string) => [
  ...["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"],
  ...[`--proxy-server=${proxy}`, "--proxy-bypass-list=<-loopback>"]
]

describe.skipIf(PostgreSQL === undefined || psql === undefined)("psql", () => {
  it.scopedLive("psql asks PostgreSQL through wsmux connect -L", () =>
    Effect.gen(function*() {
      const { port: target } = yield* postgres
      const { url } = yield* serveWith(["--allow", `localhost:${target}`])
      const client = yield* connectWith(url, ["-L", `0:localhost:${target}`])
      const port = yield* portFor(client, `localhost:${target}`)
      const query = "select sum(i) from generate_series(1, 100000) i"
      const args = ["-h", "127.0.0.1", "-p", String(port), "-U", "wsmux", "-d", "postgres", "-Atc", query]
      expect(yield* run(psql!, args)).toEqual({ code: 0, stdout: "5000050000\n", stderr: "" })
    }))
})

describe.skipIf(Redis === undefined || redisCli === undefined)("redis-cli", () => {
  it.scopedLive("redis-cli asks Redis through wsmux connect -R, from the machine of the server", () =>
    Effect.gen(function*() {
      const { port: target } = yield* redis
      const { url } = yield* serveWith(["--allow-remote", "*"])
      const client = yield* connectWith(url, [`R:0:127.0.0.1:${target}`])
      const port = yield* portFor(client, `127.0.0.1:${target}`)
      const ask = (...words: ReadonlyArray<string>) => run(redisCli!, ["-p", String(port), ...words])
      expect((yield* ask("set", "word", "hello")).stdout).toBe("OK\n")
      expect((yield* ask("get", "word")).stdout).toBe("hello\n")
    }))
})

describe.skipIf(curl === undefined)("curl", () => {
  it.scopedLive("wsmux goes on with other downloads when 300 of curl are killed in the middle", () =>
    Effect.gen(function*() {
      const content = Buffer.from(pattern(4_000_000))
      let cancelled = 0
      const server = yield* Effect.acquireRelease(
        Effect.async<Http.Server>((resume) => {
          const server: Http.Server = Http.createServer((request, response) => {
            if (request.url === "/whole") return void response.end(content)
            response.write(content.subarray(0, 100_000)) // and never the rest
            response.on("close", () => cancelled++)
          }).listen(0, "127.0.0.1", () => resume(Effect.succeed(server)))
        }),
        (server) => Effect.sync(() => server.close().closeAllConnections())
      )
      const target = `127.0.0.1:${(server.address() as Net.AddressInfo).port}`
      const { url } = yield* serveWith(["--allow", target])
      const client = yield* connectWith(url, ["-L", `0:${target}`, "--log-level", "warning"])
      const port = yield* portFor(client, target)
      const args = ["-sS", "--noproxy", "*"]

      /** Kills a download after its first bytes. */
      const cancel = Effect.async<void>((resume) => {
        const child = spawn(curl!, [...args, `http://127.0.0.1:${port}/part`], { stdio: ["ignore", "pipe", "ignore"] })
        child.stdout.once("data", () => child.kill("SIGKILL"))
        child.on("exit", () => resume(Effect.void))
      }).pipe(within("60 seconds", "the first bytes of a download"))
      const whole = Effect.async<number>((resume) => {
        const options = { encoding: "buffer" as const, maxBuffer: 64 * 1024 * 1024 }
        execFile(
          curl!,
          [...args, "--limit-rate", "2M", `http://127.0.0.1:${port}/whole`],
          options,
          (error, stdout) => resume(error === null ? Effect.succeed(content.compare(stdout)) : Effect.die(error))
        )
      }).pipe(within("60 seconds", "a whole download"))
      const cancels = Effect.all(Array.from({ length: 300 }, () => cancel), { concurrency: 12, discard: true })
      const [differences] = yield* Effect.all([Effect.all([whole, whole, whole], { concurrency: 3 }), cancels], {
        concurrency: 2
      })
      expect(differences).toEqual([0, 0, 0])
      yield* Effect.suspend(() => Effect.sleep(20)).pipe(
        Effect.repeat({ until: () => cancelled === 300 }),
        within("30 seconds", "the reset of 300 connections at the target")
      )
      expect(yield* whole).toBe(0)
    }))
})
