import type { Command } from "../process.js"
import { ping } from "./load/ping.js"
import { eventually, type Launch, Program } from "./program.js"

/** A tunnel that runs. */
export interface Tunnel {
  /** The ports at which the ends of the tunnel near the client take connections. */
  readonly ports: ReadonlyArray<number>
  /** The end that the client dials, and the one that dials the target. Both are missing for direct connections. */
  readonly near: ReadonlyArray<Program>
  readonly far: ReadonlyArray<Program>
  readonly stop: () => Promise<void>
}

export interface Entrant {
  readonly name: string
  /** For the report. */
  readonly about: string
  readonly inNode: boolean
  /** The command that prints the version and does nothing else. */
  readonly version: Command | undefined
  readonly start: (target: number, settings: Settings) => Promise<Tunnel>
}

export interface Settings {
  /** Whether the programs in Node answer questions for their memory. */
  readonly probed?: boolean
  /** The folder for profiles of the programs in Node. */
  readonly profile?: string | undefined
  /** Sessions beside each other, each with a near end of its own. */
  readonly sessions?: number
  /** Worker processes of the far end, where the entrant has them. */
  readonly workers?: number
}

/** The programs of a tunnel, which start one after the other. */
export class Programs {
  readonly near: Array<Program> = []
  readonly far: Array<Program> = []
  readonly ports: Array<number> = []

  static async start(build: (programs: Programs) => Promise<void>, tidy = () => {}): Promise<Tunnel> {
    const programs = new Programs()
    const stop = async () => {
      // the near end first, since the far end of OpenSSH leaves its processes to the end of their connections
      for (const program of [...programs.near, ...programs.far]) await program.stop()
      tidy()
    }
    try {
      await build(programs)
      for (const port of programs.ports) {
        await eventually(`the tunnel at port ${port}`, 15, programs.all, () => ping(port))
      }
      return { ...programs, stop }
    } catch (error) {
      await stop()
      throw error
    }
  }

  get all() {
    return [...this.near, ...this.far]
  }

  launchNear(name: string, port: number, launch: Launch): void {
    this.ports.push(port)
    this.near.push(new Program(name, launch))
  }

  launchFar(name: string, launch: Launch): void {
    this.far.push(new Program(name, launch))
  }
}

/** Connects once, and closes. */
export const reachable = (port: number) => ping(port, false)
