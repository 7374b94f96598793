import { describeGo } from "./goPeer.js"
import { listenForGo, listenForGoServer, plainly } from "./links.js"
import { carries, carriesEverything, halfCloses } from "./suites.js"

const mebibyte = 1024 * 1024

describeGo("a server with a client of Go", () => {
  carriesEverything(listenForGo)
  carries(listenForGo, "echo", 65536, 1, 64 * mebibyte)
  halfCloses(listenForGo)
})

describeGo("a client that a server of Go dials", () => {
  carries(listenForGoServer, "echo", 4096, 10, 100_000)
})

describeGo("a server without the dialect with a client of Go", () => {
  carriesEverything(plainly(listenForGo))
  halfCloses(plainly(listenForGo))
})
