import { describeGo } from "./goPeer.js"
import { answersHttpClient, answersPeer } from "./httpSuite.js"
import { eachWay } from "./links.js"

for (const [how, connect] of eachWay) {
  describeGo(`HTTP with Go, where ${how}`, () => {
    answersHttpClient(connect, "net/http of Go", "go")
    answersPeer(connect, "the http.Client of Go")
  })
}
