import type { ChildProcess } from "node:child_process"
import { expect } from "vitest"
import { type End, startClient, startServer } from "./peers.js"

const tasks = ["streams", "opens", "late", "drop", "close", "closed", "tooLarge", "tooLargeAnswer"]

/** The tasks that need the modules of Node. */
const nodeTasks = ["http", "duplex", "tunnel"]

/** The way from a client to a server, such as a proxy. */
interface Way {
  readonly url: string
  /** What the server has to print: a proxy may end connections in its own way. */
  readonly expected: ReadonlyArray<string>
  readonly env?: Readonly<Record<string, string>>
}

const direct = (url: string): Promise<Way> =>
  Promise.resolve({
    url,
    // the client closed with a code, was frozen, and sent too large a message
    expected: ["closed 4321 the reason", "ended KeepAliveExpired", "ended TransportFailure"]
  })

/** Runs every task that both ends can run, and fails with what both have printed. */
export const conform = async (clientEnd: End, serverEnd: End, through = direct): Promise<void> => {
  const both = `${clientEnd} ${serverEnd}`
  const light = both.includes("workerd") ? tasks : [...tasks, ...nodeTasks]
  // Work beside it would keep a process on a busy machine from answering in time, so `alive` runs alone.
  const groups = ["alive", light.join(","), "transfer", "frozenClient", "frozenServer", "killedServer", "refused"]
  const server = await startServer(serverEnd)
  const children: Array<ChildProcess> = [server.child]
  try {
    const way = await through(server.url)
    const act = (line: string, child: ChildProcess) => {
      if (!children.includes(child)) children.push(child)
      if (line === "freeze the client") {
        child.kill("SIGSTOP")
        void server.line(/^ended KeepAliveExpired/, server.lines.length).finally(() => child.kill("SIGCONT"))
      }
      if (line === "freeze the server") server.child.kill("SIGSTOP")
      if (line.startsWith("passed frozenServer")) server.child.kill("SIGCONT")
      if (line === "kill the server") server.child.kill("SIGKILL")
    }
    const client = await startClient(clientEnd, way.url, groups, act, way.env)
    children.push(client.child)
    await client.over
    const passed = client.lines.filter((line) => line.startsWith("passed")).map((line) => line.split(" ")[1])
    const report = `the client printed:\n${client.lines.join("\n")}\nthe server printed:\n${server.lines.join("\n")}\n`
    expect(passed.sort(), report).toEqual(groups.flatMap((group) => group.split(",")).sort())
    const seen = server.lines.map((line) => line.replace(/:.*/, ""))
    for (const line of way.expected) expect(seen, report).toContain(line)
  } finally {
    for (const child of children) child.kill("SIGKILL")
  }
}
