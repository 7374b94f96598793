import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Net from "node:net"
import * as FedServer from "../../../src/cli/fedServer.js"
import { tcpServer } from "../../support/transports.js"

/** The answer to a client that sends a text and ends its half, at a server that gets its connections from another. */
const answered = (sent: string) =>
  Effect.gen(function*() {
    const server = yield* Effect.acquireRelease(
      Effect.sync(() => FedServer.make(undefined, 200)),
      (server) => Effect.sync(() => server.close())
    )
    const { port } = yield* tcpServer((socket) => server.emit("connection", socket))
    return yield* Effect.async<string>((resume) => {
      let text = ""
      Net.connect(port, "127.0.0.1", function(this: Net.Socket) {
        this.setEncoding("utf8").write(sent)
        this.on("data", (chunk) => {
          text += chunk
        }).on("close", () => resume(Effect.succeed(text)))
      })
    }).pipe(Effect.timeoutFail({ duration: "10 seconds", onTimeout: () => new Error("no end of the connection") }))
  })

describe("FedServer", () => {
  it.scopedLive("FedServer answers 426 when a request asks for no upgrade", () =>
    Effect.gen(function*() {
      expect(yield* answered("GET / HTTP/1.1\r\nhost: a\r\n\r\n")).toMatch(/^HTTP\/1\.1 426 /)
    }))

  it.scopedLive("FedServer hangs up with 408 when a client does not complete its request in time", () =>
    Effect.gen(function*() {
      expect(yield* answered("GET / HTTP/1.1\r\n")).toMatch(/^HTTP\/1\.1 408 /)
    }))
})
