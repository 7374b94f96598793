import * as Clock from "effect/Clock"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as RcMap from "effect/RcMap"
import type * as Scope from "effect/Scope"
import * as ByteStream from "../ByteStream.js"
import type { MuxStream } from "../MuxStream.js"
import * as NodeTransport from "../NodeTransport.js"
import type { Entry, Node, Service } from "../RelayDirectory.js"
import * as Session from "../Session.js"
import type { PartialSettings } from "../SessionConfig.js"
import { Transport } from "../Transport.js"
import * as Failure from "./failure.js"
import { nodeHeader } from "./gate.js"
import { maxAnswer } from "./report.js"
import { sweep } from "./sweep.js"
import * as Token from "./token.js"
import type { OtherNodes, Purpose, Way, Ways } from "./ways.js"

interface Settings {
  readonly node: Node
  readonly secret: string
  readonly directory: Service
  readonly ttlMillis: number
  /** Hears which nodes have agents of a name. */
  readonly onFound: (name: string, entry: Entry) => void
  /** How long a name counts as known after no node has it any more. */
  readonly memoryMillis: number
  /** The monotonic time in milliseconds. */
  readonly now: () => number
  readonly session: PartialSettings
}

/** The ways to agents of other nodes. */
export interface Nodes extends OtherNodes {
  /** Forgets what is known of a name, or of all names. */
  readonly forget: (name: string | undefined) => void
  /** Asks another node what it tells of itself. */
  readonly ask: (node: Node) => Effect.Effect<string, Failure.Unanswered>
}

/** The label of streams between two nodes that go on to an agent. */
const label = "relay"

/** The label of streams on which a node tells of itself. */
const statusLabel = "relay-status"

export const make = (settings: Settings): Effect.Effect<Nodes, never, Scope.Scope> =>
  Effect.gen(function*() {
    const scope = yield* Effect.scope
    const { directory, memoryMillis, node, now, onFound, ttlMillis } = settings
    const found = new Map<string, { readonly entry: Entry; readonly at: number }>()
    /** The looks that run for each name, which all requests share. News of a name outdate them. */
    const looks = new Map<string, Deferred.Deferred<Option.Option<Entry>, Failure.Unanswered>>()
    /** When a node was found for each name at last: an agent that moves is nowhere for a moment. */
    const seen = new Map<string, number>()
    /** Until when the nodes are left alone that could not be dialled or accepted no stream in time. */
    const avoidedUntil = new Map<string, number>()
    const sweepAvoided = sweep(avoidedUntil, (until) => until <= now())
    const avoid = (key: string) =>
      Effect.sync(() => {
        sweepAvoided()
        avoidedUntil.set(key, now() + avoidMillis)
      })
    const sessions = yield* RcMap.make({
      lookup: (key: string) => Effect.tapError(dial(settings, JSON.parse(key) as Node), () => avoid(key)),
      idleTimeToLive: Duration.minutes(1)
    })

    /** @param maxAge for how many milliseconds an earlier answer of the directory counts */
    const find = (name: string, maxAge: number): Effect.Effect<Option.Option<Entry>, Failure.Unanswered> =>
      Effect.uninterruptibleMask((restore) =>
        Effect.flatMap(Deferred.make<Option.Option<Entry>, Failure.Unanswered>(), (look) => {
          const known = found.get(name)
          const age = now() - (known?.at ?? -Infinity)
          // no news tell of an agent that comes while the subscription is lost
          if (known !== undefined && age < (known.entry.nodes.length === 0 ? freshMillis : maxAge)) {
            seen.set(name, now())
            return Effect.succeedSome(known.entry)
          }
          const running = looks.get(name)
          if (running !== undefined) return restore(Deferred.await(running))
          looks.set(name, look)
          return restore(directory.find(name)).pipe(
            Effect.timeout(lookTimeout), // all requests for the name wait for this look
            Effect.mapError(() => directoryAway),
            Effect.tap((entry) => {
              if (Option.isNone(entry)) return looks.get(name) === look && found.delete(name)
              if (seen.size >= maxFound) seen.clear()
              seen.set(name, now())
              if (looks.get(name) !== look) return
              onFound(name, entry.value)
              if (found.size >= maxFound) found.clear()
              found.set(name, { entry: entry.value, at: now() })
            }),
            Effect.ensuring(Effect.sync(() => looks.get(name) === look && looks.delete(name))),
            Effect.intoDeferred(look),
            Effect.forkIn(scope), // goes on for the others when the first request is interrupted
            Effect.zipRight(restore(Deferred.await(look)))
          )
        })
      )

    /** Opens a stream at one node. */
    const openAt = (at: Node, name: string, epoch: number, purpose: Purpose) => {
      const key = keyOf(at)
      return Effect.gen(function*() {
        if (now() < (avoidedUntil.get(key) ?? -Infinity)) return yield* unreachable
        const session = yield* RcMap.get(sessions, key)
        // A living node accepts at once. One that vanished without ending TCP must not hold the request.
        const stream = yield* session.open({ label, metadata: encode({ name, epoch, purpose }) }).pipe(
          Effect.timeoutFail({ duration: acceptTimeout, onTimeout: () => unreachable }),
          Effect.tapErrorTag("Unanswered", () => avoid(key))
        )
        const bytes = ByteStream.buffered(stream)
        yield* Effect.mapError(bytes.readExactly(1), (error) => decodeReset(error))
        // an agent of HTTP sends nothing before the request, so the stream has nothing else to read
        return { stream, bytes: purpose.kind === "http" ? stream : bytes } satisfies Way
      }).pipe(
        Effect.mapError((error) => error._tag === "Unanswered" ? error : unreachable),
        Effect.tapError((error) => error === unreachable ? RcMap.invalidate(sessions, key) : Effect.void)
      )
    }

    const openAtAny = (entry: Entry, name: string, purpose: Purpose) => {
      const others = shuffled(entry.nodes.filter(({ id }) => id !== node.id))
      return others.reduce<Effect.Effect<Way, Failure.Unanswered, Scope.Scope>>(
        (earlier, at) =>
          Effect.catchAll(earlier, (failure) =>
            isElsewhere(failure) || isFull(failure)
              ? Effect.mapError(openAt(at, name, entry.epoch, purpose), (later) => isElsewhere(later) ? failure : later)
              : Effect.fail(failure)),
        Effect.fail(Failure.noAgent)
      )
    }

    const absent = (name: string) =>
      now() - (seen.get(name) ?? -Infinity) < memoryMillis ? Failure.noAgent : Effect.succeedNone

    const ask = (at: Node) => {
      const key = keyOf(at)
      return Effect.scoped(Effect.gen(function*() {
        const session = yield* RcMap.get(sessions, key)
        const stream = yield* session.open({ label: statusLabel })
        return yield* ByteStream.readText(stream, { maxBytes: maxAnswer })
      })).pipe(
        // a node of an older version resets the stream; streams that run keep an invalidated session
        Effect.tapError(({ _tag }) => _tag === "StreamReset" ? Effect.void : RcMap.invalidate(sessions, key)),
        Effect.mapError(() => unreachable)
      )
    }

    return {
      ask,
      forget: (name) => {
        for (const known of [found, looks]) {
          if (name === undefined) known.clear()
          else known.delete(name)
        }
      },
      open: (name, purpose) =>
        Effect.gen(function*() {
          const entry = yield* find(name, ttlMillis)
          if (Option.isNone(entry)) return yield* absent(name)
          if (entry.value.nodes.length === 0) return yield* Failure.noAgent
          const first = yield* Effect.either(openAtAny(entry.value, name, purpose))
          if (first._tag === "Right") return Option.some(first.right)
          if (!isElsewhere(first.left)) return yield* Effect.fail(first.left)
          const again = yield* find(name, freshMillis)
          if (Option.isNone(again)) return yield* absent(name)
          if (JSON.stringify(again.value) === JSON.stringify(entry.value)) return yield* Failure.noAgent
          return Option.some(yield* openAtAny(again.value, name, purpose))
        }).pipe(Effect.catchIf(isElsewhere, () => Effect.fail(Failure.noAgent)))
    }
  })

/** Dials another node. */
const dial = ({ node, secret, session }: Settings, to: Node) =>
  Effect.gen(function*() {
    const seconds = Math.floor((yield* Clock.currentTimeMillis) / 1000)
    const token = Token.sign({
      iss: node.id,
      aud: audienceOf(to.id),
      nbf: seconds - clockTolerance,
      exp: seconds + clockTolerance
    }, secret)
    const transport = yield* NodeTransport.connect(to.url, {
      headers: { authorization: `Bearer ${token}`, [nodeHeader]: node.id },
      openTimeout: Duration.seconds(2) // the request waits
    })
    return yield* Effect.provideService(
      Session.makeClient({ ...session, dialect: "required" }),
      Transport,
      transport
    )
  })

/** How far the clocks of two nodes may differ, in seconds. */
const clockTolerance = 60

const audienceOf = (id: string): string => `wsmux-relay-node:${id}`

/** Whether a token shows that another node dials this one. */
export const admit = (secret: string, own: Node, token: string, id: string, now: number): boolean => {
  const claims = Token.verify(token, [secret], now)
  return claims !== undefined && claims.iss === id && Token.isFor(claims, audienceOf(own.id))
}

/** Serves the streams that another node opens: for names of this node only, and for what this node tells of itself. */
export const serve = (
  session: Session.Session,
  ways: Ways,
  told: Effect.Effect<Uint8Array>
): Effect.Effect<never, unknown> =>
  session.run((stream) =>
    Effect.gen(function*() {
      if (stream.label === statusLabel) return yield* ByteStream.writeEnd(stream, yield* told)
      const asked = decode(stream)
      if (asked === undefined) return yield* stream.reset({ code: Failure.notHere, reason: "malformed" })
      const onward = yield* Effect.either(ways.openHere(asked.name, asked.purpose, asked.epoch))
      if (onward._tag === "Left") {
        const { message, status } = onward.left
        return yield* stream.reset({ code: Failure.notHere + status, reason: message })
      }
      if (Option.isNone(onward.right)) return yield* stream.reset({ code: Failure.notHere, reason: "no agent here" })
      yield* stream.write(confirmation)
      yield* ByteStream.join(stream, onward.right.value.bytes)
    })
  )

/** The byte by which a node tells that its agent has taken a stream. */
const confirmation = new Uint8Array(1)

interface Asked {
  readonly name: string
  readonly epoch: number
  readonly purpose: Purpose
}

const encode = ({ epoch, name, purpose }: Asked) => ({
  name,
  epoch: String(epoch),
  ...(purpose.kind === "http" ? {} : { label: purpose.label, metadata: JSON.stringify(purpose.metadata) })
})

/** Nodes trust each other, and a node of another version may still send what this one cannot read. */
const decode = ({ label: shown, metadata }: MuxStream): Asked | undefined => {
  const { epoch, label: onward, metadata: given, name } = metadata
  if (shown !== label || name === undefined || epoch === undefined) return undefined
  try {
    return {
      name,
      epoch: Number(epoch),
      purpose: onward === undefined
        ? { kind: "http" }
        : { kind: "stream", label: onward, metadata: JSON.parse(given ?? "{}") as Record<string, string> }
    }
  } catch {
    return undefined
  }
}

/** The key of the session with a node. */
const keyOf = ({ id, url }: Node): string => JSON.stringify({ id, url })

const notThere = new Failure.Unanswered({ status: 503, message: "the node has no such agent" })

const unreachable = new Failure.Unanswered({ status: 503, message: "the node cannot be reached" })

/** Whether another node, or another look into the directory, may help. */
const isElsewhere = (failure: Failure.Unanswered): boolean =>
  failure === notThere || failure === unreachable || failure === Failure.noAgent

/** Whether a node has no room for a stream of the name. Another one may have room in its part of the limit. */
const isFull = ({ status }: Failure.Unanswered): boolean => status === 503

const directoryAway = new Failure.Unanswered({
  status: 503,
  message: "the directory of names is away",
  retryAfter: 1
})

const decodeReset = (error: { readonly _tag: string }): Failure.Unanswered => {
  if (error._tag !== "StreamReset") return unreachable
  const { code, reason } = error as { readonly code?: number; readonly reason?: string }
  const status = Failure.statuses.find((status) => code === Failure.notHere + status)
  if (status === undefined) return notThere
  // the other node's own number of seconds does not pass
  const retryAfter = status === 429 || status === 503 ? 1 : undefined
  return new Failure.Unanswered({ status, message: reason ?? "", retryAfter })
}

/** How long another node may take to accept a stream. */
const acceptTimeout = Duration.seconds(3)

/** How long the directory may take to answer. */
const lookTimeout = Duration.seconds(3)

/** How long a node is left alone that could not be reached. The requests that wait for its agents try all the time. */
const avoidMillis = 1000

/** For how many milliseconds an answer of the directory counts as new: all requests for an absent agent ask at once. */
const freshMillis = 200

/** Names whose nodes are remembered, so that the directory is asked rarely. */
const maxFound = 100_000

/** Spreads the load over the nodes of a name. */
const shuffled = <A>(items: ReadonlyArray<A>): ReadonlyArray<A> => {
  const start = Math.floor(Math.random() * items.length)
  return [...items.slice(start), ...items.slice(0, start)]
}
