import { describe, expect, it } from "@effect/vitest"
import * as Admin from "effect-wsmux/cli/status/admin"
import * as Page from "effect-wsmux/cli/status/page"
import * as Effect from "effect/Effect"

const source: Admin.Source = {
  readiness: Effect.succeed({ ready: false, text: "connecting" }),
  samples: Effect.succeed([{ type: "gauge", name: "wsmux_sessions", help: "", labels: {}, value: 1 }]),
  status: Effect.die("asked for the status")
}

const ask = (url: string, { headers = {}, method = "GET" }: Partial<Admin.Request> = {}, given = source) =>
  Effect.map(
    Admin.answer({ url, method, headers: { host: "127.0.0.1:9090", ...headers } }, "admin.example", given),
    ({ body, headers, status }) => ({ status, body, headers })
  )

describe("Admin", () => {
  it.effect("Admin.answer refuses a request when its host is a name that is not its own", () =>
    Effect.gen(function*() {
      const status = (host: string) => Effect.map(ask("/healthz", { headers: { host } }), ({ status }) => status)
      const foreign = [
        "evil.example",
        "127.0.0.1.evil.example:9090",
        "localhost.evil.example",
        "",
        "[evil]",
        "a b",
        "1"
      ]
      expect(yield* Effect.forEach(foreign, status)).toEqual(foreign.map(() => 403))
      const own = ["127.0.0.1", "127.0.0.1:9090", "[::1]:9090", "LOCALHOST:1", "10.1.2.3", "Admin.Example:9090"]
      expect(yield* Effect.forEach(own, status)).toEqual(own.map(() => 503))
      for (const path of ["/", "/metrics", "/status.json"]) {
        expect(yield* ask(path, { headers: { host: "evil.example" } })).toMatchObject({ status: 403 })
      }
    }))

  it.effect("Admin.answer answers a health check without the header host", () =>
    Effect.gen(function*() {
      const answer = yield* Admin.answer({ url: "/healthz", method: "GET", headers: {} }, "127.0.0.1", source)
      expect(answer).toMatchObject({ status: 503, body: "connecting\n" })
    }))

  it.effect("Admin.answer refuses every method but GET and HEAD", () =>
    Effect.gen(function*() {
      for (const method of ["POST", "PUT", "DELETE", "OPTIONS", "TRACE"]) {
        expect(yield* ask("/metrics", { method })).toMatchObject({ status: 405, headers: { allow: "GET, HEAD" } })
      }
      expect(yield* ask("/metrics?x=1", { method: "HEAD" })).toMatchObject({ status: 200 })
    }))

  it.effect("Admin.answer writes metrics as text of version 0.0.4", () =>
    Effect.gen(function*() {
      expect(yield* ask("/metrics")).toMatchObject({
        status: 200,
        body: "# TYPE wsmux_sessions gauge\nwsmux_sessions 1\n",
        headers: { "content-type": "text/plain; version=0.0.4", "cache-control": "no-store" }
      })
    }))

  it.effect("Admin.answer has one page without requests to other servers and without inline handlers", () =>
    Effect.gen(function*() {
      for (const page of [Page.tunnel, Page.relay]) {
        const { body, headers, status } = yield* ask("/", {}, { ...source, page })
        expect(status).toBe(200)
        expect(headers["content-security-policy"]).toMatch(
          /^default-src 'none'; script-src 'sha256-[^']+'; style-src 'sha256-[^']+'; connect-src 'self'; /
        )
        expect(headers["content-security-policy"]).not.toContain("unsafe")
        expect(body).toBe(page.html)
        expect(body).not.toMatch(/https?:\/\/|\son\w+=|innerHTML|@import/)
      }
    }))

  it.effect("Admin.answer has no page and no status where its source has none", () =>
    Effect.gen(function*() {
      const { readiness, samples } = source
      for (const path of ["/", "/status.json", "/nothing"]) {
        expect(yield* ask(path, {}, { readiness, samples })).toMatchObject({ status: 404 })
      }
    }))
})
