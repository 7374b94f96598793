import * as Effect from "effect/Effect"
import * as Logger from "effect/Logger"
import * as LogLevel from "effect/LogLevel"
import * as Option from "effect/Option"
import * as Queue from "effect/Queue"
import * as Schema from "effect/Schema"
import type * as Net from "node:net"
import * as FedServer from "./fedServer.js"
import { serving, Task, tlsOptions } from "./serving.js"
import * as Monitor from "./status/monitor.js"

const Work = Schema.Struct({
  ...Task.fields,
  level: Schema.Literal(...LogLevel.allLevels.map((level) => level._tag))
})

/** What a worker does, and the level of its log, as JSON. */
export type Orders = typeof Work.Encoded

export const encode = Schema.encodeSync(Work)

/** A message of the parent: the orders in answer to `ready`, connections after `listening`, and a last word. */
export type ToWorker = Orders | "connection" | "report" | "stop"

/** A message of a worker. The report answers `report`. */
export type ToParent = "ready" | "listening" | Monitor.Report

const tell = (message: ToParent) => Effect.sync(() => process.send!(message))

/** Serves the connections of the parent until the parent says stop. Without its parent, the process exits. */
export const work = (number: string) =>
  Effect.gen(function*() {
    process.title = `wsmux serve, worker ${number}`
    process.on("disconnect", () => process.exit(1))
    const messages = yield* Queue.unbounded<Orders | "stop">()
    let report: Effect.Effect<void> = Effect.void
    let accept = (socket: Net.Socket): void => void socket.destroy()
    process.on("message", (message: ToWorker, socket?: Net.Socket) => {
      if (message === "report") Effect.runFork(report)
      else if (message !== "connection") messages.unsafeOffer(message)
      else if (socket !== undefined) accept(socket) // a connection may end on its way
    })
    yield* tell("ready") // Node loses a message that comes before its listener
    const orders = yield* Queue.take(messages)
    if (orders === "stop") return
    const { level, ...task } = Schema.decodeSync(Work)(orders)
    const server = FedServer.make(Option.getOrUndefined(Option.map(task.tls, tlsOptions)))
    accept = (socket) => {
      socket.allowHalfOpen = true // as for each connection that a server of HTTP accepts itself
      server.emit("connection", socket)
    }
    yield* Effect.gen(function*() {
      const monitor = yield* Monitor.Current
      if (monitor !== undefined) report = Effect.flatMap(monitor.report, tell)
      return yield* Effect.raceFirst(serving(task, () => tell("listening"), server), Queue.take(messages))
    }).pipe(
      Monitor.around(Option.isSome(task.admin), { command: "serve", address: "", worker: Number(number) }),
      Effect.annotateLogs("worker", number),
      Logger.withMinimumLogLevel(LogLevel.fromLiteral(level))
    )
  })
