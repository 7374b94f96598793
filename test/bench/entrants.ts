import type { GoPeer } from "./go.js"
import type { Options, Settings } from "./options.js"
import { bare, peers } from "./peers/index.js"
import type { Workload } from "./workloads.js"

/** The peers of a workload, one at each end, with the name for the report. */
export interface Entrant {
  readonly name: string
  readonly client: string
  readonly server: string
  readonly settings: Settings
}

/** The rows of the adapters, and their peers. */
export const adapters: Readonly<Record<string, string>> = {
  "ours as a Node Duplex": "ours-duplex",
  "ours as web streams": "ours-web-streams",
  "ours as a platform Socket": "ours-socket"
}

/** The sessions that run every workload: by default, able to resume, and without the dialect. */
const everywhere: ReadonlyArray<string> = ["ours", "ours-resume", "ours-off"]

/** The bare sockets that carry downloads alone, and show what each part of a multiplexer costs there. */
const downloads: ReadonlyArray<string> = ["ws-window", "ws-stream", "ws-window-stream"]

/**
 * The workloads that other ways of writing run, too. They show what an Effect stream costs to start (W2, W4), how much
 * of that this package could save (`ours-floor`), what early data saves (`ours-early`), and 64 writes handed over at
 * once (W6). In W1r, they show what the Effect stream costs.
 */
const others: Readonly<Record<string, ReadonlyArray<string>>> = {
  W1r: ["ours-plain"],
  W2: ["ours-plain"],
  W4: ["ours-plain", "ours-whole", "ours-early", "ours-floor"],
  W6: ["ours-plain"]
}

const kib = 1 << 10
const both = (name: string, settings: Settings, peer = name): Entrant => ({
  name,
  client: peer,
  server: peer,
  settings
})

export const entrants = (workload: Workload, { peers: chosen, sizes }: Options, go: GoPeer | undefined) => {
  const wanted = (name: string) => chosen.includes(name)
  const standard = { window: sizes["window-kib"] * kib }
  const small = { window: 64 * kib }
  const large = 16 * kib * kib
  switch (workload.id) {
    case "W8":
      return [
        both("ws", small),
        both("ours", small),
        ...go === undefined ? [] : [
          { name: "ours to Go", client: "ours", server: "go", settings: small },
          { name: "Go to ours", client: "go", server: "ours", settings: small },
          both("Go to Go", small, "go")
        ]
      ].filter(({ client, server }) => wanted(client) && wanted(server))
    case "W9":
      return [
        both("ws", standard),
        both("auto-tuned", { ...standard, maxWindow: large }, "ours"),
        both("window 16 MiB", { window: large }, "ours")
      ].filter(({ client }) => wanted(client))
    case "W10":
      return ["ours-whole", "ours-early"].filter(wanted).map((name) => both(name, standard))
    case "A1":
    case "A1r":
      // the other end is a plain stream, so that one row shows the adapter sending and one receiving
      return [
        both("ours", standard),
        ...Object.keys(adapters).map((name) => ({ name, client: adapters[name]!, server: "ours", settings: standard }))
      ].filter(({ client, server }) => wanted(client) && wanted(server))
    default:
      return Object.keys(peers)
        .filter((name) => wanted(name) && (workload.bare || !bare.includes(name)))
        .filter((name) => workload.id === "W1r" || !downloads.includes(name))
        .filter((name) =>
          !name.startsWith("ours") || everywhere.includes(name) || others[workload.id]?.includes(name) === true
        )
        .map((name) => both(name, standard))
  }
}
