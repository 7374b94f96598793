import { describeGo } from "./goPeer.js"
import { answersHttpClient, answersPeer } from "./httpSuite.js"
import { dialGo, listenForGo } from "./links.js"

for (const [who, connect] of [["we dialled", dialGo], ["Go dialled", listenForGo]] as const) {
  describeGo(`HTTP with Go, where ${who}`, () => {
    answersHttpClient(connect, "net/http of Go", "go")
    answersPeer(connect, "the http.Client of Go")
  })
}
