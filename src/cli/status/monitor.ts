import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"
import type * as Scope from "effect/Scope"
import type * as Net from "node:net"
import { type Address, format } from "../../Address.js"
import { plainText } from "../../internal/text/plainText.js"
import type { MuxStream } from "../../MuxStream.js"
import type { Session } from "../../Session.js"
import type { SessionSnapshot, StreamSnapshot } from "../../SessionSnapshot.js"
import * as Tcp from "../tcp.js"
import { version } from "../version.js"
import * as Samples from "./samples.js"
import * as Status from "./status.js"

/** Whether the command does its work, and why or why not, in one line. */
export interface Readiness {
  readonly ready: boolean
  readonly text: string
}

/** What one process tells of itself. */
export interface Report {
  readonly status: Status.Status
  readonly samples: ReadonlyArray<Samples.Sample>
}

/** A session with what its snapshot does not tell. */
interface Watched {
  readonly number: number
  readonly user: string | undefined
  readonly since: number
  /** The bytes at the last look at the rates, and the rates since the look before. */
  bytesIn: number
  bytesOut: number
  rateIn: number
  rateOut: number
}

/** A stream that is joined with a connection. */
interface Joined {
  readonly socket: Net.Socket
  readonly from: string
  readonly to: string
  readonly since: number
}

/** The command that a monitor knows. */
export interface Settings {
  readonly command: Status.Status["command"]
  readonly address: string
  /** The number of the worker that this process is. */
  readonly worker?: number
}

/** How often the rates are measured, in milliseconds. */
const rateInterval = 1000

/** Knows what a command does, for the status page. Without `--admin` there is none, and nothing is recorded. */
export class Monitor {
  readonly #command: Status.Status["command"]
  /** The address of the server, without secrets. */
  address: string
  readonly #worker: number | null
  readonly #now: () => number
  readonly #startedAt: number
  readonly #sessions = new Map<Session, Watched>()
  /** By the address object of the session, which belongs to that session alone, and by the id of the stream. */
  readonly #joined = new Map<Address, Map<number, Joined>>()
  readonly #forwards = new Set<Status.ForwardStatus>()
  #lastEnd: Status.SessionEnd | null = null
  #count = 0
  #sampledAt = 0n
  /** Tells whether the command does its work. */
  readiness: Effect.Effect<Readiness> = Effect.succeed({ ready: false, text: "starting" })
  /** The reports of the workers. */
  others: Effect.Effect<ReadonlyArray<Report>> = Effect.succeed([])

  constructor({ address, command, worker }: Settings, now: () => number) {
    this.#command = command
    this.address = address
    this.#worker = worker ?? null
    this.#now = now
    this.#startedAt = now()
  }

  /** Measures the rates until the scope closes. */
  readonly start: Effect.Effect<void, never, Scope.Scope> = Effect.suspend(() =>
    Effect.asVoid(Effect.forkScoped(Effect.repeat(this.#sampleRates, Schedule.spaced(rateInterval))))
  )

  /** Lists a session until the scope closes. */
  session(session: Session, user: string | undefined): Effect.Effect<void, never, Scope.Scope> {
    return Effect.acquireRelease(
      Effect.sync(() => {
        const since = this.#now()
        const number = ++this.#count
        this.#sessions.set(session, { number, user, since, bytesIn: 0, bytesOut: 0, rateIn: 0, rateOut: 0 })
        this.#joined.set(session.remoteAddress, new Map())
      }),
      () =>
        Effect.gen(this, function*() {
          this.#sessions.delete(session)
          this.#joined.delete(session.remoteAddress)
          if (!(yield* session.isClosed)) return
          const { message } = yield* session.awaitClosed
          this.#lastEnd = { at: this.#now(), peer: format(session.remoteAddress), reason: plainText(message) }
        })
    )
  }

  /** Lists a forward until the scope closes. */
  forward(forward: Status.ForwardStatus): Effect.Effect<void, never, Scope.Scope> {
    return Effect.acquireRelease(
      Effect.sync(() => this.#forwards.add(forward)),
      () => Effect.sync(() => this.#forwards.delete(forward))
    )
  }

  /** Lists a connection with its stream. Returns what to call at the end of the connection. */
  joined(stream: MuxStream, socket: Net.Socket): () => void {
    const streams = this.#joined.get(stream.remoteAddress)
    if (streams === undefined) return () => {}
    const { id, label, metadata } = stream
    const isOurs = (id % 2 === 1) === (this.#command === "connect") // clients open odd ids
    const peer = Tcp.peerOf(socket)
    const [from, to] = isOurs
      ? [peer, metadata.target ?? (label === "" ? "--target" : format(stream.remoteAddress))]
      : [metadata.peer ?? format(stream.remoteAddress), metadata.target ?? peer]
    streams.set(id, { socket, from: plainText(from), to: plainText(to), since: this.#now() })
    return () => void streams.delete(id)
  }

  /** Everything that this process and its workers tell of themselves. */
  readonly report: Effect.Effect<Report> = Effect.gen(this, function*() {
    const own = yield* this.#ownStatus
    const others = yield* this.others
    return {
      status: Status.merge(own, others.map(({ status }) => status)),
      samples: Samples.merge([yield* Samples.read, ...others.map(({ samples }) => samples)])
    }
  })

  get #sampleRates(): Effect.Effect<void> {
    return Effect.gen(this, function*() {
      const now = yield* Clock.currentTimeNanos // monotonic
      const seconds = Number(now - this.#sampledAt) / 1e9
      this.#sampledAt = now
      for (const [session, watched] of this.#sessions) {
        const { counters: { bytesIn, bytesOut } } = yield* session.snapshot
        const rates = {
          rateIn: (bytesIn - watched.bytesIn) / seconds,
          rateOut: (bytesOut - watched.bytesOut) / seconds
        }
        Object.assign(watched, { bytesIn, bytesOut, ...rates })
      }
    })
  }

  get #ownStatus(): Effect.Effect<Status.Status> {
    return Effect.gen(this, function*() {
      const { ready, text } = yield* this.readiness
      const seen = yield* Effect.forEach(
        this.#sessions,
        ([session, watched]) => Effect.map(session.snapshot, (snapshot) => ({ session, watched, snapshot }))
      )
      const sum = (count: (one: (typeof seen)[number]) => number) => seen.reduce((sum, one) => sum + count(one), 0)
      return {
        command: this.#command,
        version,
        address: this.address,
        ready,
        readiness: text,
        at: this.#now(),
        startedAt: this.#startedAt,
        total: {
          sessions: seen.length,
          streams: sum(({ snapshot }) => snapshot.streams.length),
          bytesIn: sum(({ snapshot }) => snapshot.counters.bytesIn),
          bytesOut: sum(({ snapshot }) => snapshot.counters.bytesOut),
          rateIn: sum(({ watched }) => watched.rateIn),
          rateOut: sum(({ watched }) => watched.rateOut)
        },
        sessions: seen.slice(0, Status.maxListed).map((one) => sessionStatus(one, this.#worker)),
        forwards: [...this.#forwards],
        streams: this.#streams(seen),
        lastEnd: this.#lastEnd
      }
    })
  }

  #streams(seen: ReadonlyArray<Seen>): ReadonlyArray<Status.StreamStatus> {
    const listed: Array<Status.StreamStatus> = []
    for (const { session, snapshot, watched } of seen) {
      const joined = this.#joined.get(session.remoteAddress)
      for (const stream of snapshot.streams) {
        if (listed.length >= Status.maxListed) return listed
        const told = { session: watched.number, worker: this.#worker }
        listed.push(streamStatus(told, stream, joined?.get(stream.id)))
      }
    }
    return listed
  }
}

interface Seen {
  readonly session: Session
  readonly watched: Watched
  readonly snapshot: SessionSnapshot
}

const sessionStatus = ({ session, snapshot, watched }: Seen, worker: number | null): Status.SessionStatus => {
  const { counters, dialect, localDrain, peerDrain, resumption } = snapshot
  const isDraining = (localDrain ?? peerDrain) !== undefined
  return {
    number: watched.number,
    peer: format(session.remoteAddress),
    user: watched.user ?? null,
    dialect: dialect.state,
    state: resumption?.state === "suspended" ? "suspended" : isDraining ? "draining" : "up",
    since: watched.since,
    suspendedSince: resumption?.since ?? null,
    resumed: resumption?.resumed ?? null,
    roundTripMillis: snapshot.roundTripMillis ?? null,
    streams: snapshot.streams.length,
    bytesIn: counters.bytesIn,
    bytesOut: counters.bytesOut,
    rateIn: watched.rateIn,
    rateOut: watched.rateOut,
    worker
  }
}

const streamStatus = (
  told: Pick<Status.StreamStatus, "session" | "worker">,
  stream: StreamSnapshot,
  joined: Joined | undefined
): Status.StreamStatus => ({
  ...told,
  id: stream.id,
  label: plainText(stream.label),
  state: stream.state,
  from: joined?.from ?? null,
  to: joined?.to ?? null,
  since: joined?.since ?? null,
  bytesIn: joined?.socket.bytesWritten ?? null,
  bytesOut: joined?.socket.bytesRead ?? null,
  unread: stream.bufferedBytes,
  unsent: stream.waitingBytes
})

/** The monitor of the running command. */
export class Current extends Context.Reference<Current>()("effect-wsmux/cli/Monitor", {
  defaultValue: (): Monitor | undefined => undefined
}) {}

/** Runs a command with a monitor, if one is wanted. */
export const around = (isWanted: boolean, settings: Settings) => <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  isWanted
    ? Effect.scoped(Effect.gen(function*() {
      const clock = yield* Effect.clock
      const monitor = new Monitor(settings, () => clock.unsafeCurrentTimeMillis())
      yield* monitor.start
      return yield* Effect.provideService(effect, Current, monitor)
    }))
    : effect

/** Lists a forward of the running command until the scope closes. */
export const forward = (forward: Status.ForwardStatus): Effect.Effect<void, never, Scope.Scope> =>
  Effect.flatMap(Current, (monitor) => monitor?.forward(forward) ?? Effect.void)

/** Lists a session of the running command until the scope closes. */
export const session = (session: Session, user?: string): Effect.Effect<void, never, Scope.Scope> =>
  Effect.flatMap(Current, (monitor) => monitor?.session(session, user) ?? Effect.void)

/** Tells the monitor of the running command where the server is. */
export const at = (address: string): Effect.Effect<void> =>
  Effect.map(Current, (monitor) => {
    if (monitor !== undefined) monitor.address = address
  })

/** Tells the monitor of the running command that a server listens. */
export const listening = (address: string): Effect.Effect<void> =>
  Effect.zipRight(
    at(address),
    setReadiness(Effect.succeed({ ready: true, text: "listening" }))
  )

/** Tells the monitor of the running command that a server takes no more clients. */
export const draining: Effect.Effect<void> = Effect.suspend(() =>
  setReadiness(Effect.succeed({ ready: false, text: "draining: no more clients are taken" }))
)

/** Tells the monitor of the running command whether the command does its work. */
export const setReadiness = (readiness: Effect.Effect<Readiness>): Effect.Effect<void> =>
  Effect.map(Current, (monitor) => {
    if (monitor !== undefined) monitor.readiness = readiness
  })
