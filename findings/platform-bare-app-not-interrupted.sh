#!/usr/bin/env bash
# Guess: HttpServer of @effect/platform interrupts a handler when its client goes away.
# Seen:  Routes of an HttpRouter are interrupted. A plain effect given to HttpServer.serve, which the types take as
#        well, runs uninterruptibly to its end.
# With:  @effect/platform 0.97.2, @effect/platform-node 0.108.2, effect 3.22.4, Node 20.20.2, 2026-11-28
# Output:
#> route of an HttpRouter: interrupted
#> plain effect: ran to its end
set -euo pipefail
command -v npm >/dev/null || { echo "Node.js with npm is needed" >&2; exit 2; }
expected=$(sed -n 's/^#> //p' "$0")
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
echo "{}" >package.json
npm install --silent --no-audit --no-fund --ignore-scripts --legacy-peer-deps \
  effect@3.22.4 @effect/platform@0.97.2 @effect/platform-node@0.108.2 @effect/platform-node-shared@0.61.1
cat >find.mjs <<'EOF'
import * as HttpRouter from "@effect/platform/HttpRouter"
import * as HttpServer from "@effect/platform/HttpServer"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import * as NodeHttpServer from "@effect/platform-node/NodeHttpServer"
import { Deferred, Effect, Layer } from "effect"
import { createServer } from "node:http"
import { connect } from "node:net"

const observe = (name, toApp) =>
  Effect.gen(function*() {
    const http = createServer()
    const ended = yield* Deferred.make()
    const app = Effect.sleep("1 second").pipe(
      Effect.onExit((exit) => Deferred.succeed(ended, exit._tag === "Success" ? "ran to its end" : "interrupted")),
      Effect.as(HttpServerResponse.empty())
    )
    const node = NodeHttpServer.layer(() => http, { host: "127.0.0.1", port: 0 })
    yield* Layer.build(Layer.provide(HttpServer.serve(toApp(app)), node))
    const client = connect(http.address().port, "127.0.0.1", () => client.write("GET / HTTP/1.1\r\nhost: a\r\n\r\n"))
    http.once("request", () => setTimeout(() => client.destroy(), 50))
    console.log(`${name}: ${yield* Deferred.await(ended)}`)
  })
await Effect.runPromise(Effect.scoped(
  observe("route of an HttpRouter", (app) => HttpRouter.empty.pipe(HttpRouter.get("/", app)))
))
await Effect.runPromise(Effect.scoped(observe("plain effect", (app) => app)))
EOF
seen=$(timeout 30 node find.mjs)
echo "$seen"
[[ $seen == "$expected" ]] || { echo "changed; expected:" >&2; echo "$expected" >&2; exit 1; }
