#!/usr/bin/env bash
# Guess: Buffer.from takes less than 4 KiB from a pool of 8 KiB. A Buffer of 10,000 bytes has an ArrayBuffer of its
#        own.
# Seen:  Node 20 and 22 do so. On Node 24 and 26 the pool has 64 KiB and serves up to 32 KiB. A Buffer of 10,000 bytes
#        shares its ArrayBuffer with others, and ten kept bytes can pin 64 KiB.
# With:  Node 22.23.3 and 24.21.0 (20.20.2 as 22, 26.12.1 as 24), 2026-11-28
# Output (the size of the ArrayBuffer behind a Buffer):
#> v22: 10 bytes in 8192, 10000 bytes in 10000, 40000 bytes in 40000
#> v24: 10 bytes in 65536, 10000 bytes in 65536, 40000 bytes in 40000
set -euo pipefail
command -v npm >/dev/null || { echo "Node.js with npm is needed" >&2; exit 2; }
expected=$(sed -n 's/^#> //p' "$0")
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
echo "{}" >package.json
platform=$(node -p "process.platform + '-' + process.arch")
npm install --silent --no-audit --no-fund --ignore-scripts \
  "node22@npm:node-$platform@22.23.3" \
  "node24@npm:node-$platform@24.21.0"
cat >find.mjs <<'EOF'
const behind = [10, 10_000, 40_000].map((size) => `${size} bytes in ${Buffer.from("x".repeat(size)).buffer.byteLength}`)
console.log(`${process.version.split(".")[0]}: ${behind.join(", ")}`)
EOF
seen=$(for version in 22 24; do timeout 20 "node_modules/node$version/bin/node" find.mjs; done)
echo "$seen"
[[ $seen == "$expected" ]] || { echo "changed; expected:" >&2; echo "$expected" >&2; exit 1; }
