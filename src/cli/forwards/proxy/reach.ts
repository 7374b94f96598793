import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import type * as Net from "node:net"
import * as ByteStream from "../../../ByteStream.js"
import type { MuxStream } from "../../../MuxStream.js"
import * as NodeDuplex from "../../../NodeDuplex.js"
import type * as Session from "../../../Session.js"
import type { DuplexFailure, WriteError } from "../../../WsmuxError.js"
import * as Tcp from "../../tcp.js"
import * as Codes from "../codes.js"
import * as Labels from "../labels.js"
import type * as Place from "../place.js"
import { associate, type Way } from "./associate.js"
import { negotiate, type Reached } from "./negotiate.js"
import { nothing } from "./request.js"

/** Returns the stream for a connection to a local proxy, once the server has connected the target. */
export const throughSession =
  <E>(tunnel: Session.Opener<E>, onEnd: Way<unknown>["onEnd"]) =>
  (connection: ByteStream.ByteStream<DuplexFailure>, socket: Net.Socket) =>
    negotiate(
      connection,
      (target) => throughServer(tunnel, target),
      (association) =>
        associate(connection, socket, association, {
          open: (target) => tunnel.open({ ...Labels.toTarget(Labels.located("udp", target)), early: true }),
          onEnd
        })
    )

const throughServer = <E>(
  tunnel: Session.Opener<E>,
  target: Place.Port
): Effect.Effect<Reached<MuxStream, WriteError>, Codes.Refusal, Scope.Scope> =>
  Effect.gen(function*() {
    const stream = yield* tunnel.open({ ...Labels.toTarget(Labels.located("tcp", target), true), early: true })
    const chunk = yield* stream.read // the confirmation, and what the target has said already
    if (Option.isNone(chunk)) return yield* Effect.fail(unreachable)
    return { other: stream, write: stream.write, first: chunk.value.subarray(1) }
  }).pipe(
    Effect.catchAllCause((cause) => Effect.fail(Option.getOrElse(Codes.refusalOf(cause), () => unreachable)))
  )

const refusal = (code: Codes.Code): Codes.Refusal => ({ code, reason: Codes.resetOf(code).reason ?? "" })

const unreachable = refusal(Codes.Code.Unreachable)

/** Serves a stream as a proxy whose targets this machine reaches. Fails when there is no target. */
export const fromHere = (stream: MuxStream, keepAlive: Duration.Duration) =>
  Effect.gen(function*() {
    const socket = yield* negotiate(stream, ({ host, port }) =>
      NodeDuplex.toByteStream(() =>
        Tcp.dial({ host, port }, keepAlive)
      ).pipe(
        Effect.map((other) => ({ other, write: other.write, first: nothing })),
        Effect.mapError(({ cause }) => refusal(Codes.codeOf(cause)))
      ))
    yield* ByteStream.join(stream, socket)
  }).pipe(Effect.scoped)
