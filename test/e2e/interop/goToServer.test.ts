import { describeGo } from "./goPeer.js"
import { listenForGo, listenForGoServer } from "./links.js"
import { carries, carriesEverything, halfCloses } from "./suites.js"

const mebibyte = 1024 * 1024

describeGo("Go's client and our server", () => {
  carriesEverything(listenForGo)
  carries(listenForGo, "echo", 65536, 1, 64 * mebibyte)
  halfCloses(listenForGo)
})

describeGo("Go's server role dials our client role", () => {
  carries(listenForGoServer, "echo", 4096, 10, 100_000)
})
