/**
 * The facts about the package `ws` that no interface of the package tells. Every use of them stands in this file, and each has
 * a way without, should a later version differ.
 */
import type * as Net from "node:net"
import type * as Stream from "node:stream"
import type { WebSocket } from "ws"

/** The TCP socket of an established WebSocket. */
export const tcpOf = (ws: WebSocket): Net.Socket | undefined =>
  (ws as unknown as { readonly _socket?: Net.Socket | null })._socket ?? undefined

/** Whether the WebSocket was accepted, so that its peer is the one that masks. A dialled one alone has a URL. */
export const isAccepted = (ws: WebSocket): boolean =>
  (ws as unknown as { readonly _isServer?: boolean })._isServer ?? typeof ws.url !== "string"

/** The WebSocket that a TCP socket has been upgraded to; the package notes it there. */
export const upgradedTo = (socket: object): unknown => {
  const note = Object.getOwnPropertySymbols(socket).find(({ description }) => description === "websocket")
  return note && (socket as Record<symbol, unknown>)[note]
}

/** The parser, with the fields in which the package keeps its state. */
export interface Parser extends Stream.Writable {
  _maxPayload?: number
  _maxFragments?: number
  readonly _allowSynchronousEvents?: boolean
  readonly _state?: number
  readonly _bufferedBytes?: number
  readonly _payloadLength?: number
  readonly _totalPayloadLength?: number
  readonly _fragmented?: number
}

/** The parser of an established WebSocket. */
export const parserOf = (ws: WebSocket): Parser | undefined =>
  (ws as unknown as { readonly _receiver?: Parser | null })._receiver ?? undefined

/**
 * Whether the parser can be replaced: the package works as known here, no other transport has replaced the parser, and the
 * parser tells of a message in the step in which the message ends. A parser made with `allowSynchronousEvents: false` tells
 * of it in a later turn, and fails when another reader has emitted messages meanwhile.
 */
export const isReplaceable = (parser: Parser): boolean =>
  parser._allowSynchronousEvents === true && !Object.hasOwn(parser, "write") &&
  [parser._state, parser._bufferedBytes, parser._payloadLength, parser._fragmented].every(Number.isInteger)

/**
 * Lowers the limits of a parser that may have been made with others. False when the message that has begun is beyond them
 * already, since the parser looks at a header only once.
 */
export const restrain = (parser: Parser, maxPayload: number, maxFragments: number): boolean => {
  parser._maxPayload = Math.min(parser._maxPayload || Infinity, maxPayload)
  parser._maxFragments = Math.min(parser._maxFragments || Infinity, maxFragments)
  return (parser._totalPayloadLength ?? 0) <= parser._maxPayload
}

/**
 * Keeps a parser from emitting `drain`: the package would let the socket read again, although the reader before the parser has
 * stopped it.
 */
export const neverDrains = (parser: Parser): void => {
  const state = (parser as unknown as { readonly _writableState?: { highWaterMark: number } })._writableState
  if (state !== undefined) state.highWaterMark = Infinity
}

/** The states of the parser in which it waits for bytes. */
const [inHeader, inLength16, inLength64, inMask] = [0, 1, 2, 3]

/**
 * How many bytes the parser needs for its next step, or 0 between two messages, with nothing kept. Fed by such portions, it
 * comes to rest at the end of the message that it has begun.
 */
export const neededBytes = (parser: Parser): number => {
  const kept = parser._bufferedBytes ?? 0
  switch (parser._state) {
    case inHeader:
      return kept === 0 && parser._fragmented === 0 ? 0 : 2 - kept
    case inLength16:
      return 2 - kept
    case inLength64:
      return 8 - kept
    case inMask:
      return 4 - kept
    default:
      return Math.max(1, (parser._payloadLength ?? 0) - kept)
  }
}
