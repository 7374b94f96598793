import { describe, expect, it } from "@effect/vitest"
import { connect, createServer, type Socket } from "node:net"
import { beforeAll, inject } from "vitest"
import type * as Generator from "../../bench/tunnel/generator.js"
import { findProgram, programs } from "../../support/programs.js"
import type {} from "../interop/build.js"
import { built, compile, measured, report, run } from "./build.js"

beforeAll(compile)

/** At a desk there are fewer workloads, no other tunnels and no relay. */
const isCI = process.env.CI !== undefined

const everyPair = (rows: ReadonlyArray<string>, entrants: ReadonlyArray<string>) =>
  rows.flatMap((row) => entrants.map((entrant) => `${row} ${entrant}`))

describe.sequential("npm run bench", () => {
  const workloads = isCI ? ["W1", "W1r", "W3", "W4", "W5", "W7"] : ["W1r", "W4"]

  it(`npm run bench verifies all bytes of ${workloads.length + 1} workloads when it is quick`, async () => {
    const bulk = ["--bulk-mib", "4", "--round-trips", "200", "--mixed-ms", "100"]
    const short = ["--short-streams", "200", "--idle-streams", "200", "--delayed-opens", "3"]
    const sizes = [...bulk, ...short, "--timeout", "60"]
    const args = ["--only", [...workloads, "W10"].join(), "--peers", "ours,ours-early,ws,ws-window-stream", ...sizes]
    const found = await report(built("main.js"), args)
    expect(found.failures).toEqual([])
    const ofStreams = ["W4", "W5"]
    const expected = everyPair(workloads, ["ours", "ws"]).filter((pair) =>
      !ofStreams.some((workload) => pair === `${workload} ws`)
    )
    const others = ["W1r ws-window-stream", "W4 ours-early", "W10 ours-early"]
    expect(measured(found)).toEqual(expect.arrayContaining([...expected, ...others]))
  })
})

const hasAll = programs.Redis !== undefined && findProgram("ab") !== undefined &&
  findProgram("nginx", ["/usr/sbin"]) !== undefined

describe.skipIf(!hasAll || !isCI).sequential("npm run bench:relay", () => {
  it("npm run bench:relay connects all agents and fails no request when it is short", async () => {
    const sizes = ["--agents", "40", "--idle", "1", "--rounds", "1", "--seconds", "1"]
    const { code, stderr, stdout } = await run(built("relay/main.js"), sizes)
    expect([code, stderr]).toEqual([0, ""])
    expect(stdout).toMatch(/^40 idle agents: .* connected in /m)
    const ways = [...stdout.matchAll(/^round 1, (.*): [1-9]\d*\/s, .*, 0 failed /gm)].map(([, way]) => way)
    expect(ways).toEqual(["the service itself", "nginx", "one node", "two nodes"])
  })
})

describe.sequential("npm run bench:tunnel", () => {
  it("npm run bench:tunnel verifies all bytes of every row when it is quick", async () => {
    const others = ["bare", ...programs.OpenSSH === undefined ? [] : ["ssh"]]
    const tunnels = ["ours", ...isCI ? others : []]
    const entrants = ["direct", ...tunnels]
    const found = await report(built("tunnel/main.js"), [
      "--entrants",
      entrants.join(),
      "--timeout",
      "30",
      "--budget",
      "100"
    ])
    expect(found.failures).toEqual([])
    const rows = ["up1", "down1", "up16", "down16", "pingpong", "mixed", "connections", "first"]
    const ofPrograms = ["version", ...process.platform === "linux" ? ["memory", "idle"] : []]
    expect(measured(found)).toEqual(
      expect.arrayContaining([...everyPair(rows, entrants), ...everyPair(ofPrograms, tunnels)])
    )
  })

  it("npm run bench:tunnel names the option and the known values when a value is unknown", async () => {
    const refused = (...args: ReadonlyArray<string>) => run(built("tunnel/main.js"), args)
    expect(await refused("--only", "up1,up2")).toMatchObject({
      code: 2,
      stderr: expect.stringContaining("--only: up2 is none of up1, down1,")
    })
    expect(await refused("--entrants", "ngrok")).toMatchObject({
      code: 2,
      stderr: expect.stringContaining("--entrants: ngrok is none of direct, ours,")
    })
    expect(await refused("--rounds", "0")).toMatchObject({
      code: 2,
      stderr: "--rounds: 0 is not a whole number from 1 on\n"
    })
    expect(await refused("--before", "/nowhere/bin.js")).toMatchObject({
      code: 2,
      stderr: "--before: no file /nowhere/bin.js\n"
    })
  })

  const languages = ["node", ...inject("goPeer") === null ? [] : ["go" as const]] as ReadonlyArray<"node" | "go">
  for (const language of languages) {
    it(`the load generator in ${language} names wrong, missing and surplus bytes`, async () => {
      const { Target, load, makeGenerator }: typeof Generator = await import(built("tunnel/generator.js"))
      const generator = makeGenerator(language)
      const faultOf = async (kind: Generator.Task["kind"], fault: Fault) => {
        const target = await Target.start(generator)
        const relay = await faultyRelay(target.port, fault)
        try {
          const task = { kind, port: relay.port, connections: 1, ms: 50, warm: 0, limit: 10_000 }
          await load(generator, target, [task])
          return "none"
        } catch (error) {
          return (error as Error).message
        } finally {
          await relay.close()
          await target.stop()
        }
      }
      const whole: Fault = { up: (chunk) => chunk, down: (chunk) => chunk }
      expect(await faultOf("up", whole)).toBe("none")
      expect(await faultOf("down", whole)).toBe("none")
      expect(await faultOf("up", { ...whole, up: flipAt(100_000) })).toMatch(
        /the target read wrong bytes|the target: wrong bytes/
      )
      expect(await faultOf("down", { ...whole, down: flipAt(100_000) })).toMatch(/wrong bytes/)
      expect(await faultOf("down", { ...whole, down: dropAt(100_000) })).toMatch(/wrong bytes|loses/)
      expect(await faultOf("pingpong", { ...whole, down: flipAt(70) })).toMatch(/wrong bytes/)
      expect(await faultOf("up", { ...whole, down: twice })).toMatch(/instead of the end|bytes arrived/)
    })
  }
})

/** How a relay changes the bytes of a connection on their way to the target and back. */
interface Fault {
  readonly up: (chunk: Buffer, at: number) => Buffer
  readonly down: (chunk: Buffer, at: number) => Buffer
}

/** Changes one byte at a position. */
const flipAt = (position: number): Fault["up"] => (chunk, at) => {
  const index = position - at
  if (index >= 0 && index < chunk.length) chunk[index]! ^= 1
  return chunk
}

/** Loses one byte at a position. */
const dropAt = (position: number): Fault["up"] => (chunk, at) => {
  const index = position - at
  const hit = index >= 0 && index < chunk.length
  return hit ? Buffer.concat([chunk.subarray(0, index), chunk.subarray(index + 1)]) : chunk
}

const twice: Fault["up"] = (chunk) => Buffer.concat([chunk, chunk])

/** A relay on a port of its own, which passes half-closes. */
const faultyRelay = async (target: number, fault: Fault) => {
  const sockets = new Set<Socket>()
  const join = (from: Socket, to: Socket, change: Fault["up"]) => {
    sockets.add(from)
    let at = 0
    from.on("data", (chunk) => {
      const changed = change(chunk, at)
      at += chunk.length
      if (to.write(changed)) return
      from.pause()
      to.once("drain", () => from.resume())
    })
    from.on("end", () => to.end())
    from.on("error", () => to.destroy())
    from.on("close", () => to.destroy())
  }
  const server = createServer({ allowHalfOpen: true }, (near) => {
    const far = connect({ host: "127.0.0.1", port: target, allowHalfOpen: true })
    join(near, far, fault.up)
    join(far, near, fault.down)
  })
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
  return {
    port: (server.address() as { readonly port: number }).port,
    close: async () => {
      for (const socket of sockets) socket.destroy()
      await new Promise((resolve) => server.close(resolve))
    }
  }
}
