import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { ask } from "../e2e/cli/forwards/commands.js"
import * as Tcp from "../e2e/cli/tcp.js"
import { connect, run, serve } from "../e2e/cli/wsmux.js"
import { programOf, startForwardSquid } from "./proxies.js"

/** `proxies.test.ts` tells that the program is missing, and fails in CI. */
describe.skipIf(programOf("squid") === undefined)("wsmux connect --proxy", () => {
  const squid = Effect.acquireRelease(
    Effect.promise(() => startForwardSquid("user", "right")),
    ({ stop }) => Effect.promise(stop)
  )

  it.scopedLive("wsmux connect carries bytes through Squid by CONNECT when it has the password", () =>
    Effect.gen(function*() {
      const { port } = yield* squid
      const { url } = yield* serve(yield* Tcp.echo)
      const client = yield* connect(url, ["--proxy", `http://user:right@127.0.0.1:${port}`])
      expect(yield* ask(client.port, "hello")).toEqual({ how: "end", said: "hello" })
    }))

  it.scopedLive("wsmux connect exits with 1 and one line when Squid does not know the password", () =>
    Effect.gen(function*() {
      const { port } = yield* squid
      const { url } = yield* serve(1)
      for (const credentials of ["user:wrong@", ""]) {
        const proxy = `http://${credentials}127.0.0.1:${port}`
        expect(yield* run(["connect", url, "--listen", "127.0.0.1:0", "--proxy", proxy, "--reconnect"])).toEqual({
          code: 1,
          stdout: "",
          stderr: `wsmux: cannot connect to ${url}: the server answered 407: ` +
            "the proxy asks for user:password@ in --proxy\n"
        })
      }
    }))
})
