import * as NodeHttpServer from "@effect/platform-node/NodeHttpServer"
import type * as HttpServer from "@effect/platform/HttpServer"
import * as HttpServerRequest from "@effect/platform/HttpServerRequest"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import * as Effect from "effect/Effect"
import { createServer } from "node:http"
import type { Endpoint } from "../endpoint.js"
import type { Sample } from "./files.js"

/** Serves the samples, and no other files, on a free loopback port. The scope owns the server. */
export const serveFiles = (samples: ReadonlyArray<Sample>) =>
  Effect.gen(function*() {
    const byUrl = new Map(samples.map((sample) => [sample.url, sample]))
    const index = HttpServerResponse.html(page(samples))
    const server = yield* NodeHttpServer.make(() => createServer(), { host: "127.0.0.1", port: 0 })
    yield* server.serve(Effect.gen(function*() {
      const { url } = yield* HttpServerRequest.HttpServerRequest
      const sample = byUrl.get(url)
      if (url === "/") return index
      if (sample === undefined) return HttpServerResponse.empty({ status: 404 })
      return yield* HttpServerResponse.file(sample.path, { contentType: "application/octet-stream" })
    }))
    const address = server.address as HttpServer.TcpAddress
    return { host: address.hostname, port: address.port } satisfies Endpoint
  })

const page = (samples: ReadonlyArray<Sample>): string => {
  const rows = samples.map(({ size, url }) =>
    `<tr><td align="right">${size}</td><td><a href="${url}">${text(url)}</a></td></tr>`
  )
  return `<!doctype html><meta charset="utf-8"><title>wsmux demo</title>
<h1>${samples.length} files, through one WebSocket</h1><table>${rows.join("\n")}</table>`
}

const text = (url: string): string => decodeURIComponent(url).replace(/[&<>"]/g, (char) => `&#${char.charCodeAt(0)};`)
