import { bpmux } from "./bpmux.js"
import { coalesced, plain } from "./http2.js"
import { ours } from "./ours.js"
import type { Peer } from "./peer.js"
import { ws } from "./ws.js"
import { yamux } from "./yamux.js"

/** In the order of the report. */
export const peers: Readonly<Record<string, Peer>> = {
  ours,
  ws,
  "http2": plain,
  "http2-coalesced": coalesced,
  yamux,
  bpmux
}
