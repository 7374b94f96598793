import * as Clock from "effect/Clock"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as FiberRef from "effect/FiberRef"
import type * as Scope from "effect/Scope"
import { type ChildProcess, fork } from "node:child_process"
import * as Net from "node:net"
import { type Address, tcp } from "../Address.js"
import type { ListenFailure } from "../WsmuxError.js"
import * as Environment from "./environment.js"
import type { Task } from "./serving.js"
import * as Tcp from "./tcp.js"
import * as Worker from "./worker.js"

/**
 * Serves by workers, and replaces those that die. Calls `announce` once all of them serve. Fails when a worker dies
 * before it has served once. Interruption lets each worker close its sessions.
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
    return yield* Effect.raceFirst(
      Effect.zipRight(Effect.forEach(numbers, replaced, { concurrency: "unbounded" }), Effect.never),
      Effect.zipRight(announcing, Effect.never)
    )
  })

/** A worker that takes no more connections, such as one that is stopped, keeps as many of them waiting. */
const maxWaiting = 64

/** The workers that take connections, in turn. */
class Rota {
  readonly #workers: Array<ChildProcess> = []
  /** The connections on their way to each worker. */
  readonly #waiting = new Map<ChildProcess, Set<Net.Socket>>()

  add(worker: ChildProcess): void {
    this.#workers.push(worker)
    this.#waiting.set(worker, new Set())
  }

  remove(worker: ChildProcess): void {
    const at = this.#workers.indexOf(worker)
    if (at !== -1) this.#workers.splice(at, 1)
    for (const socket of this.#waiting.get(worker) ?? []) socket.destroy()
    this.#waiting.delete(worker)
  }

  /** Hands a connection to the next worker that has room, and hangs up where none has. */
  hand(socket: Net.Socket): void {
    socket.on("error", ignoreError)
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

/** Runs a worker. Completes with how its process ended. Interruption lets the worker close its sessions. */
const run = (number: number, orders: Worker.Orders, rota: Rota, onServing: () => void): Effect.Effect<string> =>
  Effect.async<string>((resume) => {
    let first: Worker.ToWorker = orders
    // The list of processes and /proc would show secrets of arguments and variables. The channel carries them instead.
    const worker = fork(process.argv[1]!, [], {
      env: {
        ...process.env,
        [Environment.worker]: String(number),
        [Environment.token]: undefined,
        [Environment.endsWithInput]: undefined
      },
      stdio: ["ignore", "inherit", "inherit", "ipc"]
    })
    worker.on("message", (message: Worker.ToParent) => {
      if (message === "ready") return send(worker, first)
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
