import * as Command from "@effect/platform/Command"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Queue from "effect/Queue"
import * as Stream from "effect/Stream"
import * as Environment from "../environment.js"
import { script } from "../self.js"
import type { Report } from "../session.js"
import { DemoFailure } from "./files.js"

/**
 * Starts a command in a process of its own, and waits until the command listens. Completes with its address and the
 * queue of its reports. The scope ends the process.
 */
export const start = (name: "serve" | "connect", args: ReadonlyArray<string>, token: string) =>
  Effect.gen(function*() {
    const listening = yield* Deferred.make<string, DemoFailure>()
    const reports = yield* Queue.sliding<Report>(1)
    const process_ = yield* Command.make(
      process.execPath,
      ...script,
      name,
      "--log-level",
      "warning",
      "--stats",
      "100ms",
      ...args
    ).pipe(
      Command.env({ [Environment.token]: token, [Environment.endsWithInput]: "1" }),
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
      Effect.ensuring(
        Deferred.fail(
          listening,
          new DemoFailure({ message: `cannot start wsmux ${name}: the process ended before it listened` })
        )
      ),
      Effect.forkScoped
    )
    return { address: yield* Deferred.await(listening), reports }
  })

/** Waits for the first report after the end of all streams, for at most 10 s. */
export const settled = (reports: Queue.Dequeue<Report>, bytes: number) =>
  Stream.fromQueue(reports).pipe(
    Stream.filter((report) => report.streams === 0 && report.bytesIn >= bytes),
    Stream.runHead,
    Effect.timeout("10 seconds"),
    Effect.option,
    Effect.map(Option.flatten)
  )
