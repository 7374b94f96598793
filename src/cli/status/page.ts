import { createHash } from "node:crypto"
import * as Human from "./human.js"
import { showRelay, showTunnel } from "./shows.js"
import { watch } from "./watch.js"

/** A status page: one file, without requests to other servers. */
export interface Page {
  readonly html: string
  /** Lets the page run its own script and style, and ask its own server. Everything else is forbidden. */
  readonly contentSecurityPolicy: string
}

const style = `
:root {
  color-scheme: light dark;
  --ink: #1c2330; --soft: #5a6578; --line: #d9dee7; --ground: #f4f6f9; --sheet: #fff;
  --good: #10703f; --good-ground: #dcf3e6; --bad: #a3261d; --bad-ground: #fbe3e1;
}
@media (prefers-color-scheme: dark) {
  :root {
    --ink: #e5e9f0; --soft: #9aa6b8; --line: #2f3847; --ground: #12161d; --sheet: #1a2029;
    --good: #7fd8a6; --good-ground: #16382a; --bad: #ff9d94; --bad-ground: #47201e;
  }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--ground); color: var(--ink); font: 15px/1.45 system-ui, sans-serif; }
header, main, footer { max-width: 80rem; margin: 0 auto; padding: 0 1.25rem; }
header { display: flex; flex-wrap: wrap; align-items: baseline; gap: .25rem 1rem; padding-top: 1.25rem; }
h1 { margin: 0; font-size: 1.35rem; }
h2 { margin: 0; padding: .7rem 1rem; font-size: 1rem; }
h2 span, .soft, footer { color: var(--soft); font-weight: 400; }
#address { overflow-wrap: anywhere; font-family: ui-monospace, monospace; font-size: .9em; }
#readiness { margin: 0; padding: .1rem .7rem; border-radius: 1rem; overflow-wrap: anywhere; }
.good { background: var(--good-ground); color: var(--good); }
.bad { background: var(--bad-ground); color: var(--bad); }
dl { display: grid; grid-template-columns: repeat(auto-fit, minmax(9.5rem, 1fr)); gap: .75rem; margin: 1rem 0; }
dl div, section { background: var(--sheet); border: 1px solid var(--line); border-radius: .6rem; }
dl div { padding: .6rem 1rem; }
dt { color: var(--soft); font-size: .85rem; }
dd { margin: 0; }
dd b { font-size: 1.35rem; font-weight: 600; font-variant-numeric: tabular-nums; }
dd small { display: block; min-height: 1.3em; color: var(--soft); }
section { margin: 1rem 0; overflow: hidden; }
.scroll { overflow-x: auto; }
table { width: 100%; border-collapse: collapse; }
th, td { padding: .4rem .6rem; text-align: left; vertical-align: top; border-top: 1px solid var(--line); }
th:first-child, td:first-child { padding-left: 1rem; }
th { color: var(--soft); font-size: .8rem; font-weight: 500; white-space: nowrap; }
td { font-size: .88rem; overflow-wrap: anywhere; min-width: 4rem; }
.number { text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums; }
section p { margin: 0; padding: .5rem 1rem .8rem; border-top: 1px solid var(--line); overflow-wrap: anywhere; }
.empty .scroll, section:not(.empty) > .none { display: none; }
.none { color: var(--soft); }
.stale main { opacity: .55; }
footer { padding-bottom: 1.5rem; font-size: .85rem; }
@media (max-width: 50rem) {
  thead { display: none; }
  tr, td { display: flex; }
  tr { flex-direction: column; padding: .4rem 0; border-top: 1px solid var(--line); }
  td, td:first-child { justify-content: space-between; gap: 1rem; padding: .12rem 1rem; border: 0; text-align: right; }
  td::before { content: attr(data-title); color: var(--soft); white-space: nowrap; }
}
`

const hashOf = (text: string): string => `'sha256-${createHash("sha256").update(text).digest("base64")}'`

const policyOf = (script: string): string =>
  [
    "default-src 'none'",
    `script-src ${hashOf(script)}`,
    `style-src ${hashOf(style)}`,
    "connect-src 'self'",
    "img-src data:",
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'"
  ].join("; ")

const tile = (title: string, id: string, below = ""): string =>
  `<div><dt>${title}</dt><dd><b id="${id}">–</b><small${below && ` id="${below}"`}></small></dd></div>`

interface Column {
  readonly title: string
  readonly isNumber?: boolean
}

const numbers = (...titles: ReadonlyArray<string>): ReadonlyArray<Column> =>
  titles.map((title) => ({ title, isNumber: true }))
const texts = (...titles: ReadonlyArray<string>): ReadonlyArray<Column> => titles.map((title) => ({ title }))

const section = (id: string, title: string, none: string, columns: ReadonlyArray<Column>): string => `
<section id="${id}" class="empty" aria-labelledby="${id}-title">
<h2 id="${id}-title">${title} <span id="${id}-count"></span></h2>
<p class="none">${none}</p>
<div class="scroll" tabindex="0" role="region" aria-labelledby="${id}-title"><table><thead><tr>
${columns.map(({ isNumber, title }) => `<th scope="col"${isNumber ? " class=\"number\"" : ""}>${title}</th>`).join("")}
</tr></thead><tbody></tbody></table></div>
</section>`

/** @param show shows the status in the tiles and sections */
const makePage = (show: string, tiles: ReadonlyArray<string>, sections: ReadonlyArray<string>): Page => {
  const human = `{ bytes: ${Human.bytes.toString()}, span: ${Human.span.toString()} }`
  const script = `(${watch.toString()})(${human}, ${show})`
  const html = `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="referrer" content="no-referrer">
<link rel="icon" href="data:,">
<title>wsmux</title>
<style>${style}</style>
</head>
<body>
<header>
<h1 id="command">wsmux</h1>
<span id="address"></span>
<p id="readiness" role="status">asking</p>
</header>
<main>
<noscript><p>This page needs JavaScript. The same data: <a href="status.json">status.json</a>.</p>
</noscript>
<dl>
${[...tiles, tile("Running for", "uptime")].join("\n")}
</dl>
${sections.join("\n")}
</main>
<footer><span id="version"></span> · the same as <a href="status.json">data</a>, as <a href="metrics">metrics</a>, and
by <code>wsmux status</code></footer>
<script>${script}</script>
</body>
</html>
`
  return { html, contentSecurityPolicy: policyOf(script) }
}

/** The page of `serve` and `connect`. */
export const tunnel: Page = makePage(
  showTunnel.toString(),
  [
    tile("Sessions", "total-sessions"),
    tile("Streams", "total-streams"),
    tile("Received", "rate-in", "bytes-in"),
    tile("Sent", "rate-out", "bytes-out")
  ],
  [
    section("sessions", "Sessions", "No session is open.", [
      ...texts("#", "Peer", "User", "Dialect", "State"),
      ...numbers("Open for", "Round trip", "Streams", "Received", "Sent")
    ]),
    section("forwards", "Forwards", "There is no listener and no target.", texts("Option", "Listens on", "Leads to")),
    section("streams", "Streams", "No stream is open.", [
      ...texts("#", "Label", "From", "To", "State"),
      ...numbers("Open for", "Received", "Sent", "Unread · unsent")
    ]),
    `<section aria-labelledby="end-title">
<h2 id="end-title">Last end of a session <span id="last-end-age"></span></h2>
<p id="last-end"></p>
</section>`
  ]
)

/** The page of `relay`. */
export const relay: Page = makePage(
  showRelay.toString(),
  [
    tile("Agents", "total-agents"),
    tile("Requests that run", "total-running"),
    tile("Requests in all", "total-requests"),
    tile("Received", "total-in"),
    tile("Sent", "total-out")
  ],
  [
    section("nodes", "Nodes", "No node is known.", [
      ...texts("URL", "Id", "State"),
      ...numbers("Running for", "Agents", "Names", "Requests that run", "Requests", "Received", "Sent")
    ]),
    section("names", "Busiest names", "No agent is connected.", [
      ...texts("Name"),
      ...numbers("Agents", "Streams"),
      ...texts("Nodes")
    ])
  ]
)
