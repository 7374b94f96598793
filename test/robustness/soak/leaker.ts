import * as MemoryTransport from "effect-wsmux/MemoryTransport"
import type { MuxStream } from "effect-wsmux/MuxStream"
import * as NodeTransport from "effect-wsmux/NodeTransport"
import * as NodeTransportServer from "effect-wsmux/NodeTransportServer"
import * as Session from "effect-wsmux/Session"
import * as SessionConfig from "effect-wsmux/SessionConfig"
import { Transport } from "effect-wsmux/Transport"
import { TransportServer } from "effect-wsmux/TransportServer"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Queue from "effect/Queue"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as Supervisor from "effect/Supervisor"
import type { EventEmitter } from "node:events"
import { answering, memory } from "../../support/answering.js"
import { bytes, pattern } from "../../support/bytes.js"

/** Opens and closes streams and sessions in every way, and reports the resources that are left. */
export interface Question {
  readonly kind: "streams" | "sessions"
  readonly transport: "memory" | "ws"
  readonly count: number
}

export interface State {
  readonly memory: number
  readonly timers: number
  readonly handles: number
  /** The number of sockets and servers among the handles. */
  readonly listeners: number
  readonly fibers: number
  /** The number of streams of open sessions. */
  readonly streams: number
}

type Link = readonly [client: Transport, server: Transport, cut: Effect.Effect<void>]
type Ends = readonly [client: Session.Session, server: Session.Session, cut: Effect.Effect<void>]
type Kind = Question["transport"]
type Way = (client: Session.Session, refusing: Session.Session) => Effect.Effect<unknown, unknown>

const supervisor = Effect.runSync(Supervisor.track)
const scope = Effect.runSync(Scope.make())
const run = <A, E>(effect: Effect.Effect<A, E>) => Effect.runPromise(Effect.supervised(effect, supervisor))

const memoryLink: Effect.Effect<Link, never, Scope.Scope> = Effect.map(
  MemoryTransport.makePair(),
  ({ client, cut, server }) => [client, server, cut] as const
)

/** Dials a server of this process. Connections arrive in the order of their dials. */
const makeWsLink = Effect.gen(function*() {
  const server = yield* TransportServer
  const accepted = yield* Queue.unbounded<readonly [Transport, Deferred.Deferred<void>]>()
  yield* Effect.forkScoped(server.run((transport) =>
    Effect.gen(function*() {
      const over = yield* Deferred.make<void>()
      yield* Queue.offer(accepted, [transport, over])
      yield* Deferred.await(over)
    })
  ))
  const { port } = server.address as Extract<typeof server.address, { readonly _tag: "TcpAddress" }>
  const link: Effect.Effect<Link, unknown, Scope.Scope> = Effect.gen(function*() {
    const dialled = yield* Scope.make()
    const client = yield* Scope.extend(NodeTransport.connect(`ws://127.0.0.1:${port}`), dialled)
    const [there, over] = yield* Queue.take(accepted)
    const cut = Scope.close(dialled, Exit.void)
    yield* Effect.addFinalizer(() => Effect.zipRight(cut, Deferred.succeed(over, undefined)))
    return [client, there, cut]
  })
  return link
})

const makeEnds = (link: Effect.Effect<Link, unknown, Scope.Scope>, settings: SessionConfig.PartialSettings = {}) =>
  Effect.gen(function*() {
    const [near, far, cut] = yield* link
    const client = yield* Effect.provideService(Session.makeClient(settings), Transport, near)
    const server = yield* Effect.provideService(Session.makeServer(settings), Transport, far)
    return [client, server, cut] as const
  })

const echo = (stream: MuxStream) => Stream.run(stream.readable, stream.writable)

/** The work of the server on a stream, by its first bytes. */
const answer = (stream: MuxStream): Effect.Effect<void, unknown> =>
  Effect.flatMap(stream.read, (first): Effect.Effect<void, unknown> => {
    switch (first._tag === "Some" ? first.value[0] : undefined) {
      case 1:
        return Effect.zipRight(stream.write(pattern(3000)), stream.end) // more than the window
      case 2:
        return Effect.fail("a handler that fails")
      default:
        return echo(stream)
    }
  })

const using = (session: Session.Session, use: (stream: MuxStream) => Effect.Effect<unknown, unknown>) =>
  Effect.ignore(Effect.scoped(Effect.flatMap(session.open(), use)))

const ways: Readonly<Record<string, Way>> = {
  "both sides end": (client) =>
    using(client, (stream) => Effect.all([stream.write(bytes("hello")), stream.end, Stream.runDrain(stream.readable)])),
  "left unread": (client) => using(client, (stream) => Effect.zipRight(stream.write(Uint8Array.of(1)), stream.read)),
  "left at once": (client) => using(client, () => Effect.void),
  "left while it writes": (client) =>
    using(client, (stream) => Effect.timeoutOption(stream.write(pattern(5000)), "1 millis")),
  "with deadlines that never come": (client) =>
    using(client, (stream) => Effect.zipRight(stream.setDeadline(Date.now() + 3_600_000), stream.write(bytes("x")))),
  "with a deadline that has come": (client) =>
    using(client, (stream) => Effect.zipRight(stream.setReadDeadline(Date.now() + 1), stream.read)),
  "whose handler fails": (client) =>
    using(client, (stream) => Effect.zipRight(stream.write(Uint8Array.of(2)), stream.read)),
  "whose open is interrupted": (client) =>
    Effect.flatMap(
      Effect.fork(Effect.scoped(client.open())),
      (open) => Effect.zipRight(Effect.yieldNow(), Fiber.interrupt(open))
    ),
  "refused": (_, refusing) => using(refusing, () => Effect.void)
}

/** The number of streams that are open when a session is cut. */
const batch = 50

/** A busy machine may let a process wait for this long. */
const settings: SessionConfig.PartialSettings = { keepAliveInterval: "10 minutes" }

const program = Effect.gen(function*() {
  const links: Record<Kind, Effect.Effect<Link, unknown, Scope.Scope>> = { memory: memoryLink, ws: yield* makeWsLink }
  const lasting = yield* Effect.forEach([links.memory, links.ws], (link) =>
    Effect.gen(function*() {
      const ends = yield* makeEnds(link, settings)
      yield* Effect.forkScoped(ends[1].run(answer))
      const refusing = yield* makeEnds(link, { ...settings, acceptBacklog: 0 })
      return { ends, refusing }
    }))
  const of = { memory: lasting[0]!, ws: lasting[1]! }

  const streams = (transport: Kind, count: number) =>
    Effect.gen(function*() {
      const { ends: [client], refusing: [refusing] } = of[transport]
      const all = Object.values(ways)
      const cuts = Math.floor(count / (all.length + 1) / batch)
      yield* Effect.forEach(
        Array.from({ length: count - cuts * batch }, (_, i) => i),
        (i) => all[i % all.length]!(client, refusing),
        { concurrency: 20, discard: true }
      )
      for (let i = 0; i < cuts; i++) yield* cutUnder(links[transport])
      const settled = Effect.map(
        Effect.forEach([client, refusing, of[transport].ends[1]], (session) => session.snapshot),
        (snapshots) => snapshots.every(({ streams }) => streams.length === 0)
      )
      yield* Effect.repeat(Effect.delay(settled, 5), { until: (settled) => settled })
    })

  const cutUnder = (link: Effect.Effect<Link, unknown, Scope.Scope>) =>
    Effect.scoped(Effect.gen(function*() {
      const [client, server, cut] = yield* makeEnds(link, settings)
      yield* Effect.forkScoped(Effect.ignore(server.run(answer)))
      const uses = yield* Effect.replicateEffect(
        Effect.fork(
          using(client, (stream) => Effect.zipRight(stream.write(bytes("x")), Stream.runDrain(stream.readable)))
        ),
        batch
      )
      yield* Effect.repeat(Effect.delay(client.snapshot, 1), { until: ({ counters }) => counters.opened === batch })
      yield* cut
      for (const use of uses) yield* Fiber.await(use)
    }))

  const endings: ReadonlyArray<(ends: Ends) => Effect.Effect<unknown>> = [
    ([client]) => client.close,
    ([, server]) => server.close,
    ([client, server]) => Effect.all([client.close, server.close], { concurrency: 2 }),
    ([, , cut]) => cut,
    () => Effect.void
  ]
  const sessions = (transport: Kind, count: number) =>
    Effect.forEach(Array.from({ length: count }, (_, i) => i), (i) =>
      Effect.scoped(Effect.gen(function*() {
        const ends: Ends = yield* makeEnds(links[transport], settings)
        yield* Effect.forkScoped(Effect.ignore(ends[1].run(answer)))
        yield* ways["both sides end"]!(ends[0], ends[0])
        const stream = yield* ends[0].open()
        yield* Effect.forkScoped(Effect.ignore(stream.write(pattern(3000))))
        yield* endings[i % endings.length]!(ends)
      })), { concurrency: 10, discard: true })

  answering(async ({ count, kind, transport }: Question): Promise<State> => {
    await run(Effect.orDie(kind === "streams" ? streams(transport, count) : sessions(transport, count)))
    await Effect.runPromise(Effect.sleep(100)) // sockets and Effect's own fibers end in later turns
    const { external, heap } = await memory()
    const resources = process.getActiveResourcesInfo()
    const handles = (process as unknown as { _getActiveHandles(): Array<EventEmitter> })._getActiveHandles()
    const live = await run(
      Effect.forEach(
        lasting,
        ({ ends, refusing }) =>
          Effect.forEach([ends[0], ends[1], refusing[0], refusing[1]], (session) => session.snapshot)
      )
    )
    return {
      memory: heap + external,
      timers: resources.filter((name) => name === "Timeout").length,
      handles: resources.filter((name) => name !== "Timeout" && name !== "Immediate").length,
      listeners: handles.reduce(
        (sum, handle) => sum + handle.eventNames().reduce((sum, name) => sum + handle.listenerCount(name), 0),
        0
      ),
      fibers: (await Effect.runPromise(supervisor.value)).length,
      streams: live.flat().reduce((sum, { streams }) => sum + streams.length, 0)
    }
  })
  yield* Effect.never
}).pipe(Effect.provide(NodeTransportServer.layer()), Effect.provide(SessionConfig.layer(settings)))

Effect.runFork(Effect.supervised(Scope.extend(program, scope), supervisor))
