import { describe, expect, it } from "@effect/vitest"
import * as Status from "effect-wsmux/cli/status/status"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { once } from "node:events"
import { createServer } from "node:http"
import type { AddressInfo } from "node:net"
import * as Tcp from "../tcp.js"
import { run, serve, tunnel } from "../wsmux.js"

describe("wsmux status", () => {
  it.scopedLive("wsmux status prints tables of 80 columns, or the data with --json", () =>
    Effect.gen(function*() {
      const { client, server } = yield* tunnel(yield* Tcp.echo, { serve: ["--admin", "127.0.0.1:0"] })
      const near = yield* Tcp.connect(client.port)
      yield* near.write("hello")
      yield* near.received(5)
      const [, page] = yield* server.awaitLine(/status page: (\S+)\//)
      const { code, stderr, stdout } = yield* run(["status", page!])
      expect([code, stderr]).toEqual([0, ""])
      expect(stdout).toMatch(/^wsmux serve \S+ at ws:\/\/127\.0\.0\.1:\d+: listening, for \d+ s\n1 session, 1 stream; /)
      expect(stdout).toMatch(/^SESSION +PEER +USER +STATE +AGE +RTT +OPEN +IN\/S +OUT\/S\n1 +127\.0\.0\.1:\d+ +- +up /m)
      expect(stdout.split("\n").filter(({ length }) => length > 80)).toEqual([])
      const json = yield* run(["status", "--json", page!.slice("http://".length)])
      expect(Schema.decodeUnknownSync(Schema.parseJson(Status.Status))(json.stdout)).toMatchObject({ command: "serve" })
    }))

  it.live("wsmux status asks at a port that fetch refuses", () =>
    Effect.gen(function*() {
      const { code, stderr } = yield* run(["status", "127.0.0.1:1"])
      expect({ code, stderr }).toEqual({
        code: 1,
        stderr: "wsmux: cannot ask http://127.0.0.1:1/: connect ECONNREFUSED 127.0.0.1:1\n"
      })
    }))

  it.scopedLive("wsmux status exits with 1 when no command answers", () =>
    Effect.gen(function*() {
      const other = yield* Effect.acquireRelease(
        Effect.promise(async () => {
          const server = createServer((_, response) => response.end("{}")).listen(0, "127.0.0.1")
          await once(server, "listening")
          return server
        }),
        (server) => Effect.sync(() => server.close())
      )
      const foreign = `127.0.0.1:${(other.address() as AddressInfo).port}`
      expect(yield* run(["status", foreign])).toEqual({
        code: 1,
        stdout: "",
        stderr: `wsmux: cannot ask http://${foreign}/: no wsmux answers there\n`
      })
      const { url } = yield* serve(1) // a WebSocket server is no status page
      const answered = yield* run(["status", url.slice("ws://".length)])
      expect([answered.code, answered.stderr]).toEqual([
        1,
        expect.stringMatching(/cannot ask .*: the answer is 426\n$/)
      ])
      other.close()
      const gone = yield* run(["status", foreign])
      expect([gone.code, gone.stderr]).toEqual([1, expect.stringMatching(/^wsmux: cannot ask .*: .*ECONNREFUSED.*\n$/)])
    }))
})
