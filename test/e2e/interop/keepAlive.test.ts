import { describeGo } from "./goPeer.js"
import { keepsAlive, livesUnderLoad } from "./keepAliveSuite.js"
import { eachRole } from "./links.js"

// The tests run one after the other, since both ends must answer in time.
describeGo("the keep-alive with Go", () => {
  for (const [who, connect] of eachRole) {
    livesUnderLoad(connect, who, { streams: 10, bytes: 100_000 })
    keepsAlive(connect, "the Go process", who)
  }
}, { sequential: true })
