import { type ChildProcess, spawn } from "node:child_process"
import { once } from "node:events"
import { readFileSync } from "node:fs"
import { connect, createServer, type Server, type Socket } from "node:net"
import type { AddressInfo } from "node:net"
import { createInterface } from "node:readline"
import { Readable } from "node:stream"
import * as Tls from "node:tls"
import { fileURLToPath } from "node:url"
import { describe, expect, it } from "vitest"
import { WebSocket } from "ws"
import { lossAtEnd } from "../../src/internal/tcp/tcpEnds.js"
import { conform } from "../runtimes/conform.js"
import { startServer } from "../runtimes/peers.js"
import { current } from "../runtimes/runtimes.mjs"
import { type Bridge, offersWebSockets, startBridge } from "./http2.js"
import { certificate, kinds, programOf, type Proxy, startProxy } from "./proxies.js"

const bin = fileURLToPath(new URL("../../dist/cli/bin.js", import.meta.url))

const found = Object.keys(kinds).filter((name) => {
  if (programOf(name) !== undefined) return true
  const missing = `Debian's package ${kinds[name]!.packageName} is missing`
  if (process.env.CI !== undefined) throw new Error(`${missing}, and in CI its tests must run`)
  console.error(`*** SKIPPED: every test with ${name}: ${missing} ***`)
  return false
})

/** Seconds in the place of the default time-outs: less than the sessions of the tasks are idle. */
const idle = 10

const portOf = (url: string): number => Number(new URL(url).port)

const end = `${current}/ws` as const

/** Starts a server of the library and a proxy before it. */
const withProxy = async (name: string, use: (proxy: Proxy, server: number) => Promise<void>) => {
  const server = await startServer(end)
  const proxy = await startProxy(name, portOf(server.url), idle)
  try {
    await use(proxy, portOf(server.url))
  } finally {
    server.child.kill("SIGKILL")
    await proxy.stop()
  }
}

/** How a dial ends: `open`, the status of a refusal, or the code of an error. */
const dial = (port: number, headers: Readonly<Record<string, string>>, task = "echo"): Promise<string> =>
  new Promise((resolve) => {
    const ws = new WebSocket(`ws://127.0.0.1:${port}/${task}`, { headers })
    ws.on("error", (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message))
    ws.on("unexpected-response", (request, { statusCode }) => {
      request.destroy()
      resolve(String(statusCode))
    })
    ws.on("open", () => {
      ws.terminate()
      resolve("open")
    })
  })

const protocolOf = async (port: number): Promise<string | false | null> => {
  const socket = Tls.connect({
    port,
    host: "127.0.0.1",
    ca: readFileSync(certificate),
    ALPNProtocols: ["h2", "http/1.1"]
  })
  await once(socket, "secureConnect")
  socket.destroy()
  return socket.alpnProtocol
}

const lineOf = (child: ChildProcess, pattern: RegExp): Promise<RegExpExecArray> =>
  new Promise((resolve, reject) => {
    const seen: Array<string> = []
    for (const input of [child.stdout!, child.stderr!]) {
      createInterface({ input }).on("line", (line) => {
        seen.push(line)
        const found = pattern.exec(line)
        if (found !== null) resolve(found)
      })
    }
    child.once("exit", () => reject(new Error(`no line like ${pattern}, but:\n${seen.join("\n")}`)))
  })

const wsmux = (...args: ReadonlyArray<string>) => spawn(process.execPath, [bin, ...args])

/** Sends all bytes back, behind the end of the client. */
const lateEcho = (): Server =>
  createServer({ allowHalfOpen: true }, (socket: Socket) => {
    const chunks: Array<Buffer> = []
    socket.on("error", () => {}).on("data", (data) => chunks.push(data))
    socket.on("end", () => socket.end(Buffer.concat(chunks)))
  })

/** Sends bytes back while they come. */
const echo = (): Server => createServer((socket: Socket) => void socket.on("error", () => {}).pipe(socket))

const endless = function*(): Generator<Buffer> {
  for (;;) yield Buffer.alloc(64 * 1024, "abc")
}

/** Completes when so many bytes have arrived. The bytes go on. */
const arrived = (socket: Socket, bytes: number): Promise<void> =>
  new Promise((resolve) => {
    let sum = 0
    socket.on("data", (chunk) => {
      sum += chunk.byteLength
      if (sum >= bytes) resolve()
    })
  })

/** How a connection ends: `end`, or the code of an error. Node 20 may say `end` of a reset. */
const endOf = (socket: Socket): Promise<string> =>
  new Promise((resolve) => {
    const fail = (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message)
    socket.on("error", fail).on("end", () => {
      const loss = lossAtEnd(socket)
      if (loss === undefined) resolve("end")
      else fail(loss)
    })
  })

/** A tunnel through a proxy. A WebSocket that is lost ends it. */
interface Tunnel {
  readonly serve: ChildProcess
  readonly proxy: ChildProcess
  readonly connected: ChildProcess
  /** The port of this machine that leads to the target. */
  readonly local: number
}

const withTunnel = async (name: string, target: Server, use: (tunnel: Tunnel) => Promise<void>): Promise<void> => {
  target.listen(0, "127.0.0.1")
  await once(target, "listening")
  const serve = wsmux(
    ...["serve", "--listen", "127.0.0.1:0", "--token", "secret"],
    ...["--target", `127.0.0.1:${(target.address() as AddressInfo).port}`]
  )
  const children = [serve]
  let proxy: Proxy | undefined
  try {
    const [, served] = await lineOf(serve, /^listening on ws:\/\/127\.0\.0\.1:(\d+)/)
    proxy = await startProxy(name, Number(served), idle)
    const connected = wsmux(
      ...["connect", `ws://127.0.0.1:${proxy.port}`, "--listen", "127.0.0.1:0", "--token", "secret"],
      ...["--resume", "off"]
    )
    children.push(connected)
    const [, local] = await lineOf(connected, /^listening on 127\.0\.0\.1:(\d+)/)
    await use({ serve, proxy: proxy.child, connected, local: Number(local) })
  } finally {
    for (const child of children) child.kill("SIGKILL")
    target.close()
    await proxy?.stop()
  }
}

for (const name of found) {
  describe(name, () => {
    it(`session passes every task when ${name} is between its ends`, async () => {
      let proxy: Proxy | undefined
      try {
        await conform(end, end, async (url) => {
          proxy = await startProxy(name, portOf(url), idle)
          return { url: `ws://127.0.0.1:${proxy.port}`, expected: ["closed 4321 the reason", "ended KeepAliveExpired"] }
        })
      } finally {
        await proxy?.stop()
      }
    })

    if (kinds[name]!.speaksHttp2) {
      it(`session passes every task when ${name} ends TLS and offers HTTP/2`, async () => {
        let proxy: Proxy | undefined
        try {
          await conform(end, end, async (url) => {
            proxy = await startProxy(name, portOf(url), idle)
            expect(await protocolOf(proxy.tlsPort)).toBe("h2")
            return {
              url: `wss://127.0.0.1:${proxy.tlsPort}`,
              expected: ["closed 4321 the reason", "ended KeepAliveExpired"],
              env: { NODE_EXTRA_CA_CERTS: certificate }
            }
          })
        } finally {
          await proxy?.stop()
        }
      })
    }

    if (kinds[name]!.takesExtendedConnect) {
      it(`session passes every task when ${name} takes its WebSocket over HTTP/2`, async () => {
        let proxy: Proxy | undefined
        let bridge: Bridge | undefined
        try {
          await conform(end, end, async (url) => {
            proxy = await startProxy(name, portOf(url), idle)
            bridge = await startBridge(proxy.tlsPort)
            return {
              url: `ws://127.0.0.1:${bridge.port}`,
              expected: ["closed 4321 the reason", "ended KeepAliveExpired"]
            }
          })
          expect(bridge?.accepted()).toBeGreaterThan(10)
        } finally {
          bridge?.stop()
          await proxy?.stop()
        }
      })
    } else if (kinds[name]!.speaksHttp2) {
      it(`${name} offers no WebSockets over HTTP/2 when it speaks HTTP/2`, () =>
        withProxy(name, async ({ tlsPort }) => {
          expect(await offersWebSockets(tlsPort)).toBe(false)
        }))
    }

    if (kinds[name]!.defaultIdle !== undefined) {
      it(`${name} ends a WebSocket when nothing passes for its time-out`, () =>
        withProxy(name, async ({ port }) => {
          const ws = new WebSocket(`ws://127.0.0.1:${port}/closed`)
          await once(ws, "open")
          const [code] = await once(ws, "close")
          expect(code).toBe(1006)
        }))
    }

    it(`server admits a page when ${name} passes its host on`, () =>
      withProxy(name, async ({ port }) => {
        const host = "app.example"
        expect(await dial(port, { host, origin: `https://${host}` })).toBe("open")
        expect(await dial(port, { host, origin: "https://elsewhere.example" })).toBe("403")
      }))

    it(`${name} refuses a dial with a status when the headers are too large`, () =>
      withProxy(name, async ({ port }, server) => {
        const headers = { "x-large": "x".repeat(70_000) }
        expect(await dial(server, headers)).toBe("431")
        expect(await dial(port, headers)).toBe(tooLarge[name])
      }))

    it(`wsmux carries a connection with its half-close when ${name} is in between`, () =>
      withTunnel(name, lateEcho(), async ({ local }) => {
        const socket = connect({ port: local, host: "127.0.0.1", allowHalfOpen: true })
        const sent = Buffer.alloc(4 * 1024 * 1024, "abc")
        socket.end(sent)
        const chunks: Array<Buffer> = []
        for await (const chunk of socket) chunks.push(chunk as Buffer)
        expect(Buffer.concat(chunks).equals(sent)).toBe(true)
      }))

    for (const killed of ["serve", "proxy"] as const) {
      const who = killed === "proxy" ? name : `the server behind ${name}`
      it(`wsmux connect resets connections when ${who} is killed in mid-transfer`, () =>
        withTunnel(name, echo(), async ({ connected, local, ...processes }) => {
          const socket = connect({ port: local, host: "127.0.0.1" })
          const ended = endOf(socket)
          const exited = once(connected, "exit")
          Readable.from(endless()).on("error", () => {}).pipe(socket)
          await arrived(socket, 8 * 1024 * 1024)
          processes[killed].kill("SIGKILL")
          expect(await ended).toBe("ECONNRESET")
          expect((await exited)[0]).toBe(1)
        }))
    }
  })
}

/** The answer of each proxy to headers of 70,000 bytes. */
const tooLarge: Readonly<Record<string, string>> = {
  nginx: "400",
  haproxy: "400",
  apache: "400",
  caddy: "431",
  squid: "431"
}
