/**
 * The portable part of effect-wsmux. Modules for Node are entry points of their own: `effect-wsmux/NodeTransport`,
 * `effect-wsmux/NodeTransportServer`, `effect-wsmux/SessionRoute`, `effect-wsmux/NodeDuplex`, and
 * `effect-wsmux/MuxHttp`. So is `effect-wsmux/MuxRpc`, which needs the package `@effect/rpc`.
 *
 * @since 0.1.0
 */
export * as Address from "./Address.js"
export * as ByteStream from "./ByteStream.js"
export * as MemoryTransport from "./MemoryTransport.js"
export * as MuxSocket from "./MuxSocket.js"
export * as MuxStream from "./MuxStream.js"
export * as Origin from "./Origin.js"
export * as ReconnectingSession from "./ReconnectingSession.js"
export * as ResumableTransport from "./ResumableTransport.js"
export * as ResumeServer from "./ResumeServer.js"
export * as Session from "./Session.js"
export * as SessionConfig from "./SessionConfig.js"
export * as SessionMetrics from "./SessionMetrics.js"
export * as SessionServer from "./SessionServer.js"
export * as SessionSnapshot from "./SessionSnapshot.js"
export * as SharedLimits from "./SharedLimits.js"
export * as StreamRouter from "./StreamRouter.js"
export * as Transport from "./Transport.js"
export * as TransportServer from "./TransportServer.js"
export * as WebSocketTransport from "./WebSocketTransport.js"
export * as WebStreams from "./WebStreams.js"
export * as WsmuxError from "./WsmuxError.js"
