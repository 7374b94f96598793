import * as RpcClient from "@effect/rpc/RpcClient"
import { RpcClientError } from "@effect/rpc/RpcClientError"
import type {
  FromServerEncoded,
  RequestEncoded,
  ResponseDefectEncoded,
  ResponseExitEncoded
} from "@effect/rpc/RpcMessage"
import type { Parser, RpcSerialization } from "@effect/rpc/RpcSerialization"
import * as Effect from "effect/Effect"
import * as Predicate from "effect/Predicate"
import type * as Scope from "effect/Scope"
import { buffered } from "../../../ByteStream.js"
import { type MuxStream, ResetCode } from "../../../MuxStream.js"
import { type Opener, withStream } from "../../../Session.js"
import type { ReadError, StreamReset, WriteError } from "../../../WsmuxError.js"
import { messageRecord, preambleOf, readRecord, toBytes } from "./records.js"

export interface ClientOptions {
  readonly label: string
  readonly maxMessageSize: number
  /** Make the causes of the failures of a call. */
  readonly tooLarge: (size: number) => Error
  readonly refused: (detail: string) => Error
}

type Send = (message: FromServerEncoded) => Effect.Effect<void>

/**
 * Makes a protocol whose `send` runs a whole call, as the protocol over HTTP does. So a failure concerns its call
 * alone, and an interrupted call leaves its stream: `RpcClient` interrupts the fiber of `send`.
 */
export const makeClient = (
  opener: Opener<unknown>,
  serialization: RpcSerialization["Type"],
  { label, maxMessageSize, refused, tooLarge }: ClientOptions
): Effect.Effect<RpcClient.Protocol["Type"], never, Scope.Scope> =>
  RpcClient.Protocol.make((hand: Send) =>
    Effect.gen(function*() {
      const scope = yield* Effect.scope
      const preamble = preambleOf(label)

      /** Hands on the chunks of an answer. Completes with its exit. */
      const readAnswer = (stream: MuxStream, parser: Parser, { id: requestId }: RequestEncoded) =>
        Effect.gen(function*() {
          const answer = buffered(stream)
          for (;;) {
            const record = yield* readRecord(answer, maxMessageSize)
            if (record._tag === "TooLarge") return yield* Effect.fail(tooLarge(record.size))
            if (record._tag === "Refusal") return yield* Effect.fail(refused(record.detail))
            const messages = yield* Effect.try({ try: () => parser.decode(record.bytes), catch: malformed })
            for (const message of messages) {
              if (Predicate.isTagged(message, "Exit")) return { ...message, requestId } as ResponseExitEncoded
              if (Predicate.isTagged(message, "Defect")) {
                return died(requestId, (message as ResponseDefectEncoded).defect)
              }
              if (!Predicate.isTagged(message, "Chunk")) return yield* Effect.fail(malformed(undefined))
              yield* hand({ ...message, requestId } as FromServerEncoded)
            }
          }
        })

      const unanswered = (reason: string) =>
        refused(reason || `the server left the stream before it answered; does it serve the label "${label}"?`)

      const call = (request: RequestEncoded): Effect.Effect<ResponseExitEncoded, unknown> => {
        let isLabelled = false
        const attempt = Effect.suspend(() => {
          const parser = serialization.unsafeMake()
          const message = toBytes(parser.encode(request)!)
          if (message.byteLength > maxMessageSize) return Effect.fail(tooLarge(message.byteLength))
          // The server may refuse a large request before the request has been written.
          return withStream(
            opener,
            (stream): Effect.Effect<ResponseExitEncoded, unknown> => {
              isLabelled = stream.label === label
              const bytes = isLabelled ? messageRecord(message) : messageRecord(message, preamble)
              return Effect.raceFirst(
                readAnswer(stream, parser, request),
                Effect.zipRight(stream.write(bytes), Effect.never) as Effect.Effect<never, ReadError | WriteError>
              )
            },
            { label, labelFallback: true, early: true }
          )
        })
        return Effect.retry(attempt, { times: maxRepeats, while: (cause) => isUnheard(cause, isLabelled) })
      }

      /**
       * `RpcClient` keeps the entry of a call whose `send` has failed, until an exit arrives (version 0.76.2). This
       * exit comes behind the failure, so it only removes the entry.
       */
      const forget = (requestId: string) =>
        Effect.forkIn(
          Effect.zipRight(Effect.yieldNow({ priority: 1 }), hand(died(requestId, "the call has failed"))),
          scope
        )

      return {
        send: (request) =>
          request._tag !== "Request"
            ? Effect.void // the call has left its stream, and chunks are acknowledged by their credit
            : call(request).pipe(
              Effect.mapError((cause) => {
                if (isResetByPeer(cause)) return failed(request, unanswered(cause.reason))
                return failed(request, Predicate.isTagged(cause, "UnexpectedEnd") ? unanswered("") : cause)
              }),
              Effect.tapError(() => forget(request.id)),
              // The stream has been left by success, before `RpcClient` interrupts this fiber.
              Effect.flatMap(hand)
            ),
        supportsAck: false,
        supportsTransferables: false
      }
    })
  )

const failed = ({ tag }: RequestEncoded, cause: unknown): RpcClientError =>
  new RpcClientError({
    reason: "Protocol",
    message: `cannot call ${tag}: ${
      Predicate.hasProperty(cause, "message") ? String(cause.message) : "unknown failure"
    }`,
    cause
  })

/** The server refused the stream, or its handler failed. */
const isResetByPeer = (cause: unknown): cause is StreamReset =>
  Predicate.isTagged(cause, "StreamReset") && (cause as StreamReset).by === "peer"

/**
 * Whether no handler has the call, so that it can be made again. The open crossed the server's GOAWAY, and a
 * `ReconnectingSession` has the next session. Or the call left without its label before the server had said that it
 * speaks the dialect, which the refusal has told by now.
 */
const isUnheard = (cause: unknown, isLabelled: boolean): boolean =>
  isResetByPeer(cause) && (cause.code === ResetCode.Draining || (cause.code === ResetCode.NoHandler && !isLabelled))

/** A restart may refuse a call for each of the two reasons. The others are for servers that restart at once again. */
const maxRepeats = 5

const malformed = (cause: unknown): Error => new Error("the answer is malformed", { cause })

const died = (requestId: string, defect: unknown): ResponseExitEncoded => ({
  _tag: "Exit",
  requestId,
  exit: { _tag: "Failure", cause: { _tag: "Die", defect } }
})
