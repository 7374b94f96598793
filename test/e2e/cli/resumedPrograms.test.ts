import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { spawn } from "node:child_process"
import { createHash } from "node:crypto"
import * as Http from "node:http"
import type * as Net from "node:net"
import { userInfo } from "node:os"
import { pattern } from "../../support/bytes.js"
import { findProgram, programs } from "../../support/programs.js"
import { patience, within } from "../../support/within.js"
import { postgres, redis } from "../databases/servers.js"
import { connectWith, portFor, serveWith } from "./forwards/commands.js"
import { run, sshd } from "./forwards/programs.js"
import { makeLink } from "./link.js"
import { makeWaits } from "./waits.js"

/** The port of a forward to the target, and the cut of the WebSocket that carries its connections. */
const makeForward = (target: string) =>
  Effect.gen(function*() {
    const { url } = yield* serveWith(["--allow", target])
    const link = yield* makeLink(Number(new URL(url).port))
    const client = yield* connectWith(`ws://127.0.0.1:${link.port}`, ["-L", `0:${target}`, "--resume", "1m"])
    return { client, cut: link.cut, port: String(yield* portFor(client, target)) }
  })

/** A program that reads commands, and whose answers the test awaits. The scope ends it. */
const talkTo = (file: string, args: ReadonlyArray<string>) =>
  Effect.map(
    Effect.acquireRelease(
      Effect.sync(() => spawn(file, args, { stdio: "pipe" })),
      (child) => Effect.sync(() => child.kill("SIGKILL"))
    ),
    (child) => {
      const { until, wake } = makeWaits()
      let said = ""
      let complaints = ""
      child.stdout.setEncoding("utf8").on("data", (text: string) => {
        said += text
        wake()
      })
      child.stderr.setEncoding("utf8").on("data", (text: string) => complaints += text)
      return {
        say: (line: string) => Effect.sync(() => child.stdin.write(`${line}\n`)),
        /** Awaits the next text, and drops all up to its end. */
        answer: (text: string) =>
          until(() => {
            const at = said.indexOf(text)
            if (at < 0) return undefined
            said = said.slice(at + text.length)
            return Effect.void
          }).pipe(within(patience, `${JSON.stringify(text)} of ${file}`)),
        complaints: () => complaints
      }
    }
  )

const cuts = Array.from({ length: 10 }, (_, n) => n + 1)

/** The download in MiB. */
const blocks = process.env.WSMUX_RESUME === "full" ? 1024 : 64
/** What arrives between two cuts in MiB: more than all buffers hold, so that each cut finds the next WebSocket. */
const between = blocks * 6 / 64

const { OpenSSH, PostgreSQL, Redis, curl } = programs
const [psql, redisCli] = [findProgram("psql"), findProgram("redis-cli")]

describe("a program through wsmux whose WebSocket is lost ten times", () => {
  it.scopedLive.skipIf(PostgreSQL === undefined || psql === undefined)(
    "psql goes on in its transaction",
    () =>
      Effect.gen(function*() {
        const { port: target } = yield* postgres
        const { client, cut, port } = yield* makeForward(`127.0.0.1:${target}`)
        const args = ["-h", "127.0.0.1", "-p", port, "-U", "wsmux", "-d", "postgres", "-Atq"]
        const session = yield* talkTo(psql!, args)
        yield* session.say("begin; create temp table seen (n int) on commit drop;")
        for (const n of cuts) {
          yield* session.say(`insert into seen values (${n});`)
          yield* cut
          yield* session.say("select 'rows ' || count(*) || ' sum ' || sum(n) from seen;")
          yield* session.answer(`rows ${n} sum ${n * (n + 1) / 2}\n`)
        }
        yield* session.say("commit; select 'committed';")
        yield* session.answer("committed\n")
        expect(session.complaints()).toBe("")
        yield* client.awaitLine(/resumed the connections through/)
      })
  )

  it.scopedLive.skipIf(OpenSSH === undefined)("ssh goes on with its key strokes", () =>
    Effect.gen(function*() {
      const { options, port: target } = yield* sshd
      const { cut, port } = yield* makeForward(`127.0.0.1:${target}`)
      const host = `${userInfo().username}@127.0.0.1`
      const alias = ["-o", `HostKeyAlias=[127.0.0.1]:${target}`]
      const session = yield* talkTo("ssh", [...options, ...alias, "-p", port, host, "cat"])
      for (const n of cuts) {
        yield* session.say(`before ${n}`)
        yield* cut
        yield* session.say(`after ${n}`)
        yield* session.answer(`before ${n}\nafter ${n}\n`)
      }
      expect(session.complaints()).toBe("")
    }))

  it.scopedLive.skipIf(Redis === undefined || redisCli === undefined)(
    "redis-cli goes on with its subscription",
    () =>
      Effect.gen(function*() {
        const { port: target } = yield* redis
        const { cut, port } = yield* makeForward(`127.0.0.1:${target}`)
        const subscriber = yield* talkTo(redisCli!, ["-p", port, "subscribe", "news"])
        yield* subscriber.answer("subscribe\nnews\n1\n")
        for (const n of cuts) {
          yield* cut
          const { stdout } = yield* run(redisCli!, ["-p", String(target), "publish", "news", `item ${n}`])
          expect(stdout).toBe("1\n")
          yield* subscriber.answer(`message\nnews\nitem ${n}\n`)
        }
      })
  )

  it.scopedLive.skipIf(curl === undefined)(
    `curl downloads ${blocks} MiB with the right SHA-256`,
    () =>
      Effect.gen(function*() {
        const content = pattern(1 << 20)
        /** Each block differs, so that none can take the place of another. */
        const blockOf = (n: number): Buffer => {
          const block = Buffer.from(content)
          block.writeUInt32LE(n)
          return block
        }
        const server = yield* Effect.acquireRelease(
          Effect.async<Http.Server>((resume) => {
            const server: Http.Server = Http.createServer((_, response) => {
              let n = 0
              const send = (): void => {
                while (n < blocks) {
                  if (!response.write(blockOf(n++))) return void response.once("drain", send)
                }
                response.end()
              }
              send()
            }).listen(0, "127.0.0.1", () => resume(Effect.succeed(server)))
          }),
          (server) => Effect.sync(() => server.close().closeAllConnections())
        )
        const { cut, port } = yield* makeForward(`127.0.0.1:${(server.address() as Net.AddressInfo).port}`)
        const expected = createHash("sha256")
        for (let n = 0; n < blocks; n++) expected.update(blockOf(n))
        const hash = createHash("sha256")
        let size = 0
        const lost: Array<number> = []
        const code = yield* Effect.async<number | null>((resume) => {
          const args = ["-sS", "--noproxy", "*", `http://127.0.0.1:${port}/`]
          const child = spawn(curl!, args, { stdio: ["ignore", "pipe", "inherit"] })
          child.stdout.on("data", (chunk: Buffer) => {
            hash.update(chunk)
            size += chunk.length
            if (lost.length < cuts.length && size >= (lost.length + 1) * between << 20) lost.push(Effect.runSync(cut))
          })
          child.on("close", (code) => resume(Effect.succeed(code)))
          return Effect.sync(() => child.kill("SIGKILL"))
        }).pipe(within(blocks > 64 ? "10 minutes" : "100 seconds", "the download"))
        expect([code, size, hash.digest("hex")]).toEqual([0, blocks << 20, expected.digest("hex")])
        expect(lost).toEqual(cuts.map(() => 2)) // both ends of one WebSocket
      }),
    600_000
  )
})
