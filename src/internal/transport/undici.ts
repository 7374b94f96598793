/**
 * The TCP socket below Node's WebSocket, which is undici's. The `close` of that WebSocket waits for the peer without
 * a time limit, and the standard has no other way to end it, so a silent peer would hold the process. Only the
 * diagnostics channels `undici:client:connected` and `undici:websocket:open`, which undici documents, show the
 * socket.
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

/** A subscription that finds the TCP socket of a WebSocket. */
export interface TcpWatch {
  readonly socket: () => TcpSocket | undefined
  /**
   * Ends the subscription, and keeps a socket that was found. The owner calls it: Node 22 emits no `close` at a
   * refused handshake.
   */
  readonly stop: () => void
}

/**
 * Watches for the TCP socket of a connecting WebSocket until that is open. Finds none outside of Node, for a
 * WebSocket that was open already, and for a connection that undici had made before for a `fetch`.
 */
export const watchTcp = (ws: globalThis.WebSocket): TcpWatch => {
  const channels = isNode() ? platform()?.getBuiltinModule?.("node:diagnostics_channel") as Channels : undefined
  if (channels === undefined || ws.readyState !== 0) return { socket: () => undefined, stop: () => {} }
  let tcp: TcpSocket | undefined
  const connected = new Set<TcpSocket>()
  const onConnected = (message: unknown) => void connected.add((message as { readonly socket: TcpSocket }).socket)
  const take = (address: Where) => {
    tcp = [...connected].find((socket) => socket.localPort === address.port && socket.localAddress === address.address)
    stop()
  }
  let unnamed: Where | undefined
  const onOpen = (message: unknown) => {
    const { address, websocket } = message as { readonly address: Where; readonly websocket?: unknown }
    if (websocket === ws) return take(address)
    if (websocket !== undefined) return
    // Undici 6 (Node 22) does not name the WebSocket. Its `open` event follows in the same step.
    unnamed = address
    queueMicrotask(() => {
      unnamed = undefined
    })
  }
  ws.addEventListener("open", () => {
    if (unnamed !== undefined) take(unnamed)
  }, { once: true })
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

/** The largest message in bytes that undici lets in. A larger one ends the connection with 1006 and no reason. */
export const maxUndiciMessage = 128 * 1024 * 1024
