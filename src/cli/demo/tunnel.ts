import * as Command from "@effect/platform/Command"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Queue from "effect/Queue"
import * as Stream from "effect/Stream"
import { fileURLToPath } from "node:url"
import type { Report } from "../session.js"
import { DemoFailure } from "./files.js"

const bin = fileURLToPath(new URL("../bin.js", import.meta.url))

/**
 * Starts one of the commands as a process of its own, waits until it listens, and answers with where, and with the
 * counters that it reports. The scope ends it.
 */
export const start = (name: "serve" | "connect", args: ReadonlyArray<string>, token: string) =>
  Effect.gen(function*() {
    const listening = yield* Deferred.make<string, DemoFailure>()
    const reports = yield* Queue.sliding<Report>(1)
    const process_ = yield* Command.make(
      process.execPath,
      bin,
      name,
      "--log-level",
      "warning",
      "--stats",
      "100ms",
      ...args
    ).pipe(
      Command.env({ WSMUX_TOKEN: token, WSMUX_ENDS_WITH_INPUT: "1" }),
      Command.stderr("inherit"),
      Command.start
    )
    yield* process_.stdout.pipe(
      Stream.decodeText(),
      Stream.splitLines,
      Stream.runForEach((line) => {
        if (line.startsWith("{")) return Queue.offer(reports, JSON.parse(line) as Report)
        const address = /^listening on (?:wss?:\/\/)?(\S+),/.exec(line)?.[1]
        return address === undefined ? Effect.void : Deferred.succeed(listening, address)
      }),
      Effect.ensuring(Deferred.fail(listening, new DemoFailure({ message: `wsmux ${name} could not start` }))),
      Effect.forkScoped
    )
    return { address: yield* Deferred.await(listening), reports }
  })

/** The report that counts everything: when all streams are over. */
export const settled = (reports: Queue.Dequeue<Report>, bytes: number) =>
  Stream.fromQueue(reports).pipe(
    Stream.filter((report) => report.streams === 0 && report.bytesIn >= bytes),
    Stream.runHead,
    Effect.timeout("10 seconds"),
    Effect.option,
    Effect.map(Option.flatten)
  )
