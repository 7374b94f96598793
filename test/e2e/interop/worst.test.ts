import { describeGo } from "./goPeer.js"
import { eachRole, eachWay } from "./links.js"
import { answersLate, closesInTime, fullDuplex, leavesStreams, livesOverSlowLink } from "./worstSuite.js"

const mebibyte = 1024 * 1024

for (const [who, connect] of eachRole) {
  describeGo(`the worst with Go, where ${who}`, () => {
    answersLate(connect, "Go")
    closesInTime(connect, "the Go process")
    fullDuplex(connect, "Go", mebibyte)
    livesOverSlowLink(connect, "Go", 1)
  })
}

for (const [how, connect] of eachWay) {
  describeGo(`a stream that is left while Go writes, where ${how}`, () => {
    leavesStreams(connect, "Go", "writes to the end", /: ended with "", expected "/)
  })
}
