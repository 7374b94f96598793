/**
 * `npm run bench:relay` measures `wsmux relay`: the memory of idle agents on one node, and the requests per second
 * through one node and through two, beside nginx as a reverse proxy to the same service. Redis, nginx and `ab` have to
 * be installed.
 */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { parseArgs } from "node:util"
import { machine } from "../environment.js"
import { Side } from "../process.js"
import { eventually, find, freePort, Program, tidyUp } from "../tunnel/program.js"
import { load } from "./load.js"

const secret = "a secret of the benchmark"

const folder = mkdtempSync(join(tmpdir(), "wsmux-bench-relay-"))
tidyUp(() => rmSync(folder, { recursive: true, force: true }))

const file = (name: string, text: string): string => {
  const path = join(folder, name)
  writeFileSync(path, text)
  return path
}

const built = (path: string) => fileURLToPath(new URL(path, import.meta.url))

const installed = (name: string, ...elsewhere: ReadonlyArray<string>): string => {
  const path = find(name, elsewhere)
  if (path === undefined) throw new Error(`${name} is not installed`)
  return path
}

/** Starts `wsmux` with these arguments. The heap has room for the idle agents. */
const wsmux = (name: string, args: ReadonlyArray<string>, env: Readonly<Record<string, string>> = {}): Program =>
  new Program(name, {
    file: process.execPath,
    args: [
      ...["--max-old-space-size=4096", "--import", built("../tunnel/probe.js")],
      ...[built("../../../../dist/cli/bin.js"), ...args]
    ],
    env,
    probed: true
  })

/** Completes when the URL answers with 200. */
const answers = (url: string, programs: ReadonlyArray<Program>): Promise<void> =>
  eventually(url, 20, programs, async () => {
    const { status } = await fetch(url, { headers: { connection: "close" } })
    if (status !== 200) throw new Error(`the answer is ${status}`)
  })

const relayNode = async (name: string, more: ReadonlyArray<string> = []) => {
  const port = await freePort()
  const secrets = file("secret", secret)
  const args = ["relay", "--listen", `127.0.0.1:${port}`, "--secret-file", secrets, "--max-agents", "50000", ...more]
  const program = wsmux(name, args)
  await answers(`http://127.0.0.1:${port}/__heartbeat__`, [program])
  return { program, port }
}

/** Measures what each idle agent costs its node. The agents are processes of 5,000. */
const idle = async (agents: number, seconds: number): Promise<void> => {
  const { port, program } = await relayNode("the node")
  const before = await program.memory()
  const sides: Array<Side<{ readonly event: "connected" }>> = []
  const began = performance.now()
  for (let first = 0; first < agents; first += 5000) {
    const count = Math.min(5000, agents - first)
    const args = [built("agents.js"), `ws://127.0.0.1:${port}/`, secret, String(first), String(count)]
    sides.push(new Side(`agents from ${first}`, { file: process.execPath, args }))
  }
  await Promise.all(sides.map((side) => side.next()))
  const connecting = (performance.now() - began) / 1000
  const after = await program.memory()
  const each = (count: number) => `${(count / agents / 1000).toFixed(1)} KB`
  console.log(
    `${agents} idle agents: ${each(after.heap - before.heap)} of heap and buffers and ` +
      `${each(after.resident - before.resident)} of resident memory each, connected in ${connecting.toFixed(0)} s`
  )
  const used = program.processor()
  await new Promise((resolve) => setTimeout(resolve, seconds * 1000))
  const percent = ((program.processor() - used) / seconds * 100).toFixed(0)
  console.log(`idle for ${seconds} s: ${percent} % of a core for the keep-alive`)
  await Promise.all(sides.map((side) => side.stop()))
  await program.stop()
}

/** Starts nginx with one worker. */
const nginx = async (name: string, server: (port: number) => string, http = "") => {
  const port = await freePort()
  const settings = file(
    `${name}.conf`,
    `daemon off; pid ${folder}/${name}.pid; error_log stderr; worker_processes 1; events { worker_connections 1024; }
http { access_log off; keepalive_requests 1000000; ${http} server { listen 127.0.0.1:${port}; ${server(port)} } }`
  )
  const args = ["-p", folder, "-c", settings, "-e", "stderr"]
  const program = new Program(name, { file: installed("nginx", "/usr/sbin"), args })
  return { program, port }
}

/** Measures requests per second on each way, all ways in turn. */
const requests = async (rounds: number, seconds: number): Promise<void> => {
  const body = "x".repeat(1024)
  const service = await nginx("service", () => `location / { return 200 "${body}"; }`)
  const proxy = await nginx(
    "proxy",
    () => "location / { proxy_pass http://service; proxy_http_version 1.1; proxy_set_header Connection \"\"; }",
    `upstream service { server 127.0.0.1:${service.port}; keepalive 64; }`
  )
  const redisPort = await freePort()
  const redis = new Program("Redis", {
    file: installed("redis-server"),
    args: ["--port", String(redisPort), "--bind", "127.0.0.1", "--save", "", "--dir", folder]
  })
  const nodes = file("nodes", "the secret of the nodes")
  const cluster = ["--directory", `redis://127.0.0.1:${redisPort}`, "--node-secret-file", nodes]
  const first = await relayNode("the first node", cluster)
  const second = await relayNode("the second node", cluster)
  const issuedAt = Math.floor(Date.now() / 1000) - 10
  const { agentToken } = await import("effect-wsmux/RelayServer")
  const token = agentToken({ name: "web", issuedAt, expiresAt: issuedAt + 3600 }, secret)
  const target = ["--target", `127.0.0.1:${service.port}`]
  const agent = wsmux("the agent", ["agent", `ws://127.0.0.1:${first.port}`, "web", ...target], { WSMUX_TOKEN: token })
  const programs = [service.program, proxy.program, redis, first.program, second.program, agent]
  const ways = {
    "the service itself": `http://127.0.0.1:${service.port}/`,
    nginx: `http://127.0.0.1:${proxy.port}/`,
    "one node": `http://127.0.0.1:${first.port}/web/`,
    "two nodes": `http://127.0.0.1:${second.port}/web/`
  }
  try {
    for (const url of Object.values(ways)) await answers(url, programs)
    for (let round = 0; round <= rounds; round++) {
      for (const [way, url] of Object.entries(ways)) {
        const before = programs.map((program) => program.processor())
        const warmUp = Math.min(2, seconds) // the engine compiles
        const { failed, millis, perSecond } = await load(installed("ab"), url, round === 0 ? warmUp : seconds)
        if (round === 0) continue
        const spent = programs.map((program, i) => program.processor() - before[i]!)
        const busy = programs.flatMap(({ name }, i) =>
          spent[i]! / seconds < 0.02 ? [] : [`${name} ${(spent[i]! / seconds * 100).toFixed(0)} %`]
        )
        const text = `${Math.round(perSecond)}/s, p50 ${millis[0]} ms, p99 ${millis[1]} ms, ${failed} failed`
        console.log(`round ${round}, ${way}: ${text} (${busy.join(", ")})`)
      }
    }
  } finally {
    await Promise.all(programs.map((program) => program.stop()))
  }
}

const { values } = parseArgs({
  options: {
    agents: { type: "string", default: "10000" },
    idle: { type: "string", default: "20" },
    rounds: { type: "string", default: "3" },
    seconds: { type: "string", default: "5" },
    only: { type: "string" }
  }
})
for (const [name, value] of Object.entries(machine(["effect-wsmux", "effect", "ws"]))) console.log(`${name}: ${value}`)
if (values.only !== "requests") await idle(Number(values.agents), Number(values.idle))
if (values.only !== "idle") await requests(Number(values.rounds), Number(values.seconds))
