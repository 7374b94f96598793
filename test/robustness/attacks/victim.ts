import type { MuxStream } from "effect-wsmux/MuxStream"
import * as NodeTransportServer from "effect-wsmux/NodeTransportServer"
import type { Session } from "effect-wsmux/Session"
import * as SessionConfig from "effect-wsmux/SessionConfig"
import * as SessionServer from "effect-wsmux/SessionServer"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import { answering, type Memory, memory } from "../../support/answering.js"

/** The attacked server, a process that answers questions about its state. */
export interface Options {
  readonly settings?: SessionConfig.PartialSettings
  readonly server?: Pick<NodeTransportServer.Options, "maxConnections" | "upgradeTimeout">
}

export interface Condition {
  readonly sessions: number
  /** The streams of all sessions, the bytes that they hold, and the bytes that they may hold. */
  readonly streams: number
  readonly buffered: number
  readonly reach: number
  readonly backlog: number
  /** The number of handled frames, those of ended sessions included. */
  readonly frames: number
  readonly counters: Readonly<
    Record<"accepted" | "refused" | "duplicateSyns" | "ignoredFrames" | "windowOverruns" | "creditOverflows", number>
  >
  /** The number of ended sessions by the tag of the error. */
  readonly ended: Readonly<Record<string, number>>
  /** TCP connections, upgraded or not. */
  readonly sockets: number
}

export type Question = { readonly ask: "port" | "condition" | "memory" }

/** The work of the server on the streams of a session, by the path of its upgrade. */
const services: Readonly<Record<string, (session: Session) => Effect.Effect<unknown, unknown>>> = {
  "/echo": (session) => session.run((stream) => Stream.run(stream.readable, stream.writable)),
  "/ignore": (session) => session.run(() => Effect.never),
  "/drain": (session) => session.run((stream) => Stream.runDrain(stream.readable)),
  "/unaccepted": () => Effect.never,
  "/source": (session) => session.run((stream) => pour(stream)),
  "/digest": (session) => session.run((stream) => Effect.zipRight(stream.end, Effect.never))
}

const megabyte = new Uint8Array(1 << 20)

const pour = (stream: MuxStream) => Stream.run(Stream.forever(Stream.make(megabyte)), stream.writable)

const { server, settings: given = {} }: Options = JSON.parse(process.argv[2]!)

/** Attackers answer no pings, and another bound than the keep-alive must stop them. */
const settings: SessionConfig.PartialSettings = { keepAliveInterval: "1 hour", ...given }

const sessions = new Set<Session>()
const paths = new Map<string, string>()
const ended: Record<string, number> = {}
const past = {
  frames: 0,
  accepted: 0,
  refused: 0,
  duplicateSyns: 0,
  ignoredFrames: 0,
  windowOverruns: 0,
  creditOverflows: 0
}

type Snapshot = Effect.Effect.Success<Session["snapshot"]>

const addTo = (sum: typeof past, { counters }: Snapshot): typeof past => {
  const { ack, dat, fin, syn } = counters.framesIn
  sum.frames += ack + dat + fin + syn
  for (
    const name of [
      "accepted",
      "refused",
      "duplicateSyns",
      "ignoredFrames",
      "windowOverruns",
      "creditOverflows"
    ] as const
  ) {
    sum[name] += counters[name]
  }
  return sum
}

const key = (address: Session["remoteAddress"]): string => "port" in address ? String(address.port) : ""

const serve = (session: Session) =>
  Effect.gen(function*() {
    const port = key(session.remoteAddress)
    const path = paths.get(port) ?? ""
    paths.delete(port)
    // the other client, whose session the test does not count
    if (services[path] === undefined) return yield* services["/echo"]!(session)
    sessions.add(session)
    // the server counts a session until it is closed, which its peer may delay
    yield* session.setCloseCallback(({ _tag }) =>
      Effect.map(session.snapshot, (snapshot) => {
        ended[_tag] = (ended[_tag] ?? 0) + 1
        sessions.delete(session)
        addTo(past, snapshot)
      })
    )
    yield* Effect.race(Effect.ignore(services[path](session)), session.awaitClosed)
  })

const condition = async (): Promise<Condition> => {
  const snapshots = await Effect.runPromise(Effect.forEach([...sessions], (session) => session.snapshot))
  const streams = snapshots.flatMap(({ streams }) => streams)
  const { frames, ...counters } = snapshots.reduce(addTo, { ...past })
  return {
    sessions: sessions.size,
    streams: streams.length,
    buffered: streams.reduce((sum, { bufferedBytes }) => sum + bufferedBytes, 0),
    reach: streams.reduce((sum, { bufferedBytes, receiveCredit }) => sum + bufferedBytes + receiveCredit, 0),
    backlog: snapshots.reduce((sum, { backlog }) => sum + backlog, 0),
    frames,
    counters,
    ended,
    sockets: process.getActiveResourcesInfo().filter((name) => name === "TCPSocketWrap").length
  }
}

const program = Effect.gen(function*() {
  const listening = yield* SessionServer.make(settings)
  yield* Effect.fork(listening.run(serve))
  answering(async ({ ask }: Question): Promise<unknown> => {
    if (ask === "port") return listening.address
    return ask === "memory" ? await memory() satisfies Memory : condition()
  })
  return yield* Effect.never
}).pipe(
  Effect.provide(NodeTransportServer.layer({
    ...server,
    authorize: ({ socket, url = "/" }) => Effect.sync(() => paths.set(String(socket.remotePort), url))
  })),
  Effect.provide(SessionConfig.layer(settings))
)
Effect.runFork(Effect.scoped(program))
