import {
  type FromClientEncoded,
  type FromServerEncoded,
  type RequestEncoded,
  ResponseDefectEncoded
} from "@effect/rpc/RpcMessage"
import type { Parser, RpcSerialization } from "@effect/rpc/RpcSerialization"
import type * as RpcServer from "@effect/rpc/RpcServer"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import * as Mailbox from "effect/Mailbox"
import * as Predicate from "effect/Predicate"
import type * as Scope from "effect/Scope"
import { type Buffered, buffered, type UnexpectedEnd, writeEnd } from "../../../ByteStream.js"
import type { MuxStream } from "../../../MuxStream.js"
import type { ReadError, WriteError } from "../../../WsmuxError.js"
import { interruptSoon } from "../../sync/unowned.js"
import { messageRecord, preambleOf, readRecord, refusalRecord, takePrefix, toBytes } from "./records.js"
import { UnreadBudget } from "./unread.js"

export interface ServerOptions<E> {
  readonly label: string
  readonly maxMessageSize: number
  readonly maxUnreadSize: number
  /** Makes the failure of a stream whose call is refused. */
  readonly refused: (detail: string) => E
}

export interface HandleOptions<E, R> {
  /** Headers that come before those of the call. */
  readonly headers?: ReadonlyArray<[string, string]> | undefined
  /** Serves a stream that does not begin with the preamble. */
  readonly otherwise: (stream: Streaming) => Effect.Effect<unknown, E, R>
}

export interface Server<E> {
  readonly protocol: RpcServer.Protocol["Type"]
  readonly handle: <E2, R>(
    stream: MuxStream,
    options: HandleOptions<E2, R>
  ) => Effect.Effect<void, E | E2 | ReadError | WriteError | UnexpectedEnd, R>
}

type Streaming = Buffered<ReadError, WriteError>

/** A call, from its request to the end of its handler. */
interface Call {
  readonly id: number
  readonly requestId: string
  readonly stream: MuxStream
  readonly parser: Parser
  /** The fiber that reads the stream and owns it. */
  readonly reader: Fiber.RuntimeFiber<unknown, unknown>
  /** Open when the handler has ended and its answer is written. */
  readonly answered: Effect.Latch
  /** Whether the handler has ended. */
  hasEnded: boolean
  /** Whether the write of a message was interrupted or has failed, so that no message can follow. */
  isTorn: boolean
}

/**
 * Makes a protocol in which each stream is a client of its own with one call. So what `RpcServer` tells a client
 * concerns that call alone.
 */
export const makeServer = <E>(
  serialization: RpcSerialization["Type"],
  { label, maxMessageSize, maxUnreadSize, refused }: ServerOptions<E>
): Effect.Effect<Server<E>, never, Scope.Scope> =>
  Effect.gen(function*() {
    const scope = yield* Effect.scope
    const disconnects = yield* Mailbox.make<number>()
    const preamble = preambleOf(label)
    const budget = new UnreadBudget(maxUnreadSize)
    const calls = new Map<number, Call>()
    const clientIds = new Set<number>()
    /** Open while an `RpcServer` runs. Until then, requests stay in the windows of their streams. */
    const running = Effect.unsafeMakeLatch(false)
    let receive: (clientId: number, message: FromClientEncoded) => Effect.Effect<void> = () => Effect.void
    let nextId = 0

    const refuse = (stream: MuxStream, detail: string) =>
      Effect.zipRight(writeEnd(stream, refusalRecord(detail)), Effect.fail(refused(detail)))

    /**
     * Writes what `RpcServer` answers. A write that fails interrupts the handler: a client that reads no more need not
     * end its half, so the reader may never hear of that.
     */
    const send = (call: Call, response: FromServerEncoded): Effect.Effect<void> => {
      if (call.hasEnded) return Effect.void
      const isLast = response._tag === "Exit" || response._tag === "Defect"
      const encoded = call.parser.encode(response) // throws a defect that `RpcServer` answers by another exit
      if (encoded === undefined) return Effect.void
      const message = toBytes(encoded)
      if (message.byteLength > maxMessageSize) {
        const detail = `a message of the answer has ${message.byteLength} bytes, more than ${maxMessageSize}`
        const ending = finish(call, refusalRecord(detail))
        return isLast ? ending : Effect.zipRight(ending, Effect.die(refused(detail))) // interrupts the handler
      }
      const record = messageRecord(message)
      if (isLast) return finish(call, record)
      return Effect.catchAll(
        Effect.onExit(call.stream.write(record), (exit) =>
          Effect.sync(() => {
            if (Exit.isFailure(exit)) call.isTorn = true
          })),
        () => Effect.zipRight(Effect.forkIn(interrupt(call), scope), Effect.never)
      )
    }

    const interrupt = ({ id, requestId }: Call) => receiveFrom(id, { _tag: "Interrupt", requestId })

    /** Ends the answer. Behind a torn message nothing can follow, so the reader leaves the stream by interruption. */
    const finish = (call: Call, record: Uint8Array): Effect.Effect<void> =>
      Effect.suspend(() => {
        call.hasEnded = true
        const ending = call.isTorn
          ? Effect.sync(() => interruptSoon(call.reader))
          : Effect.ignore(writeEnd(call.stream, record))
        return Effect.ensuring(ending, call.answered.open)
      })

    const receiveFrom = (id: number, message: FromClientEncoded) => Effect.suspend(() => receive(id, message))

    /** Reads the request, and bounds the bytes that wait for the rest of it. */
    const readRequest = <R>(stream: MuxStream, metered: Pick<Buffered<R>, "readExactly">, parser: Parser) =>
      Effect.gen(function*() {
        const record = yield* readRecord(metered, maxMessageSize)
        if (record._tag === "TooLarge") {
          return yield* refuse(stream, `the request has ${record.size} bytes, more than ${maxMessageSize}`)
        }
        const messages = yield* Effect.try({
          try: () => record._tag === "Message" ? parser.decode(record.bytes) : [],
          catch: (cause) => cause
        }).pipe(Effect.catchAll((cause) => {
          const defect = messageRecord(toBytes(parser.encode(ResponseDefectEncoded(cause))!))
          return Effect.zipRight(writeEnd(stream, defect), Effect.fail(refused("the request is malformed")))
        }))
        const [request] = messages
        return messages.length === 1 && isRequest(request)
          ? request
          : yield* refuse(stream, "a call begins with one request")
      })

    const serve = (stream: MuxStream, unmetered: Streaming, headers: ReadonlyArray<[string, string]>) =>
      Effect.withFiberRuntime<void, E | ReadError | WriteError | UnexpectedEnd>((reader) => {
        const id = nextId++
        const share = budget.share()
        const metered = buffered({
          read: Effect.tap(unmetered.read, (chunk) =>
            chunk._tag === "None" || share.receive(chunk.value.byteLength)
              ? Effect.void
              : refuse(stream, "too many requests are incomplete")),
          write: stream.write,
          end: stream.end
        })
        return Effect.gen(function*() {
          const parser = serialization.unsafeMake()
          const request = yield* readRequest(stream, metered, parser)
          share.release()
          const answered = Effect.unsafeMakeLatch(false)
          const call: Call = {
            id,
            requestId: request.id,
            stream,
            parser,
            reader,
            answered,
            hasEnded: false,
            isTorn: false
          }
          calls.set(id, call)
          clientIds.add(id)
          const message = { ...request, headers: [...headers, ...request.headers] }
          yield* Effect.catchAllDefect(receiveFrom(id, message), (defect) => send(call, ResponseDefectEncoded(defect)))
          const more = yield* Effect.catchTag(metered.read, "StreamReset", () => Effect.succeedNone)
          if (call.hasEnded) return
          if (more._tag === "Some") return yield* refuse(stream, "a call has one request")
          // The client has left. Its place is free again when the handler has ended.
          yield* interrupt(call)
          yield* answered.await
        }).pipe(
          Effect.ensuring(Effect.sync(() => {
            share.release()
            if (!calls.delete(id)) return
            clientIds.delete(id)
            disconnects.unsafeOffer(id)
          }))
        )
      })

    return {
      protocol: {
        run: (f) =>
          Effect.zipRight(
            Effect.suspend(() => {
              receive = f
              return running.open
            }),
            Effect.never
          ).pipe(
            // A stopping `RpcServer` waits for its answers, and a client that reads nothing would hold it up.
            Effect.onExit(() =>
              Effect.zipRight(
                running.close,
                Effect.sync(() => {
                  for (const { reader } of calls.values()) interruptSoon(reader)
                }).pipe(
                  Effect.delay(stopTimeout),
                  Effect.interruptible,
                  Effect.forkIn(scope)
                )
              )
            )
          ),
        disconnects,
        send: (clientId, response) => {
          const call = calls.get(clientId)
          return call === undefined ? Effect.void : send(call, response)
        },
        end: () => Effect.void, // each call ends its stream with its last message
        clientIds: Effect.sync(() => clientIds),
        initialMessage: Effect.succeedNone,
        supportsAck: false, // the windows of the streams hold producers back
        supportsTransferables: false,
        supportsSpanPropagation: true
      },
      handle: (stream, { headers = [], otherwise }) =>
        Effect.gen(function*() {
          const begun = buffered(stream)
          const isCall = stream.label === "" ? yield* takePrefix(begun, preamble) : stream.label === label
          if (!isCall) return void (yield* otherwise(begun))
          yield* running.await
          yield* serve(stream, begun, headers)
        })
    }
  })

/** Whether a value has the shape of a request. `RpcServer` checks the rest of it. */
const isRequest = (u: unknown): u is RequestEncoded =>
  Predicate.isTagged(u, "Request") && Predicate.hasProperty(u, "id") && Predicate.hasProperty(u, "headers") &&
  Array.isArray(u.headers)

/** How long the calls of a server that stops have for their answers, as `flushTimeout` of a session. */
const stopTimeout = "1 second"
