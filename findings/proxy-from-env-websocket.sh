#!/usr/bin/env bash
# Guess: proxy-from-env names the proxy of HTTPS_PROXY for a wss:// address, whose request is one of HTTPS, as it does
#        for https://.
# Seen:  It reads WSS_PROXY, which hardly a machine sets, and then ALL_PROXY. With HTTPS_PROXY alone there is no proxy.
# With:  proxy-from-env 2.1.0, Node 20.20.2, 2026-11-28
# Output:
#> https://example.com: http://secure:3128
#> wss://example.com: none
#> ws://example.com: none
#> with WSS_PROXY, wss://example.com: http://sockets:3128
set -euo pipefail
command -v npm >/dev/null || { echo "Node.js with npm is needed" >&2; exit 2; }
expected=$(sed -n 's/^#> //p' "$0")
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
echo "{}" >package.json
npm install --silent --no-audit --no-fund --ignore-scripts proxy-from-env@2.1.0
cat >ask.mjs <<'EOF'
import { getProxyForUrl } from "proxy-from-env"

for (const url of process.argv.slice(2)) console.log(`${url}: ${getProxyForUrl(url) || "none"}`)
EOF
clean=(env -u all_proxy -u ALL_PROXY -u no_proxy -u NO_PROXY -u https_proxy -u http_proxy -u wss_proxy -u ws_proxy)
export HTTPS_PROXY=http://secure:3128 HTTP_PROXY=http://plain:3128
seen=$(
  timeout 30 "${clean[@]}" node ask.mjs https://example.com wss://example.com ws://example.com
  printf 'with WSS_PROXY, '
  WSS_PROXY=http://sockets:3128 timeout 30 "${clean[@]}" node ask.mjs wss://example.com
)
echo "$seen"
[[ $seen == "$expected" ]] || { echo "changed; expected:" >&2; echo "$expected" >&2; exit 1; }
