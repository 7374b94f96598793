/**
 * The import rules of `src` (see `src/README.md`): imports point down the list of rooms, and the only circle is a
 * public file with its internal twin.
 */
const room = (...names) => `^src/internal/(${names.join("|")})(/|\\.ts$)`
const publicFiles = (...names) => `^src/(${names.join("|")})\\.ts$`

/** The files that every room may import: plain data, settings and errors. */
const contracts = [
  publicFiles(
    "Address",
    "Origin",
    "SessionConfig",
    "SessionMetrics",
    "SessionOptions",
    "SessionSnapshot",
    "SharedLimits",
    "TerminalError",
    "Transport",
    "TransportServer",
    "WsmuxError"
  ),
  room("settings")
].join("|")
/** Public files that define a session and its streams. */
const core = publicFiles("MuxStream", "Session", "SessionServer")
const nodeTransports = publicFiles("NodeTransport", "NodeTransportServer")

/** A file below `from` imports nothing of `src` but `allowed`. */
const only = (name, from, ...allowed) => ({
  name,
  severity: "error",
  from: { path: from },
  to: { path: "^src/", pathNot: allowed.join("|") }
})

/**
 * The public files whose types their internal twin needs, as in Effect itself: the public file re-exports the values of
 * its twin, and the twin imports the types of the public file.
 */
const twins = {
  ByteStream: "internal/adapter/buffered",
  MemoryTransport: "internal/transport/memoryServer",
  MuxStream: "internal/session/handle",
  NodeDuplex: "internal/adapter/duplex",
  NodeTransportServer: "internal/transport/node/server",
  RelayServer: "relay/server",
  ReconnectingSession: "internal/reconnecting/make",
  ResumableTransport: "internal/resume/dial",
  Session: "internal/session/make",
  SessionConfig: "internal/settings/validate",
  WsmuxError: "internal/text/errorText"
}

/** @type {import("dependency-cruiser").IConfiguration} */
module.exports = {
  forbidden: [
    {
      name: "no-cycle-of-values",
      severity: "error",
      from: {},
      to: { circular: true, viaOnly: { dependencyTypesNot: ["type-only"] } }
    },
    {
      name: "no-cycle-but-twins",
      severity: "error",
      from: { pathNot: Object.entries(twins).flat().map((file) => `^src/${file}\\.ts$`).join("|") },
      to: { circular: true }
    },
    ...Object.entries(twins).map(([outside, inside]) => ({
      name: `${outside}-has-one-twin`,
      severity: "error",
      from: { path: `^src/${inside}\\.ts$` },
      to: { circular: true, via: { path: "^src/", pathNot: `^src/(${outside}|${inside})\\.ts$` } }
    })),
    only("wire-imports-nothing-else", room("wire"), room("wire")),
    only("sync-imports-nothing-else", room("sync"), room("sync")),
    only("tcp-imports-nothing-else", room("tcp"), room("tcp")),
    only("text-imports-errors-only", room("text"), room("text"), publicFiles("WsmuxError")),
    only("budget-imports-contracts-only", room("budget"), room("budget"), contracts),
    only("contracts-import-leaves-only", contracts, contracts, room("budget", "text", "wire")),
    only("recv-imports-what-lies-below", room("recv"), room("recv", "budget", "sync", "time", "wire"), contracts),
    only("observe-imports-what-lies-below", room("observe"), room("observe", "text", "wire"), contracts),
    only(
      "send-imports-what-lies-below",
      room("send"),
      room("send", "budget", "observe", "sync", "time", "wire"),
      contracts
    ),
    only("time-imports-what-lies-below", room("time"), room("time", "sync"), contracts),
    only(
      "session-imports-what-lies-below",
      room("session"),
      room("session", "budget", "observe", "recv", "send", "sync", "text", "time", "wire"),
      contracts,
      core
    ),
    only("the-core-imports-the-session", core, core, contracts, room("session", "wire"), publicFiles("ResumeServer")),
    only(
      "resumption-lies-above-the-transports",
      room("resume"),
      room("resume", "sync", "wire"),
      "^src/internal/transport/[^/]+$",
      "^src/internal/reconnecting/policy\\.ts$",
      contracts,
      publicFiles("ResumableTransport")
    ),
    only(
      "the-ends-of-resumption",
      publicFiles("ResumableTransport", "ResumeServer"),
      room("resume"),
      contracts
    ),
    only(
      "portable-transports-import-the-seam-only",
      `^src/internal/transport/[^/]+$`,
      `^src/internal/transport/[^/]+$`,
      room("budget", "sync", "text"),
      contracts,
      publicFiles("MemoryTransport")
    ),
    only(
      "node-transports-import-the-seam-only",
      "^src/internal/transport/node/",
      room("transport", "budget", "sync", "tcp", "text"),
      contracts,
      nodeTransports
    ),
    only("node-entry-points", nodeTransports, nodeTransports, room("transport", "sync"), contracts),
    only("portable-entry-points", publicFiles("WebSocketTransport"), "^src/internal/transport/[^/]+$", contracts),
    only(
      "a-memory-link-joins-sessions",
      publicFiles("MemoryTransport"),
      "^src/internal/transport/[^/]+$",
      "^src/internal/time/clock\\.ts$",
      contracts,
      core
    ),
    only(
      "adapters-use-the-public-api",
      room("adapter"),
      room("adapter", "sync", "tcp", "text"),
      "^src/internal/session/(callbacks|exchange|progress)\\.ts$",
      contracts,
      core,
      publicFiles("ByteStream", "MuxHttp", "MuxRpc", "MuxSocket", "NodeDuplex", "WebStreams")
    ),
    only(
      "the-tunnel-joins-with-adapters",
      room("tunnel"),
      room("tunnel", "adapter", "sync", "text"),
      "^src/internal/session/(callbacks|exchange|sessionCallbacks)\\.ts$",
      contracts,
      core
    ),
    {
      name: "nothing-below-imports-adapters-or-the-command-line",
      severity: "error",
      from: { path: "^src/internal/", pathNot: room("adapter", "tunnel") },
      to: { path: `${room("adapter")}|^src/cli/` }
    },
    {
      name: "portable-code-imports-no-node",
      severity: "error",
      from: { path: room("budget", "observe", "recv", "send", "session", "sync", "text", "time", "wire") },
      to: { path: "^(node:|ws$|node_modules/ws/)", dependencyTypes: ["core", "npm"] }
    },
    {
      name: "the-optional-rpc-is-imported-by-its-adapter-only",
      severity: "error",
      from: { pathNot: `${publicFiles("MuxRpc")}|^src/internal/adapter/rpc/` },
      to: { path: "(^|/)node_modules/@effect/rpc/|^@effect/rpc/" }
    },
    only(
      "the-relay-uses-the-public-api",
      "^src/relay/",
      "^src/relay/",
      "^src/[^/]+$",
      room("adapter", "settings", "text"),
      "^src/internal/budget/tokenBucket\\.ts$",
      "^src/internal/tcp/tcpEnds\\.ts$",
      "^src/internal/transport/node/listen\\.ts$"
    ),
    {
      name: "the-relay-is-used-by-its-public-face-only",
      severity: "error",
      from: {
        path: "^src/",
        pathNot: `^src/(relay|cli)/|${publicFiles("RelayServer", "RelayDirectory", "RelayRedis")}`
      },
      to: { path: "^src/relay/" }
    },
    only("the-command-line-uses-the-public-api", "^src/cli/", "^src/cli/", "^src/[^/]+$", room("text"))
  ],
  options: {
    doNotFollow: { path: "node_modules" },
    tsConfig: { fileName: "tsconfig.json" },
    tsPreCompilationDeps: true,
    enhancedResolveOptions: { exportsFields: ["exports"], conditionNames: ["import", "types"] }
  }
}
