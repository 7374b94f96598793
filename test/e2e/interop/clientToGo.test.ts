import { describeGo } from "./goPeer.js"
import { dialGo, plainly } from "./links.js"
import { carries, carriesEverything, halfCloses } from "./suites.js"

const mebibyte = 1024 * 1024

describeGo("a client with a server of Go", () => {
  carriesEverything(dialGo)
  carries(dialGo, "sink", 65536, 1, 64 * mebibyte)
  carries(dialGo, "source", 65536, 1, 64 * mebibyte)
  halfCloses(dialGo)
})

describeGo("a server that dials a client of Go", () => {
  carries((options, flags) => dialGo(options, { role: "client", ...flags }), "echo", 4096, 10, 100_000)
})

describeGo("a client without the dialect with a server of Go", () => {
  carriesEverything(plainly(dialGo))
  halfCloses(plainly(dialGo))
})
