import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { ask } from "../e2e/cli/forwards/commands.js"
import * as Tcp from "../e2e/cli/tcp.js"
import { connect, run, serve } from "../e2e/cli/wsmux.js"
import { programOf, type Proxy, startForwardSquid, startTinyproxy, tinyproxy } from "./proxies.js"

/** Tells of tests that this machine cannot run. In CI they must run. `proxies.test.ts` tells of Squid. */
if (tinyproxy.program === undefined) {
  const missing = `Debian's package ${tinyproxy.packageName} is missing`
  if (process.env.CI !== undefined) throw new Error(`${missing}, and in CI its tests must run`)
  console.error(`*** SKIPPED: every test with Tinyproxy: ${missing} ***`)
}

const started = (start: () => Promise<Proxy>) =>
  Effect.acquireRelease(Effect.promise(start), ({ stop }) => Effect.promise(stop))

const proxies = {
  Squid: { isHere: programOf("squid") !== undefined, start: startForwardSquid, wrong: 407 },
  Tinyproxy: { isHere: tinyproxy.program !== undefined, start: startTinyproxy, wrong: 401 }
}

for (const [name, { isHere, start, wrong }] of Object.entries(proxies)) {
  describe.skipIf(!isHere)("wsmux connect --proxy", () => {
    it.scopedLive(`wsmux connect carries bytes through ${name} by CONNECT when it has the password`, () =>
      Effect.gen(function*() {
        const { port } = yield* started(() => start("user", "right"))
        const { url } = yield* serve(yield* Tcp.echo)
        const client = yield* connect(url, ["--proxy", `http://user:right@127.0.0.1:${port}`])
        expect(yield* ask(client.port, "hello")).toEqual({ how: "end", said: "hello" })
      }))

    it.scopedLive(`wsmux connect exits with 1 and one line when ${name} does not know the password`, () =>
      Effect.gen(function*() {
        const { port } = yield* started(() => start("user", "right"))
        const { url } = yield* serve(1)
        const complaints = {
          "user:wrong@": `${wrong}: the user or password in the address of the proxy is wrong`,
          "": "407: the proxy asks for user:password@ in its address"
        }
        for (const [credentials, complaint] of Object.entries(complaints)) {
          const proxy = `http://${credentials}127.0.0.1:${port}`
          expect(yield* run(["connect", url, "--listen", "127.0.0.1:0", "--proxy", proxy, "--reconnect"])).toEqual({
            code: 1,
            stdout: "",
            stderr: `wsmux: cannot connect to ${url}: the proxy answered ${complaint}\n`
          })
        }
      }))
  })
}

describe.skipIf(tinyproxy.program === undefined)("wsmux connect --proxy", () => {
  // a Tinyproxy of Debian 12 carries 0.3 MB/s here
  it.scopedLive("wsmux connect carries 256 KiB through Tinyproxy when the proxy asks for no password", () =>
    Effect.gen(function*() {
      const { port } = yield* started(() => startTinyproxy())
      const { url } = yield* serve(yield* Tcp.echo)
      const client = yield* connect(url, ["--proxy", `127.0.0.1:${port}`])
      const words = "0123456789abcdef".repeat(16 * 1024)
      const { how, said } = yield* ask(client.port, words)
      expect({ how, isWhole: said === words }).toEqual({ how: "end", isWhole: true })
    }))

  it.scopedLive("wsmux connect exits with 1 and one line when Tinyproxy reaches no server", () =>
    Effect.gen(function*() {
      const { port } = yield* started(() => startTinyproxy())
      const url = "ws://127.0.0.1:1"
      const { code, stderr } = yield* run(["connect", url, "--listen", "127.0.0.1:0", "--proxy", `127.0.0.1:${port}`])
      expect(code).toBe(1)
      expect(stderr).toBe(
        `wsmux: cannot connect to ${url}: the proxy answered 500: the proxy does not reach the server\n`
      )
    }))
})
