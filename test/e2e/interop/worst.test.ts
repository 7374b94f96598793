import { describeGo } from "./goPeer.js"
import { dialGo, listenForGo } from "./links.js"
import { answersLate, closesInTime, fullDuplex, leavesStreams, livesOverSlowLink } from "./worstSuite.js"

const mebibyte = 1024 * 1024

describeGo("the worst with Go", () => {
  answersLate(dialGo, "Go")
  closesInTime(dialGo, "the Go process")
  fullDuplex(dialGo, "Go", mebibyte)
  livesOverSlowLink(dialGo, "Go")
})

for (const [who, connect] of [["we dialled", dialGo], ["Go dialled", listenForGo]] as const) {
  describeGo(`a stream that is left while Go writes, where ${who}`, () => {
    leavesStreams(connect, "Go", "writes to the end", /: ended with "", expected "/)
  })
}
