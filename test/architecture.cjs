/** The floors of the house (see README, "Architecture"): imports point downwards only, and never in a circle. */
const leaves =
  "^src/(Frame|WsmuxError|Address|Origin)\\.ts$|^src/internal/(sendWindow|receiveWindow|halfClose|streamIds|byteQueue|flight|windowTuner|plainText|errorText|sharedBudget)\\.ts$"
const seam = "^src/(Transport|TransportServer|SessionConfig|SharedLimits)\\.ts$"
const transports = "^src/(MemoryTransport|WebSocketTransport|NodeTransport|NodeTransportServer)\\.ts$"
const adapters =
  "^src/(ByteStream|MuxHttp|MuxSocket|NodeDuplex|ReconnectingSession|WebStreams)\\.ts$|^src/internal/adapter/"
/** A leaf for every floor: what a peer says goes through it wherever it is shown. */
const plainText = "^src/internal/plainText\\.ts$"
const core = "^src/(Session|MuxStream|SessionServer)\\.ts$|^src/internal/"

/** @type {import("dependency-cruiser").IConfiguration} */
module.exports = {
  forbidden: [
    {
      name: "no-cycles",
      severity: "error",
      from: {},
      to: { circular: true, viaOnly: { dependencyTypesNot: ["type-only"] } }
    },
    {
      name: "leaves-know-nothing",
      severity: "error",
      from: { path: leaves },
      to: { path: "^src/", pathNot: leaves }
    },
    {
      name: "the-seam-knows-no-frames",
      severity: "error",
      from: { path: seam },
      to: {
        path: "^src/",
        pathNot: `${seam}|${plainText}|^src/(WsmuxError|Address|Origin)\\.ts$|^src/internal/sharedBudget\\.ts$`
      }
    },
    {
      name: "transports-know-the-seam-only",
      severity: "error",
      // MemoryTransport is for tests, and joins sessions, too.
      from: { path: transports, pathNot: "^src/MemoryTransport\\.ts$" },
      to: {
        path: "^src/",
        pathNot: `${transports}|${seam}|${plainText}|^src/(WsmuxError|Address|Origin)\\.ts$|^src/internal/transport/`
      }
    },
    {
      name: "a-memory-link-knows-sessions-besides",
      severity: "error",
      from: { path: "^src/MemoryTransport\\.ts$" },
      to: {
        path: "^src/",
        pathNot: `${seam}|^src/(Session|WsmuxError|Address)\\.ts$|^src/internal/transport/`
      }
    },
    {
      name: "the-core-knows-no-transport",
      severity: "error",
      from: { path: core, pathNot: "^src/internal/(transport|adapter)/" },
      to: { path: `${transports}|${adapters}|^src/cli/` }
    },
    {
      name: "adapters-use-the-public-api",
      severity: "error",
      from: { path: adapters },
      to: { path: `^src/internal/|${transports}`, pathNot: `^src/internal/adapter/|${plainText}` }
    },
    {
      name: "a-route-uses-the-public-api",
      severity: "error",
      from: { path: "^src/SessionRoute\\.ts$" },
      to: { path: "^src/internal/", pathNot: `^src/internal/adapter/|${plainText}` }
    },
    {
      name: "the-command-line-uses-the-public-api",
      severity: "error",
      from: { path: "^src/cli/" },
      to: { path: "^src/internal/", pathNot: plainText }
    }
  ],
  options: {
    doNotFollow: { path: "node_modules" },
    tsConfig: { fileName: "tsconfig.json" },
    tsPreCompilationDeps: true,
    enhancedResolveOptions: { exportsFields: ["exports"], conditionNames: ["import", "types"] }
  }
}
