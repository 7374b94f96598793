import { type ChildProcess, spawn } from "node:child_process"
import { once } from "node:events"
import { type AddressInfo, connect, createServer, type Socket } from "node:net"
import { createInterface } from "node:readline"
import { fileURLToPath } from "node:url"
import { describe, expect, it } from "vitest"
import { programOf, type Proxy, startForwardSquid, startProxy, startTinyproxy, tinyproxy } from "./proxies.js"

// `proxies.test.ts` and `outward.test.ts` tell of proxies that are missing, and fail in CI.

const bin = fileURLToPath(new URL("../../dist/cli/bin.js", import.meta.url))

interface Way {
  /** The default time-out of idle connections in seconds. */
  readonly idle: number
  readonly isHere: boolean
  /** Starts the proxy for a server at this port. */
  readonly start: (server: number) => Promise<Proxy>
  /** The arguments of `wsmux connect` that dial the server through the proxy. */
  readonly dial: (server: number, proxy: number) => ReadonlyArray<string>
}

const before = (name: string, idle: number): Way => ({
  idle,
  isHere: programOf(name) !== undefined,
  start: (server) => startProxy(name, server),
  dial: (_server, proxy) => [`ws://127.0.0.1:${proxy}`]
})

const outward = (idle: number, isHere: boolean, start: Way["start"]): Way => ({
  idle,
  isHere,
  start,
  dial: (server, proxy) => [`ws://127.0.0.1:${server}`, "--proxy", `http://user:right@127.0.0.1:${proxy}`]
})

const ways: Readonly<Record<string, Way>> = {
  nginx: before("nginx", 60),
  HAProxy: before("haproxy", 50),
  Apache: before("apache", 300),
  Squid: before("squid", 900),
  "Squid by CONNECT": outward(900, programOf("squid") !== undefined, () => startForwardSquid("user", "right")),
  "Tinyproxy by CONNECT": outward(600, tinyproxy.program !== undefined, () => startTinyproxy("user", "right"))
}

const found = Object.keys(ways).filter((name) => ways[name]!.isHere)

const lineOf = (child: ChildProcess, pattern: RegExp): Promise<RegExpExecArray> =>
  new Promise((resolve, reject) => {
    createInterface({ input: child.stdout! }).on("line", (line) => {
      const found = pattern.exec(line)
      if (found !== null) resolve(found)
    })
    child.once("exit", () => reject(new Error(`no line like ${pattern}`)))
  })

describe.skipIf(process.env.WSMUX_RUNTIMES !== "full").each(found)("%s with its default time-out", (name) => {
  const { dial, idle, start } = ways[name]!

  it(`wsmux keeps a silent connection when ${name} has its default time-out`, async () => {
    const target = createServer((socket: Socket) => void socket.on("error", () => {}).pipe(socket))
    target.listen(0, "127.0.0.1")
    await once(target, "listening")
    const children: Array<ChildProcess> = []
    const wsmux = (...args: ReadonlyArray<string>) => {
      const child = spawn(process.execPath, [bin, ...args], { stdio: ["ignore", "pipe", "ignore"] })
      children.push(child)
      return child
    }
    let proxy: Proxy | undefined
    try {
      const address = `127.0.0.1:${(target.address() as AddressInfo).port}`
      const serve = wsmux("serve", "--listen", "127.0.0.1:0", "--target", address, "--keep-alive", "off")
      const server = Number((await lineOf(serve, /^listening on ws:\/\/127\.0\.0\.1:(\d+)/))[1])
      proxy = await start(server)
      const dialled = ["connect", ...dial(server, proxy.port), "--listen", "127.0.0.1:0", "--resume", "off"]
      const begun = performance.now()
      const [kept, cut] = [wsmux(...dialled), wsmux(...dialled, "--keep-alive", "off")]
      const [, local] = await lineOf(kept, /^listening on 127\.0\.0\.1:(\d+)/)
      const socket = connect({ port: Number(local), host: "127.0.0.1" })
      const answer = async (text: string) => {
        socket.write(text)
        return String((await once(socket, "data"))[0])
      }
      expect(await answer("before")).toBe("before")
      // the session without pings shows that the time-out has passed
      expect((await once(cut, "exit"))[0]).toBe(1)
      // proxies count whole seconds
      expect(performance.now() - begun).toBeGreaterThan((idle - 1) * 1000)
      expect(await answer("after")).toBe("after")
      expect(kept.exitCode).toBe(null)
      socket.destroy()
    } finally {
      for (const child of children) child.kill("SIGKILL")
      target.close()
      await proxy?.stop()
    }
  }, (idle + 100) * 1000)
})
