/**
 * The private parts of the package `ws` that the fast path uses. Where a later version lacks one, the slow path takes
 * over. `test/package/ws.test.ts` names the versions that the suites have run with.
 */
import type * as Net from "node:net"
import type * as Stream from "node:stream"
import type { WebSocket } from "ws"

/** Returns the TCP socket of an established WebSocket. */
export const tcpOf = (ws: WebSocket): Net.Socket | undefined =>
  (ws as unknown as { readonly _socket?: Net.Socket | null })._socket ?? undefined

/** Returns the WebSocket that `ws` noted at the TCP socket of an upgraded request. */
export const upgradedTo = (socket: object): unknown => {
  const note = Object.getOwnPropertySymbols(socket).find(({ description }) => description === "websocket")
  return note && (socket as Record<symbol, unknown>)[note]
}

/** The parser of `ws`, with the fields of its state. */
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

/** Returns the parser of an established WebSocket. */
export const parserOf = (ws: WebSocket): Parser | undefined =>
  (ws as unknown as { readonly _receiver?: Parser | null })._receiver ?? undefined

/**
 * Whether a frame reader can stand before the parser: the fields of its state are there, no other copy of this
 * package has replaced `write`, and the parser emits events synchronously. A parser made with
 * `allowSynchronousEvents: false` emits them in later turns, out of order with messages that the frame reader
 * delivers.
 */
export const isReplaceable = (parser: Parser): boolean =>
  parser._allowSynchronousEvents === true && !Object.hasOwn(parser, "write") &&
  [parser._state, parser._bufferedBytes, parser._payloadLength, parser._fragmented].every(Number.isInteger)

/**
 * Lowers the limits of a parser that was made with higher ones. Returns false when the message under way is above the
 * limit: the parser has checked its header already.
 */
export const restrain = (parser: Parser, maxPayload: number, maxFragments: number): boolean => {
  parser._maxPayload = Math.min(parser._maxPayload || Infinity, maxPayload)
  parser._maxFragments = Math.min(parser._maxFragments || Infinity, maxFragments)
  return (parser._totalPayloadLength ?? 0) <= parser._maxPayload
}

/**
 * Answers pings by `answer` where `ws` would. A pong of `ws` is a write of its own, which wakes the peer alone. `ws`
 * still counts the pongs that have not left, and ends the connection at 60 of them.
 */
export const answerPings = (ws: WebSocket, answer: (payload: Buffer, left: () => void) => void): void => {
  const pong = ws.pong
  const answers = (data?: unknown, mask?: boolean, left?: (error?: Error) => void): void => {
    if (Buffer.isBuffer(data) && data.byteLength <= 125 && left !== undefined && ws.readyState === 1) answer(data, left)
    else pong.call(ws, data, mask, left)
  }
  Object.assign(ws, { pong: answers })
}

/**
 * Keeps a parser from emitting `drain`, at which `ws` would resume a socket that the reader before the parser has
 * paused.
 */
export const neverDrains = (parser: Parser): void => {
  const state = (parser as unknown as { readonly _writableState?: { highWaterMark: number } })._writableState
  if (state !== undefined) state.highWaterMark = Infinity
}

/** The states in which the parser waits for bytes. */
const [inHeader, inLength16, inLength64, inMask] = [0, 1, 2, 3]

/**
 * Returns how many bytes the parser needs for its next step; 0 between two messages, when the parser holds no byte. A
 * parser that gets such portions stops at the end of its message.
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
