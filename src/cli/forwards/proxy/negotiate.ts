import * as Data from "effect/Data"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type * as ByteStream from "../../../ByteStream.js"
import { Code, type Refusal, resetOf } from "../codes.js"
import type * as Place from "../place.js"
import * as Http from "./http.js"
import { incomplete, malformed, nothing, type Parsed, type Request } from "./request.js"
import * as Socks from "./socks.js"

/** Why a connection to the proxy leads nowhere. The client has got the answer. */
export class ProxyRefusal extends Data.TaggedError("ProxyRefusal")<{
  /** Undefined where the client asked for nothing that the proxy understands. */
  readonly target: Place.Port | undefined
  readonly reason: string
}> {
  override get message(): string {
    return this.reason
  }
}

/** The time in which a client must tell what it wants. */
const handshakeTimeout = Duration.seconds(10)

/** The time in which a client that was refused may read the answer and end. Then it is reset. */
const farewell = Duration.seconds(2)

/** The other side of a connection, once its target is reached. */
export interface Reached<O, W> {
  readonly other: O
  readonly write: (chunk: Uint8Array) => Effect.Effect<void, W>
  /** The bytes of the target that have arrived. */
  readonly first: Uint8Array
}

/**
 * Serves the beginning of a connection as a proxy: SOCKS 5 and 4a, HTTP CONNECT, and HTTP requests for `http://`, told
 * apart by the first byte. Completes with the other side once the target is reached and the client knows. Fails when
 * the client asks for nothing known, or `reach` fails.
 *
 * @param associate serves a connection whose client wants to send datagrams, to its end. Without it, such clients are
 * refused.
 */
export const negotiate = <O, E, W, W2, R, E3 = never, R3 = never>(
  connection: ByteStream.Operations<E, W>,
  reach: (target: Place.Port) => Effect.Effect<Reached<O, W2>, Refusal, R>,
  associate?: (association: Socks.Association) => Effect.Effect<never, E3, R3>
): Effect.Effect<O, E | W | W2 | E3 | ProxyRefusal, R | R3> =>
  Effect.gen(function*() {
    const request = yield* Effect.timeoutFail(readRequest(connection, associate !== undefined), {
      duration: handshakeTimeout,
      onTimeout: () => new ProxyRefusal({ target: undefined, reason: "the client has not asked in time" })
    })
    if ("from" in request) return yield* associate!(request)
    const { accept, refuse, rest, target } = request
    const { first, other, write } = yield* Effect.catchAll(reach(target), ({ code, reason }) =>
      Effect.zipRight(dismiss(connection, refuse(code, reason)), new ProxyRefusal({ target, reason })))
    const answer = Buffer.concat([accept, first])
    if (answer.byteLength > 0) {
      yield* connection.write(answer)
    }
    if (rest.byteLength > 0) {
      yield* write(rest)
    }
    return other
  })

/** Answers, ends, and waits for the end of the client, which might lose the answer by a reset. */
export const dismiss = <E, W>(
  connection: ByteStream.Operations<E, W>,
  answer: Uint8Array
): Effect.Effect<void, E | W> =>
  Effect.gen(function*() {
    if (answer.byteLength > 0) yield* connection.write(answer)
    yield* connection.end
    yield* Effect.repeat(connection.read, { until: Option.isNone }).pipe(Effect.timeoutOption(farewell))
  })

const readRequest = <E, W>(
  connection: ByteStream.Operations<E, W>,
  canAssociate: boolean
): Effect.Effect<Request | Socks.Association, E | W | ProxyRefusal> =>
  Effect.gen(function*() {
    const first = yield* parseNext(connection, nothing, begin)
    if (first._tag === "Request") return first.request
    yield* connection.write(first.answer)
    return yield* parseNext(connection, first.rest, Socks.parseRequest(canAssociate))
  })

type Begun =
  | { readonly _tag: "Request"; readonly request: Request }
  | ({ readonly _tag: "Greeting" } & Socks.Greeting)

const begin = (bytes: Buffer): Parsed<Begun> => {
  const [byte] = bytes
  if (byte === undefined) return incomplete
  if (byte === Socks.version5) return tagged("Greeting", Socks.parseGreeting(bytes))
  const isHttp = byte >= 0x41 && byte <= 0x5a // methods are upper case
  const parsed = isHttp
    ? Http.parseRequest(bytes)
    : byte === Socks.version4
    ? Socks.parseRequest4(bytes)
    : malformed(nothing)
  return parsed._tag === "Complete"
    ? { _tag: "Complete", value: { _tag: "Request", request: parsed.value } }
    : parsed
}

const tagged = <T extends string, A extends object>(tag: T, parsed: Parsed<A>) =>
  parsed._tag === "Complete" ? { _tag: "Complete" as const, value: { _tag: tag, ...parsed.value } } : parsed

/** More than any request has. Larger beginnings are malformed. */
const maxBytes = Http.maxHead + 64 * 1024

/** Reads until the parser knows. Answers a malformed request, and fails. */
const parseNext = <A, E, W>(
  connection: ByteStream.Operations<E, W>,
  bytes: Uint8Array,
  parse: (bytes: Buffer) => Parsed<A>
): Effect.Effect<A, E | W | ProxyRefusal> =>
  Effect.suspend(() => {
    const parsed = parse(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength))
    if (parsed._tag === "Complete") return Effect.succeed(parsed.value)
    const fail = new ProxyRefusal({ target: undefined, reason: resetOf(Code.Malformed).reason ?? "" })
    if (parsed._tag === "Malformed") return Effect.zipRight(dismiss(connection, parsed.answer), fail)
    if (bytes.byteLength > maxBytes) return fail
    return Effect.flatMap(connection.read, (chunk) =>
      Option.isNone(chunk) ? fail : parseNext(connection, Buffer.concat([bytes, chunk.value]), parse))
  })
