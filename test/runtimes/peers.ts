import { type ChildProcess, spawn } from "node:child_process"
import { once } from "node:events"
import { createInterface } from "node:readline"
import { Readable } from "node:stream"
import type { ReadableStream } from "node:stream/web"
import { fileURLToPath } from "node:url"
import { nodeProgram, workerConfig } from "./build.js"
import { commandOf } from "./runtimes.mjs"

/** One end of a pair: `node24/ws`, `deno/native` or `workerd/2024-01-01`. */
export type End = `${string}/${string}`

/** A process, and the lines that it has printed. */
export interface Peer {
  readonly child: ChildProcess
  readonly lines: ReadonlyArray<string>
  /** Completes with the first line that matches, of those after the first `skipped`. Fails after 30 s. */
  readonly line: (pattern: RegExp, skipped?: number) => Promise<RegExpExecArray>
}

const peerOf = (child: ChildProcess, onLine: (line: string) => void = () => {}) => {
  const lines: Array<string> = []
  const waiters = new Set<() => void>()
  const take = (line: string) => {
    lines.push(line)
    onLine(line)
    waiters.forEach((check) => check())
  }
  const read = (output: Readable | null) => {
    if (output !== null) createInterface({ input: output }).on("line", take)
  }
  const peer: Peer = {
    child,
    lines,
    line: (pattern, skipped = 0) =>
      new Promise((resolve, reject) => {
        const check = () => {
          const found = lines.slice(skipped).map((line) => pattern.exec(line)).find((match) => match !== null)
          if (found == null) return
          clearTimeout(timer)
          waiters.delete(check)
          resolve(found)
        }
        const timer = setTimeout(
          () => reject(new Error(`no line like ${pattern} within 30 s, but:\n${lines.join("\n")}`)),
          30_000
        )
        waiters.add(check)
        check()
      })
  }
  return { peer, read, take }
}

const spawnIn = (end: End, args: (kind: string) => ReadonlyArray<string>, env: NodeJS.ProcessEnv = {}) => {
  const [runtime, kind] = end.split("/") as [string, string]
  const [program, ...options] = commandOf(runtime)!
  return spawn(program!, [...options, ...args(kind)], {
    stdio: ["ignore", "pipe", "pipe", "pipe"],
    env: { ...process.env, ...env }
  })
}

const workerd = async (end: End, onLine: (line: string, child: ChildProcess) => void = () => {}) => {
  const child = spawnIn(end, (date) => ["serve", "--control-fd=3", workerConfig(date)])
  const { peer, read, take } = peerOf(child, (line) => onLine(line, child))
  read(child.stdout)
  read(child.stderr)
  read(child.stdio[3] as Readable)
  const [, port] = await peer.line(/"event":"listen".*"port":(\d+)/)
  return { peer, take, url: `127.0.0.1:${port}` }
}

/** Starts a server, and completes when it listens. */
export const startServer = async (end: End): Promise<Peer & { readonly url: string }> => {
  if (end.startsWith("workerd/")) {
    const { peer, url } = await workerd(end)
    return { ...peer, url: `ws://${url}` }
  }
  const child = spawnIn(end, (kind) => [nodeProgram, "serve", kind])
  const { peer, read } = peerOf(child)
  read(child.stdout)
  read(child.stderr)
  const [, port] = await peer.line(/^listening (\d+)$/)
  return { ...peer, url: `ws://127.0.0.1:${port}` }
}

/** Runs tasks as a client, group after group. `over` completes when the last group is. */
export const startClient = async (
  end: End,
  url: string,
  groups: ReadonlyArray<string>,
  onLine: (line: string, child: ChildProcess) => void,
  env?: Readonly<Record<string, string>>
): Promise<Peer & { readonly over: Promise<unknown> }> => {
  if (end.startsWith("workerd/")) {
    const { peer, take, url: worker } = await workerd(end, onLine)
    const query = new URLSearchParams([["url", url], ...groups.map((group) => ["tasks", group])])
    const answer = await fetch(`http://${worker}/?${query}`)
    const over = (async () => {
      const output = createInterface({ input: Readable.fromWeb(answer.body as ReadableStream) })
      for await (const line of output) take(line)
    })()
    return { ...peer, over }
  }
  const child = spawnIn(end, (kind) => [nodeProgram, "dial", kind, url, ...groups], env)
  const { peer, read } = peerOf(child, (line) => onLine(line, child))
  read(child.stdout)
  read(child.stderr)
  return { ...peer, over: once(child, "close") }
}

/** Starts `wsmux` in a runtime. */
export const startCommand = (runtime: string, args: ReadonlyArray<string>): Peer => {
  const child = spawnIn(
    `${runtime}/wsmux`,
    () => [fileURLToPath(new URL("../../dist/cli/bin.js", import.meta.url)), ...args]
  )
  const { peer, read } = peerOf(child)
  read(child.stdout)
  read(child.stderr)
  return peer
}
