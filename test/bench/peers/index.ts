import type { Peer } from "./peer.js"

/**
 * The peers in the order of the report. A process loads the measured peer alone, since loaded code adds to collections.
 */
export const peers: Readonly<Record<string, () => Promise<Peer>>> = {
  ours: async () => (await import("./ours.js")).ours,
  "ours-plain": async () => (await import("./ours.js")).plain,
  "ours-whole": async () => (await import("./ours.js")).whole,
  "ours-early": async () => (await import("./ours.js")).early,
  "ours-floor": async () => (await import("./ours.js")).floor,
  "ours-resume": async () => (await import("./ours.js")).resuming,
  "ours-off": async () => (await import("./ours.js")).withoutDialect,
  "ours-duplex": async () => (await import("./adapters.js")).duplex,
  "ours-web-streams": async () => (await import("./adapters.js")).webStreams,
  "ours-socket": async () => (await import("./adapters.js")).socket,
  ws: async () => (await import("./ws.js")).ws,
  "ws-effect": async () => (await import("./wsEffect.js")).wsEffect,
  "ws-window": async () => (await import("./wsWindow.js")).windowed,
  "ws-stream": async () => (await import("./wsWindow.js")).streamed,
  "ws-window-stream": async () => (await import("./wsWindow.js")).both,
  "http2": async () => (await import("./http2.js")).plain,
  "http2-coalesced": async () => (await import("./http2.js")).coalesced,
  yamux: async () => (await import("./yamux.js")).yamux,
  bpmux: async () => (await import("./bpmux.js")).bpmux
}

/** The peers without streams, an upper bound for a multiplexer. */
export const bare: ReadonlyArray<string> = ["ws", "ws-effect", "ws-window", "ws-stream", "ws-window-stream"]
