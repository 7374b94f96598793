import * as Command from "@effect/cli/Command"
import * as Options from "@effect/cli/Options"
import * as NodeHttpServer from "@effect/platform-node/NodeHttpServer"
import * as FileSystem from "@effect/platform/FileSystem"
import * as Console from "effect/Console"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { randomBytes } from "node:crypto"
import { fileURLToPath } from "node:url"
import * as Fetch from "./demo/fetch.js"
import { choose, DemoFailure } from "./demo/files.js"
import { serveFiles } from "./demo/fileServer.js"
import { progress } from "./demo/progress.js"
import { summary } from "./demo/summary.js"
import * as Tunnel from "./demo/tunnel.js"
import * as Endpoint from "./endpoint.js"
import * as Shared from "./options.js"

const options = {
  dir: Shared.directory("dir", "Directory of the files; default node_modules."),
  files: Options.text("files").pipe(
    Options.withPseudoName("number"),
    Options.withDescription("Number of files to download."),
    Options.withDefault("400"),
    Options.filterMap(
      (text) => /^0*[1-9]\d{0,8}$/.test(text) ? Option.some(Number(text)) : Option.none(),
      "--files: expected a whole number from 1 on"
    )
  ),
  keep: Options.boolean("keep").pipe(
    Options.withDescription("Keep the tunnel open at the end, and print the address to visit.")
  )
}

/** The number of downloads at the same time. */
const concurrency = 64

/** Downloads files through a tunnel of real processes, and compares each with the disk. */
export const demo = Command.make("demo", options, (given) =>
  Effect.scoped(Effect.gen(function*() {
    const directory = yield* Option.match(given.dir, { onNone: () => nodeModules, onSome: Effect.succeed })
    const samples = yield* choose(directory, given.files)
    const bytes = samples.reduce((sum, { size }) => sum + size, 0)
    const target = Endpoint.format(yield* serveFiles(samples))
    yield* Console.log(`file server: http://${target}/ (${samples.length} files of ${directory})`)

    const token = randomBytes(16).toString("hex")
    const server = yield* Tunnel.start("serve", ["--listen", "127.0.0.1:0", "--target", target], token)
    yield* Console.log(`wsmux serve: ws://${server.address}, forwarding to the file server`)
    const client = yield* Tunnel.start("connect", [`ws://${server.address}`, "--listen", "127.0.0.1:0"], token)
    const origin = `http://${client.address}`
    yield* Console.log(`wsmux connect: ${origin}/, forwarding through the WebSocket`)

    const [elapsed, fetched] = yield* Effect.timed(Effect.scoped(Effect.gen(function*() {
      const advance = yield* progress(samples.length)
      return yield* Effect.forEach(
        samples,
        (sample) => Effect.tap(Fetch.fetchFile(origin, sample), () => Effect.sync(advance)),
        { concurrency }
      )
    })))
    const report = yield* Tunnel.settled(client.reports, bytes)
    yield* Console.log(`\n${summary(fetched, Math.round(Duration.toMillis(elapsed)), Option.getOrUndefined(report))}`)

    const faults = fetched.filter(({ fault }) => fault !== undefined)
    for (const { fault, sample } of faults.slice(0, 10)) yield* Console.log(`${sample.path}: ${fault}`)
    if (faults.length > 0) {
      return yield* new DemoFailure({
        message: `cannot match the disk: ${faults.length} of ${fetched.length} files differ`
      })
    }
    if (!given.keep) return
    yield* Console.log(`\nopen ${origin}/ - Ctrl-C ends it`)
    return yield* Effect.never
  })).pipe(Effect.provide([Fetch.layer, NodeHttpServer.layerContext]))).pipe(
    Command.withDescription("Download files through a tunnel on this machine, and compare them with the disk.")
  )

/** The directory of the current project, of this clone, or beside the installed package. */
const nodeModules = Effect.gen(function*() {
  const { exists } = yield* FileSystem.FileSystem
  const own = fileURLToPath(new URL("../../node_modules", import.meta.url))
  const around = fileURLToPath(new URL("../../..", import.meta.url))
  for (const directory of ["node_modules", own]) if (yield* exists(directory)) return directory
  return around
})
