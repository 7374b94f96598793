/**
 * The members of a `ws` WebSocket that a standard WebSocket lacks.
 *
 * Portable code recognises them by their presence, so that a page loads nothing of `ws`. A session over such a
 * WebSocket has its keep-alive, and can terminate the connection.
 */
export interface WebSocketExtras {
  readonly ping: (payload: string, mask: undefined, done: () => void) => void
  readonly pong: (payload: string, mask: undefined, done: () => void) => void
  readonly terminate: () => void
  readonly on: (event: "ping" | "pong", listener: (payload: { readonly toString: () => string }) => void) => unknown
  /** The TCP socket of an open WebSocket: a private field of `ws`, so that every reader needs a default. */
  readonly _socket?: Tcp | null
}

interface Tcp {
  readonly bytesRead?: number
  readonly localAddress?: string
  readonly localPort?: number
  readonly remoteAddress?: string
  readonly remotePort?: number
}

/** Returns the WebSocket with its extra members; undefined for a standard WebSocket. */
export const extrasOf = (ws: unknown): WebSocketExtras | undefined =>
  ["on", "ping", "pong", "terminate"].every((name) =>
      typeof (ws as Record<string, unknown> | undefined)?.[name] === "function"
    )
    ? ws as WebSocketExtras
    : undefined
