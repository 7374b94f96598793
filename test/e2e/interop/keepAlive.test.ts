import { describeGo } from "./goPeer.js"
import { keepsAlive, livesUnderLoad } from "./keepAliveSuite.js"
import { dialGo, listenForGo } from "./links.js"

// The tests run one after the other, since both ends must answer in time.
describeGo("the keep-alive with Go", () => {
  for (const [who, connect] of [["we dial", dialGo], ["Go dials", listenForGo]] as const) {
    livesUnderLoad(connect, who, { streams: 10, bytes: 100_000 })
  }
  keepsAlive(dialGo, "the Go process")
}, { sequential: true })
