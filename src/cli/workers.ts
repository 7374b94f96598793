import * as Clock from "effect/Clock"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as FiberRef from "effect/FiberRef"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import { type ChildProcess, spawn } from "node:child_process"
import * as Net from "node:net"
import { type Address, tcp } from "../Address.js"
import type { ListenFailure } from "../WsmuxError.js"
import * as Environment from "./environment.js"
import * as Hangup from "./hangup.js"
import { script } from "./self.js"
import type { Task } from "./serving.js"
import * as Monitor from "./status/monitor.js"
import * as Systemd from "./systemd.js"
import * as Tcp from "./tcp.js"
import * as Worker from "./worker.js"

/**
 * Serves by workers, and replaces those that die. Calls `announce` once all of them serve. Fails when a worker dies
 * before it has served once. Interruption gives up the port, and lets each worker drain its sessions.
 *
 * This process keeps the port, and hands each connection to the next worker. Two other ways lose to this one. Where
 * processes accept at one port by SO_REUSEPORT, a hash chooses among them: of few and long sessions, one process may
 * get all. `node:cluster` gives up the port when all workers have died.
 */
export const supervise = (
  task: Task,
  count: number,
  announce: (address: Address) => Effect.Effect<void>
): Effect.Effect<never, Error | ListenFailure, Scope.Scope> =>
  Effect.gen(function*() {
    const level = yield* FiberRef.get(FiberRef.currentMinimumLogLevel)
    const orders = Worker.encode({ ...task, level: level._tag })
    const rota = new Rota()
    const monitor = yield* Monitor.Current
    if (monitor !== undefined) monitor.others = rota.reports
    // systemd and users know this process only
    if (Option.isSome(task.rules) || Option.isSome(task.config)) {
      yield* Hangup.handle(Effect.sync(() => rota.hangUp()))
    }
    const server = Net.createServer({ pauseOnConnect: true, noDelay: true }, (socket) => rota.hand(socket))
    const { host, port } = yield* Tcp.listen(server, task.listen)
    const allServe = yield* Deferred.make<void>()
    const served = new Set<number>()
    const replaced = (number: number) =>
      run(number, orders, rota, () => {
        if (served.add(number).size === count) Deferred.unsafeDone(allServe, Effect.void)
      }).pipe(
        Effect.filterOrFail(
          () => served.has(number),
          (end) => new Error(`cannot start worker ${number}: the process ${end}`)
        ),
        repeatedly(number)
      )
    const numbers = Array.from({ length: count }, (_, i) => i + 1)
    const announcing = Effect.zipRight(Deferred.await(allServe), announce(tcp(host, port)))
    const working = yield* Effect.forkScoped(Effect.raceFirst(
      Effect.zipRight(Effect.forEach(numbers, replaced, { concurrency: "unbounded" }), Effect.never),
      Effect.zipRight(announcing, Effect.never)
    ))
    // Another process can take the port while the workers drain.
    return yield* Effect.onInterrupt(Fiber.join(working), () =>
      Effect.zipRight(
        Effect.zipRight(Monitor.draining, Systemd.stopping),
        Effect.sync(() => {
          server.close()
          rota.drop()
        })
      ))
  })

/** How long a status page waits for a worker. */
const reportTimeout = "1 second"

/** A worker that takes no more connections, such as one that is stopped, keeps as many of them waiting. */
const maxWaiting = 64

/** The workers that take connections, in turn. */
class Rota {
  readonly #workers: Array<ChildProcess> = []
  /** The connections that came while no worker served. */
  readonly #held = new Set<Net.Socket>()
  /** The connections on their way to each worker. */
  readonly #waiting = new Map<ChildProcess, Set<Net.Socket>>()
  /** The workers whose processes run, with those that wait for a report of each. */
  readonly #asked = new Map<ChildProcess, Array<(report: Monitor.Report) => void>>()

  /** Asks every worker for its report. A worker that is silent is left out. */
  readonly reports: Effect.Effect<ReadonlyArray<Monitor.Report>> = Effect.suspend(() =>
    Effect.map(
      Effect.forEach(this.#asked.keys(), (worker) => this.#ask(worker), { concurrency: "unbounded" }),
      (reports) => reports.flatMap(Option.toArray)
    )
  )

  #ask(worker: ChildProcess): Effect.Effect<Option.Option<Monitor.Report>> {
    return Effect.async<Monitor.Report>((resume) => {
      this.#asked.get(worker)?.push((report) => resume(Effect.succeed(report)))
      send(worker, "report")
    }).pipe(Effect.timeoutOption(reportTimeout))
  }

  /** Takes the report of a worker, for all that wait for one. */
  answer(worker: ChildProcess, report: Monitor.Report): void {
    for (const resume of this.#asked.get(worker)?.splice(0) ?? []) resume(report)
  }

  add(worker: ChildProcess): void {
    this.#asked.set(worker, [])
    this.#workers.push(worker)
    this.#waiting.set(worker, new Set())
    for (const socket of this.#held) {
      this.#held.delete(socket)
      this.hand(socket)
    }
  }

  remove(worker: ChildProcess): void {
    const at = this.#workers.indexOf(worker)
    if (at !== -1) this.#workers.splice(at, 1)
    for (const socket of this.#waiting.get(worker) ?? []) socket.destroy()
    this.#waiting.delete(worker)
  }

  /** Lets each worker read its files again. */
  hangUp(): void {
    for (const worker of this.#asked.keys()) worker.kill("SIGHUP")
  }

  /** Hangs up the connections that wait for a worker. */
  drop(): void {
    for (const socket of this.#held) socket.destroy()
  }

  /** The process of the worker has ended. Until then a worker that drains reports. */
  forget(worker: ChildProcess): void {
    this.#asked.delete(worker)
  }

  /**
   * Hands a connection to the next worker that has room, and hangs up where none has. While no worker serves, the
   * connection waits for the next one.
   */
  hand(socket: Net.Socket): void {
    socket.on("error", ignoreError)
    if (this.#workers.length === 0 && this.#held.size < maxWaiting) {
      this.#held.add(socket)
      return void socket.once("close", () => this.#held.delete(socket))
    }
    const at = this.#workers.findIndex((worker) => this.#waiting.get(worker)!.size < maxWaiting)
    if (at === -1) return void socket.destroy()
    const [worker] = this.#workers.splice(at, 1)
    this.#workers.push(worker!)
    const waiting = this.#waiting.get(worker!)!
    waiting.add(socket)
    send(worker!, "connection", socket, () => waiting.delete(socket))
  }
}

const send = (worker: ChildProcess, message: Worker.ToWorker, socket?: Net.Socket, onSent = ignoreError): void => {
  // A worker that has lost its channel exits, and its exit is awaited. Hence errors are ignored.
  worker.send(message, socket, onSent)
}

const ignoreError = (): void => {}

/** Runs a worker. Completes with how its process ended. Interruption lets the worker drain its sessions. */
const run = (number: number, orders: Worker.Orders, rota: Rota, onServing: () => void): Effect.Effect<string> =>
  Effect.async<string>((resume) => {
    let first: Worker.ToWorker = orders
    // The list of processes and /proc would show secrets of arguments and variables. The channel carries them instead.
    const worker = spawn(process.execPath, [...process.execArgv, ...script], {
      env: {
        ...process.env,
        [Environment.worker]: String(number),
        [Environment.token]: undefined,
        [Environment.endsWithInput]: undefined,
        [Systemd.socketVariable]: undefined // systemd hears of the service by this process
      },
      stdio: ["ignore", "inherit", "inherit", "ipc"]
    })
    worker.on("message", (message: Worker.ToParent) => {
      if (message === "ready") return send(worker, first)
      if (message !== "listening") return rota.answer(worker, message)
      rota.add(worker)
      onServing()
    })
    const over = new Promise<string>((resolve) => {
      worker.once("error", (cause) => resolve(`failed: ${cause.message}`))
      worker.once(
        "exit",
        (code, signal) => resolve(signal === null ? `exited with code ${code}` : `was ended by ${signal}`)
      )
    })
    over.then((end) => {
      rota.remove(worker)
      rota.forget(worker)
      resume(Effect.succeed(end))
    })
    return Effect.promise(() => {
      rota.remove(worker)
      first = "stop"
      send(worker, "stop")
      return over
    })
  })

/** The milliseconds before a worker is replaced. Each further wait is twice as long. */
const firstWait = 250
const longestWait = 30_000

/** A worker that lives for less counts as a further failure. */
const provenMillis = 30_000

/** Replaces a worker each time it ends, after a wait and with a line of the log. */
export const repeatedly = (number: number) => <E>(worker: Effect.Effect<string, E>): Effect.Effect<never, E> => {
  let failures = 0
  return Effect.gen(function*() {
    const start = yield* Clock.currentTimeNanos
    const end = yield* worker
    const lived = Number((yield* Clock.currentTimeNanos) - start) / 1e6
    failures = lived >= provenMillis ? 1 : failures + 1
    const wait = Math.min(firstWait * 2 ** (failures - 1), longestWait)
    yield* Effect.logWarning(`worker ${number} ${end}; the next one starts in ${wait / 1000} s`)
    yield* Effect.sleep(wait)
  }).pipe(Effect.forever)
}
