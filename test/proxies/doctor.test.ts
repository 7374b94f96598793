import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import type { Finding } from "../../src/cli/doctor/finding.js"
import { serveWith } from "../e2e/cli/forwards/commands.js"
import { run } from "../e2e/cli/wsmux.js"
import { kinds, programOf, type Proxy, startForwardSquid, startProxy, startTinyproxy, tinyproxy } from "./proxies.js"

// `proxies.test.ts` and `outward.test.ts` tell of proxies that are missing, and fail in CI.
const secret = "correct-horse-battery-staple"

const started = (start: () => Promise<Proxy>) =>
  Effect.acquireRelease(Effect.promise(start), ({ stop }) => Effect.promise(stop))

/** The environment of the tests may name a proxy. */
const noProxy = Object.fromEntries(
  ["http_proxy", "https_proxy", "all_proxy"].flatMap((name) => [[name, ""], [name.toUpperCase(), ""]])
)

/** Runs the doctor with the token, and completes with its findings by their checks. */
const examine = (url: string, args: ReadonlyArray<string> = []) =>
  Effect.map(run(["doctor", url, ...args, "--json"], { env: { ...noProxy, WSMUX_TOKEN: secret } }), (result) => {
    const findings = result.stdout.trim().split("\n").map((line) => JSON.parse(line) as Finding)
    return { code: result.code, of: (check: string) => findings.find((finding) => finding.check === check) }
  })

const server = Effect.map(
  serveWith(["--token", secret, "--allow", "db:1"], { env: noProxy }),
  ({ url }) => ({ url, port: Number(new URL(url).port) })
)

/** The verdicts of the checks that a good way passes. A busy machine may hold messages back. */
const verdictsOf = ({ code, of }: Effect.Effect.Success<ReturnType<typeof examine>>) => ({
  code,
  verdicts: ["proxy", "names", "tcp", "upgrade", "round trip", "peer", "throughput", "clock"].map((check) =>
    of(check)?.verdict
  )
})

const allOk = { code: 0, verdicts: Array.from({ length: 8 }, () => "ok") }

const others = (...names: ReadonlyArray<string>) => names.filter((name) => programOf(name) !== undefined)

describe("wsmux doctor", () => {
  for (const name of others(...Object.keys(kinds))) {
    it.scopedLive(`wsmux doctor finds each step ok when the server is behind ${name}`, () =>
      Effect.gen(function*() {
        const { port } = yield* server
        const proxy = yield* started(() => startProxy(name, port))
        expect(verdictsOf(yield* examine(`ws://127.0.0.1:${proxy.port}`))).toEqual(allOk)
      }))

    it.scopedLive(`wsmux doctor says that ${name} does not reach the server when the server is away`, () =>
      Effect.gen(function*() {
        const proxy = yield* started(() => startProxy(name, 1))
        const { code, of } = yield* examine(`ws://127.0.0.1:${proxy.port}`)
        expect(of("upgrade")).toMatchObject({
          verdict: "fail",
          detail: expect.stringMatching(/^the answer is 50[234](, an HTML page)? instead of 101$/),
          advice: "a proxy before the server does not reach it: " +
            "check that the server runs, and the address in the proxy"
        })
        expect(code).toBe(1)
      }))
  }

  for (const name of others("nginx")) {
    it.scopedLive("wsmux doctor names the lost headers when nginx has no lines for the upgrade", () =>
      Effect.gen(function*() {
        const { port } = yield* server
        const proxy = yield* started(() =>
          startProxy(name, port, undefined, (lines) => lines.replace(/^.*(Upgrade|Connection).*$/gm, ""))
        )
        const { of } = yield* examine(`ws://127.0.0.1:${proxy.port}`)
        expect(of("upgrade")).toMatchObject({
          verdict: "fail",
          advice: "the headers of the upgrade are lost on the way: the proxy must pass Upgrade and Connection on"
        })
      }))
  }

  const outward = {
    Squid: { isHere: programOf("squid") !== undefined, start: () => startForwardSquid("user", "right") },
    Tinyproxy: { isHere: tinyproxy.program !== undefined, start: () => startTinyproxy("user", "right") }
  }
  for (const [name, { isHere, start }] of Object.entries(outward)) {
    it.scopedLive.skipIf(!isHere)(
      `wsmux doctor finds each step ok when it dials through ${name}`,
      () =>
        Effect.gen(function*() {
          const { url } = yield* server
          const { port } = yield* started(start)
          const found = yield* examine(url, ["--proxy", `http://user:right@127.0.0.1:${port}`])
          expect(verdictsOf(found)).toEqual(allOk)
          expect(found.of("proxy")?.detail).toBe(`http://127.0.0.1:${port}, from --proxy`)
        })
    )

    it.scopedLive.skipIf(!isHere)(
      `wsmux doctor asks for the right password when ${name} refuses the user`,
      () =>
        Effect.gen(function*() {
          const { url } = yield* server
          const { port } = yield* started(start)
          const { code, of } = yield* examine(url, ["--proxy", `http://user:wrong@127.0.0.1:${port}`])
          expect({ code, upgrade: of("upgrade") }).toMatchObject({
            code: 1,
            upgrade: { verdict: "fail", advice: "the user or password in the address of the proxy is wrong" }
          })
        })
    )
  }
})
