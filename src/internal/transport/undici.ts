/**
 * The TCP socket below the WebSocket of Node, which is undici's. Its `close` waits for the peer without a limit of time, and the
 * standard knows no other way, so that a peer that does not answer would hold the process. Only undici's diagnostics channels
 * tell of the socket (`undici:client:connected` and `undici:websocket:open` in its documentation).
 */
export interface TcpSocket {
  readonly localAddress?: string
  readonly localPort?: number
  readonly destroy: () => void
}

type Listener = (message: unknown) => void

interface Channels {
  readonly subscribe: (name: string, listener: Listener) => void
  readonly unsubscribe: (name: string, listener: Listener) => void
}

interface Platform {
  readonly versions?: Readonly<Record<string, string | undefined>>
  readonly getBuiltinModule?: (name: string) => unknown
}

const platform = (): Platform | undefined => (globalThis as { readonly process?: Platform }).process

/** Whether this is Node, whose standard WebSocket has the limits of undici. */
export const isNode = (): boolean => {
  const { bun, deno, node } = platform()?.versions ?? {}
  return node !== undefined && bun === undefined && deno === undefined
}

/** The watch for the TCP socket of a WebSocket. */
export interface TcpWatch {
  readonly socket: () => TcpSocket | undefined
  /** Ends the watch, and forgets no socket that was found. To be called: Node 22 fires no `close` at a refused handshake. */
  readonly stop: () => void
}

/**
 * Watches for the TCP socket of a WebSocket that is connecting, up to when that is open. There is none elsewhere, for a
 * WebSocket that was open before, and for a connection that undici had already, for a `fetch` from the same host.
 */
export const watchTcp = (ws: globalThis.WebSocket): TcpWatch => {
  const channels = isNode() ? platform()?.getBuiltinModule?.("node:diagnostics_channel") as Channels : undefined
  if (channels === undefined || ws.readyState !== 0) return { socket: () => undefined, stop: () => {} }
  let tcp: TcpSocket | undefined
  const connected = new Set<TcpSocket>()
  const onConnected = (message: unknown) => void connected.add((message as { readonly socket: TcpSocket }).socket)
  const onOpen = (message: unknown) => {
    const { address, websocket } = message as { readonly address: Where; readonly websocket?: unknown }
    // Undici 6, that of Node 22, does not say whose it is, but says so in the step in which that one opens.
    if (websocket === undefined ? ws.readyState !== 1 : websocket !== ws) return
    tcp = [...connected].find((socket) => socket.localPort === address.port && socket.localAddress === address.address)
    stop()
  }
  const stop = () => {
    channels.unsubscribe("undici:client:connected", onConnected)
    channels.unsubscribe("undici:websocket:open", onOpen)
    connected.clear()
  }
  channels.subscribe("undici:client:connected", onConnected)
  channels.subscribe("undici:websocket:open", onOpen)
  return { socket: () => tcp, stop }
}

interface Where {
  readonly address: string
  readonly port: number
}

/** The largest message in bytes that undici lets in; it tells of a larger one as of a loss, by 1006 without a reason. */
export const maxUndiciMessage = 128 * 1024 * 1024
