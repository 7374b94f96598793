import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { createHash } from "node:crypto"
import { readFileSync, writeFileSync } from "node:fs"
import * as Http from "node:http"
import * as Net from "node:net"
import { join } from "node:path"
import { within } from "../../support/within.js"
import { ask, folder, portFor } from "./forwards/commands.js"
import * as Tcp from "./tcp.js"
import { run, start, type Wsmux } from "./wsmux.js"

/** Stands in every secret. */
const mark = "correct-horse"

const token = `${mark}-token`
const credentials = `user:${mark}-password@`

/** The list of processes as it shows a process and those that it has started. */
const listed = (pid: number): ReadonlyArray<string> => {
  try {
    const title = readFileSync(`/proc/${pid}/cmdline`, "utf8").replaceAll("\0", " ")
    const children = readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8").trim().split(" ")
    return [title, ...children.filter((child) => child !== "").flatMap((child) => listed(Number(child)))]
  } catch {
    return [] // the process has ended
  }
}

/** Starts a command, and looks at the list of processes all the time from its first moment on. */
const watched = (args: ReadonlyArray<string>, env: Readonly<Record<string, string>> = {}) =>
  Effect.gen(function*() {
    const wsmux = yield* start(args, { env, last: "SIGTERM" })
    const seen: Array<string> = []
    const look = () => {
      for (const title of listed(wsmux.pid)) if (!seen.includes(title)) seen.push(title)
    }
    look()
    yield* Effect.acquireRelease(
      Effect.sync(() => setInterval(look, 1)),
      (timer) => Effect.sync(() => clearInterval(timer))
    )
    return { ...wsmux, titles: () => seen }
  })

/** The titles from the first of this command on. Before it runs, the kernel shows the arguments as typed. */
const sinceTitled = (titles: ReadonlyArray<string>) => titles.slice(titles.findIndex((title) => /^wsmux /.test(title)))

/** A proxy for HTTP that lets clients with the credentials in. */
const proxy: Effect.Effect<number, never, Scope.Scope> = Effect.gen(function*() {
  const wanted = `Basic ${Buffer.from(credentials.slice(0, -1)).toString("base64")}`
  const sockets = new Set<Net.Socket>()
  const server = yield* Effect.acquireRelease(
    Effect.async<Http.Server>((resume) => {
      const server = Http.createServer().on("connect", (request: Http.IncomingMessage, client: Net.Socket) => {
        sockets.add(client.on("error", () => {}))
        if (request.headers["proxy-authorization"] !== wanted) {
          return client.end("HTTP/1.1 407 Proxy Authentication Required\r\ncontent-length: 0\r\n\r\n")
        }
        const [host, port] = request.url!.split(":")
        const far = Net.connect(Number(port), host, () => client.write("HTTP/1.1 200 OK\r\n\r\n"))
        sockets.add(far.on("error", () => client.destroy()))
        far.pipe(client).pipe(far)
      })
      server.listen(0, "127.0.0.1", () => resume(Effect.succeed(server)))
    }),
    (server) =>
      Effect.sync(() => {
        server.close()
        for (const socket of sockets) socket.destroy()
      })
  )
  return (server.address() as Net.AddressInfo).port
})

const shown = (texts: ReadonlyArray<string>) => texts.filter((text) => text.includes(mark) || text.includes(base64))

/** Credentials as a header has them. */
const base64 = Buffer.from(credentials.slice(0, -1)).toString("base64")

/** Every page of `--admin`, and what `wsmux status` prints. */
const pages = (wsmux: Wsmux) =>
  Effect.gen(function*() {
    const [, url] = yield* wsmux.awaitLine(/status page: (http:\/\/\S+)\//)
    const texts = yield* Effect.promise(() =>
      Promise.all(["/", "/status.json", "/metrics", "/healthz"].map(async (path) => (await fetch(url! + path)).text()))
    )
    const { stderr, stdout } = yield* run(["status", url!])
    expect(texts.every((text) => text.length > 0) && stdout.length > 0).toBe(true)
    return [...texts, stdout, stderr]
  })

/** The rules of a user with the token, and with a secret for others. */
const rulesOf = (echo: number) =>
  [
    "users:",
    `  ada: {tokens: ["${createHash("sha256").update(token).digest("hex")}"], allow: ["127.0.0.1:${echo}"]}`,
    `jwt: {secret: ${mark}-of-jwt-with-32-bytes-and-more}`
  ].join("\n")

describe.skipIf(process.platform !== "linux")("wsmux", () => {
  it.scopedLive("wsmux shows no secret anywhere, at no time, when files and variables hold them", () =>
    Effect.gen(function*() {
      const files = yield* folder
      const echo = yield* Tcp.echo
      const file = (name: string, text: string) => {
        writeFileSync(join(files, name), text)
        return join(files, name)
      }
      const rules = file("rules.yaml", rulesOf(echo))
      const observing = ["--admin", "127.0.0.1:0", "--log-level", "all", "--stats", "100ms"]
      const server = yield* watched([
        ...["serve", "--config", file("serve.yaml", `listen: 127.0.0.1:0\nrules: ${rules}\nworkers: 2\n`)],
        ...observing
      ])
      const [, url] = yield* server.awaitLine(/^listening on (ws:\S+),/)
      const config = file(
        "connect.yaml",
        `url: ${url}\ntoken-file: ${file("token", `${token}\n`)}\nlocal: ["0:127.0.0.1:${echo}"]\n`
      )
      const headers = `@${file("headers", `x-key: ${mark}-header\r\nx-other: 1\n`)}`
      const env = { HTTP_PROXY: `http://${credentials}127.0.0.1:${yield* proxy}`, NO_PROXY: "" }
      const client = yield* watched(["connect", "--config", config, ...observing], env)
      const others = ["connect", url!, "-L", `0:127.0.0.1:${echo}`, "--header", headers, ...observing]
      const other = yield* watched(others, { WSMUX_TOKEN: token })
      for (const one of [client, other]) {
        expect((yield* ask(yield* portFor(one, `127.0.0.1:${echo}`), "hello")).said).toBe("hello")
      }
      const all = [server, client, other]
      const seen = (yield* Effect.forEach(all, pages)).flat()
      yield* server.signal("SIGHUP")
      for (const one of [client, other, server]) yield* Effect.zipRight(one.signal("SIGTERM"), one.exit)
      expect(server.titles().some((title) => title.includes("worker 2"))).toBe(true)
      expect(shown([...seen, ...all.flatMap((one) => [one.stdout(), one.stderr(), ...one.titles()])])).toEqual([])
    }))

  it.scopedLive("wsmux shows no secret of its arguments anywhere when it has begun to run", () =>
    Effect.gen(function*() {
      const echo = yield* Tcp.echo
      const observing = ["--admin", "127.0.0.1:0", "--log-level", "all", "--stats", "100ms"]
      const server = yield* watched([
        ...["serve", "--listen", "127.0.0.1:0", "--target", `127.0.0.1:${echo}`, `--token=${token}`, ...observing]
      ])
      const [, url] = yield* server.awaitLine(/^listening on (ws:\S+),/)
      const client = yield* watched([
        ...["connect", `${url}/?key=${mark}-query`, "--listen", "127.0.0.1:0", "--token", token, ...observing],
        ...["--header", `x-key: ${mark}-header`, "--proxy", `http://${credentials}127.0.0.1:${yield* proxy}`],
        ...["--fallback-url", `ws://${credentials}127.0.0.1:1/?key=${mark}`, "--reconnect"]
      ])
      const [, port] = yield* client.awaitLine(/^listening on 127\.0\.0\.1:(\d+), forwarding through /)
      expect((yield* ask(Number(port), "hello")).said).toBe("hello")
      const all = [server, client]
      const seen = (yield* Effect.forEach(all, pages)).flat()
      yield* Effect.zipRight(server.signal("SIGTERM"), server.exit)
      yield* client.awaitLine(/the next attempt is in/).pipe(within("30 seconds", "the loss"))
      yield* Effect.zipRight(client.signal("SIGTERM"), client.exit)
      const texts = all.flatMap((one) => [one.stdout(), one.stderr(), ...sinceTitled(one.titles())])
      expect(texts.some((text) => text.includes("--proxy ***"))).toBe(true)
      expect(shown([...seen, ...texts])).toEqual([])
    }))

  it.scopedLive("wsmux shows no secret when its one line is about a file, a proxy or an address", () =>
    Effect.gen(function*() {
      const files = yield* folder
      const file = (text: string) => {
        const path = join(files, `${createHash("sha256").update(text).digest("hex").slice(0, 8)}.yaml`)
        writeFileSync(path, text)
        return path
      }
      const port = yield* proxy
      const to = ["connect", "ws://127.0.0.1:1", "-L", "0:db:1"]
      const serving = ["serve", "--listen", "127.0.0.1:0", "--rules"]
      const relaying = [
        "relay",
        "--listen",
        "127.0.0.1:0",
        "--secret-file",
        file(`${mark}-of-at-least-32-bytes-and-more\n`)
      ]
      const faulty: ReadonlyArray<readonly [args: ReadonlyArray<string>, code: number]> = [
        [[...to, "--proxy", `ftp://${credentials}127.0.0.1`], 2],
        [[...to, "--proxy", `http://${credentials}127.0.0.1:1`], 1],
        [[...to, "--proxy", `http://other:${mark}@127.0.0.1:${port}`], 1],
        [[...to, "--proxy", `socks5://${credentials}127.0.0.1:1`], 1],
        [["connect", "ws://127.0.0.1:1", `ws://${credentials}127.0.0.1`], 2],
        [["connect", "ws://127.0.0.1:1", "-L", `ws://${credentials}127.0.0.1/?${mark}`], 2],
        [["connect", "ws://127.0.0.1:1", "-W", `${credentials}127.0.0.1:22`], 2],
        [[...to, "--fallback-url", `http://${credentials}127.0.0.1`], 2],
        [[...to, "--header", `authorization: ${mark}`, "--token", mark], 2],
        [["connect", "--config", file(`url: ws://${credentials}host`)], 2],
        [["connect", "--config", file(`url: ws://host\ntoken: ${mark}`)], 2],
        [["connect", "--config", file(`url: ws://host\nproxy: "http://${credentials}host"`)], 2],
        [["connect", "--config", file(`url: ws://host\ntoken-file: *${mark}`)], 2],
        [["config", "check", file(`header: ["x-key: ${mark}"]`)], 2],
        [[...serving, file(`jwt: {secret: [${mark}]}`)], 2],
        [[...serving, file(`jwt: {secret: "a" ${mark}}`)], 2],
        [[...serving, file(`jwt: {secret: *${mark}}`)], 2],
        [[...serving, file(`jwt: {secret: !${mark} a}`)], 2],
        [[...serving, file(`users: {ada: {tokens: [${mark}]}}`)], 2],
        [[...serving, file(`jwt: {jwks: "ftp://${credentials}host"}`)], 2],
        [["doctor", `ws://${credentials}127.0.0.1:1/?key=${mark}`, "--token", mark], 1],
        [["doctor", "ws://127.0.0.1:1", "--proxy", `http://${credentials}127.0.0.1:1`, "--json"], 1],
        [[...relaying, "--directory", `http://${credentials}127.0.0.1`], 2]
      ]
      const results = yield* Effect.forEach(
        faulty,
        ([args, code]) => Effect.map(run(args), (result) => ({ args, code, result })),
        { concurrency: 3 }
      )
      for (const { args, code, result } of results) {
        expect({ args, code: result.code }).toEqual({ args, code })
        expect({ args, shown: shown([result.stdout, result.stderr]) }).toEqual({ args, shown: [] })
      }
    }))
})
