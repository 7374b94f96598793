import * as Redis from "effect-wsmux/cli/redis"
import * as RelayRedis from "effect-wsmux/RelayRedis"
import * as Effect from "effect/Effect"
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { secret } from "../../support/relay.js"
import { redis } from "../databases/servers.js"
import { start } from "./wsmux.js"

const folder = Effect.acquireRelease(
  Effect.sync(() => mkdtempSync(join(tmpdir(), "wsmux-relay-"))),
  (folder) => Effect.sync(() => rmSync(folder, { recursive: true }))
)

/** Relays as processes that share a Redis. */
export const startRelays = (count: number) =>
  Effect.gen(function*() {
    const files = yield* folder
    writeFileSync(join(files, "secret"), secret)
    writeFileSync(join(files, "nodes"), "the secret of the nodes")
    const { port } = yield* redis
    const directory = yield* Effect.flatMap(Redis.connect(`redis://127.0.0.1:${port}`), RelayRedis.make)
    const relays = yield* Effect.forEach(Array.from({ length: count }), (_, index) =>
      Effect.gen(function*() {
        const accessLog = join(files, `access${index}`)
        const process = yield* start([
          ...["relay", "--listen", "127.0.0.1:0", "--secret-file", join(files, "secret")],
          ...["--directory", `redis://127.0.0.1:${port}`, "--node-secret-file", join(files, "nodes")],
          ...["--access-log", accessLog, "--admin", "127.0.0.1:0"]
        ])
        const [, ws, http] = yield* process.awaitLine(/^listening on (ws:\S+), agents are reached at (http:.*)\/NAME$/)
        const [, admin] = yield* process.awaitLine(/status page: (http:\S+\/)/)
        return { ...process, ws: `${ws}/`, http: http!, accessLog, admin: admin! }
      }), { concurrency: "unbounded" })
    return { relays, directory }
  })
