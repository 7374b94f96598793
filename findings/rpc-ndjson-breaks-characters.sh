#!/usr/bin/env bash
# Guess: RpcSerialization.ndjson takes bytes in pieces of any size: each of its parsers keeps what a piece leaves over.
# Seen:  The parser keeps the rest of a line, and not the rest of a character. A character whose bytes lie in two pieces
#        becomes replacement characters, without an error. A socket splits bytes where it likes.
# With:  @effect/rpc 0.76.2, @effect/platform 0.97.2, effect 3.22.4, Node 20.20.2, 2026-11-29
# Output:
#> in one piece: "größe"
#> cut behind a character: "größe"
#> cut within a character: "gr\ufffd\ufffdße"
set -euo pipefail
command -v npm >/dev/null || { echo "Node.js with npm is needed" >&2; exit 2; }
expected=$(sed -n 's/^#> //p' "$0")
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
echo "{}" >package.json
npm install --silent --no-audit --no-fund --ignore-scripts --legacy-peer-deps \
  effect@3.22.4 @effect/platform@0.97.2 @effect/rpc@0.76.2
cat >parse.mjs <<'EOF'
import * as RpcSerialization from "@effect/rpc/RpcSerialization"

const line = new TextEncoder().encode(`${JSON.stringify("größe")}\n`)
const shown = (text) => JSON.stringify(text).replaceAll("\ufffd", "\\ufffd")
for (const [what, at] of [["in one piece", 0], ["cut behind a character", 3], ["cut within a character", 4]]) {
  const parser = RpcSerialization.ndjson.unsafeMake()
  const values = [line.subarray(0, at), line.subarray(at)].flatMap((piece) => parser.decode(piece))
  console.log(`${what}: ${values.map(shown)}`)
}
EOF
seen=$(timeout 30 node parse.mjs)
echo "$seen"
[[ $seen == "$expected" ]] || { echo "changed; expected:" >&2; echo "$expected" >&2; exit 1; }
